import { Agent, request } from "node:http";
import { setTimeout } from "node:timers/promises";
import { onTestFinished } from "vitest";
import type { Edge } from "./edge.ts";

/** Keep-alive connections of a flood, over all instances. */
const CONNECTIONS = 64;

/** Keep-alive connections of traffic to each instance, and how long each rests after an answer, milliseconds. */
const LANES = 3;
const REST_MS = 20;

/** From when to when something took place, by the process's clock. */
export interface Span {
  readonly beganMs: number;
  readonly endedMs: number;
}

/** What a client sends. */
export interface Sent {
  readonly method: string;
  readonly path?: string;
  readonly body?: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a client got. */
interface Got {
  /** 0 where the connection broke before the answer was whole. */
  readonly status: number;
  /** What came of the body, or what broke. */
  readonly text: string;
  /** The backend that says it has answered; null: none does. */
  readonly backend: string | null;
  /** It broke after its headers, which spoke of success. */
  readonly isCut: boolean;
}

export interface Answer extends Span, Got {
  /** Index of the worker instance that was asked. */
  readonly instance: number;
}

/** Sends requests over 64 keep-alive connections, one after the other on each, until so many were. */
export async function flood(
  edge: Edge,
  make: (index: number) => Sent,
  count: number,
): Promise<readonly Answer[]> {
  const agent = keepAlive(CONNECTIONS / edge.urls.length);
  const answers: Answer[] = [];
  let next = 0;
  const lanes = Array.from({ length: CONNECTIONS }, async (_, lane) => {
    const instance = lane % edge.urls.length;
    for (let index = next++; index < count; index = next++) {
      answers[index] = await exchange(edge, agent, instance, make(index));
    }
  });
  await Promise.all(lanes);
  return answers;
}

/** Sends requests to some instances without pause, though not as fast as it can, until it is stopped. */
export class Traffic {
  /** So far, in the order in which they came. */
  readonly answers: Answer[] = [];
  #isOver = false;
  readonly #lanes: readonly Promise<void>[];

  constructor(edge: Edge, instances: readonly number[], make: () => Sent = () => ({ method: "GET" })) {
    const agent = keepAlive(LANES);
    this.#lanes = instances.flatMap((instance) =>
      Array.from({ length: LANES }, async () => {
        while (!this.#isOver) {
          this.answers.push(await exchange(edge, agent, instance, make()));
          await setTimeout(REST_MS);
        }
      }),
    );
  }

  async stop(): Promise<readonly Answer[]> {
    this.#isOver = true;
    await Promise.all(this.#lanes);
    return this.answers;
  }
}

function keepAlive(maxSockets: number): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets });
  onTestFinished(() => agent.destroy());
  return agent;
}

async function exchange(edge: Edge, agent: Agent, instance: number, sent: Sent): Promise<Answer> {
  const beganMs = performance.now();
  const got = await send(edge.urls[instance] ?? "", agent, sent);
  return { ...got, instance, beganMs, endedMs: performance.now() };
}

function send(url: string, agent: Agent, { method, path = "/", body, headers }: Sent): Promise<Got> {
  return new Promise((resolve) => {
    const options = { agent, method, headers: { ...headers, ...lengthOf(body) } };
    const sent = request(url + path, options, (response) => {
      const { statusCode: status = 0 } = response;
      const backend = response.headers["x-backend"];
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () =>
        resolve({ status, text, backend: typeof backend === "string" ? backend : null, isCut: false }),
      );
      response.on("error", (error) => resolve({ ...broken(error), isCut: status < 400 }));
    });
    sent.on("error", (error) => resolve(broken(error)));
    sent.end(body);
  });
}

function broken(error: Error): Got {
  return { status: 0, text: error.message, backend: null, isCut: false };
}

function lengthOf(body: Buffer | undefined): Readonly<Record<string, string>> {
  return body === undefined ? {} : { "content-length": String(body.length) };
}
