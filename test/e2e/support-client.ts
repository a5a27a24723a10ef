import { type ClientRequest, type IncomingMessage, request as sendRequest } from "node:http";
import type { Readable } from "node:stream";

/** A header as it stands on the wire. */
export type Header = readonly [name: string, value: string];

export interface Question {
  readonly method?: string;
  /** As it is to stand on the wire, query included. Default `/`. */
  readonly path?: string;
  /** In this order and spelling, repeated names included; `Host` and the body's framing are added. */
  readonly headers?: readonly Header[];
  /** Sent with its length when it is a string or bytes, else in chunks unless `Content-Length` is given. */
  readonly body?: string | Buffer | Readable;
}

export interface Answer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly Header[];
  readonly body: Buffer;
}

/** Headers as pairs, from the flat list that Node gives. */
export function pairs(rawHeaders: readonly string[]): readonly Header[] {
  return Array.from({ length: rawHeaders.length / 2 }, (_, index): Header => {
    const [name = "", value = ""] = rawHeaders.slice(2 * index, 2 * index + 2);
    return [name, value];
  });
}

/** Every value of a header, in order. */
export function valuesOf(headers: readonly Header[], name: string): readonly string[] {
  return headers.filter(([each]) => each.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
}

/** The names of all headers, in lower case. */
export function namesOf(headers: readonly Header[]): readonly string[] {
  return headers.map(([name]) => name.toLowerCase());
}

/** Opens a request that the caller writes to and ends. Nothing is added but `Host`, and no redirect is followed. */
export function open(edgeUrl: string, host: string, question: Omit<Question, "body"> = {}): ClientRequest {
  const { method = "GET", path = "/", headers = [] } = question;
  const request = sendRequest(edgeUrl, {
    method,
    path,
    headers: ["Host", host, ...headers.flat()],
    setHost: false,
    agent: false,
  });
  // Unheard, an error that a test provokes would end the process; whoever waits for the response gets it all the same.
  request.on("error", () => {});
  return request;
}

/** Waits for the headers of the response. */
export function responseTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("response", resolve);
    request.once("error", reject);
  });
}

/** Sends a request as it is, and reads the whole answer as it is, not decoded. */
export async function ask(edgeUrl: string, host: string, question: Question = {}): Promise<Answer> {
  const { body, headers = [], ...rest } = question;
  const isWhole = typeof body === "string" || Buffer.isBuffer(body);
  const length: readonly Header[] = isWhole ? [["Content-Length", String(Buffer.byteLength(body))]] : [];
  const request = open(edgeUrl, host, { ...rest, headers: [...headers, ...length] });
  const answered = responseTo(request);
  if (body === undefined || isWhole) request.end(body);
  else body.pipe(request);
  const response = await answered;
  return {
    status: response.statusCode ?? 0,
    statusText: response.statusMessage ?? "",
    headers: pairs(response.rawHeaders),
    body: await bytesOf(response),
  };
}

/** All bytes of a stream. */
export async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
