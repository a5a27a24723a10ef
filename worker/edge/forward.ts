import type { Outcome } from "../../durable/model/outcome.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { classifyStatus, isPlatformRefusal, mayBePlatformRefusal } from "../core/classify.ts";
import { mustFollow } from "../core/follow.ts";
import { responseHeadersToDrop } from "../core/headers.ts";
import { type Problem, TIMED_OUT, UNREACHABLE } from "../core/problem.ts";
import type { SubChannel } from "../core/sub-channel.ts";
import { type Env, isFetcher } from "../env.ts";
import { TOO_LATE } from "./header-watch.ts";
import type { Passage } from "./passage.ts";
import { pumpWebSocket } from "./upgrade.ts";

/** One attempt at one backend. The sub-channel has counted it as in flight already. */
export interface Attempt {
  readonly channel: SubChannel;
  /** With query, beginning with `/`. */
  readonly path: string;
  readonly headers: Headers;
  readonly headerTimeoutMs: number;
  readonly nowMs: EpochMs;
}

/**
 * Makes one attempt and answers with what came of it: the backend's response, streamed and untouched but for headers that
 * must not pass, or the problem that stands in its place. Ends the attempt in the sub-channel exactly once.
 */
export function forward(
  { request, env, context, isolate }: Passage,
  attempt: Attempt,
): Promise<Response | Problem> {
  const { channel, headerTimeoutMs, nowMs } = attempt;
  const gone = request.signal;
  const sent = send(attempt, request, gone, env);
  return isolate.headerWatch.guard(sent, headerTimeoutMs, nowMs, context).then(
    (response) =>
      response === TOO_LATE ? fail(channel, "timed_out") : receive(response, channel, gone, context),
    () => fail(channel, gone.aborted ? "client_gone" : "unreachable"),
  );
}

/** Sends the request on: through the backend's binding where it names one, body streamed, redirects not followed. */
function send(
  { channel, path, headers }: Attempt,
  request: Request,
  gone: AbortSignal,
  env: Env,
): Promise<Response> {
  const { url, via } = channel.backend;
  const init: RequestInit = {
    method: request.method,
    headers,
    body: request.body,
    redirect: "manual",
    signal: gone,
    // The backend's bytes as they are: decoding and encoding again would cost, and change them.
    encodeResponseBody: "manual",
  };
  if (via === null) return fetch(url + path, init);
  const binding = env[via];
  return isFetcher(binding)
    ? binding.fetch(url + path, init)
    : Promise.reject(
        new Error(`backend ${channel.id} is reached through ${via}, which is not a Fetcher binding`),
      );
}

function receive(
  response: Response,
  channel: SubChannel,
  gone: AbortSignal,
  context: ExecutionContext,
): Response | Problem | Promise<Response | Problem> {
  const outcome = classifyStatus(response.status);
  if (outcome === "unreachable" || outcome === "timed_out") {
    // Its body is the platform's error page, which speaks of the backend's host.
    context.waitUntil(response.body?.cancel() ?? Promise.resolve());
    return fail(channel, outcome);
  }
  if (response.status === 403 && mayBePlatformRefusal(response)) return receiveRefusal(response, channel);
  channel.count(outcome);
  if (response.webSocket !== null) return pumpWebSocket(response, response.webSocket, () => channel.end());
  // The body is asked for last: merely looking at it makes the runtime build a stream for JavaScript.
  if (mustFollow(response.headers, channel.backend.admits) && response.body !== null) {
    return follow(response, response.body, channel, gone, context);
  }
  channel.end();
  return withoutDroppedHeaders(response);
}

async function receiveRefusal(response: Response, channel: SubChannel): Promise<Response | Problem> {
  const body = await response.text();
  if (isPlatformRefusal(body)) return fail(channel, "unreachable");
  channel.count("answered");
  channel.end();
  return withoutDroppedHeaders(new Response(body, response));
}

/** Passes a body on and sees its end, whoever ends it. */
function follow(
  response: Response,
  body: ReadableStream,
  channel: SubChannel,
  gone: AbortSignal,
  context: ExecutionContext,
): Response {
  const length = response.headers.get("content-length");
  const { readable, writable } =
    length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
  context.waitUntil(
    body.pipeTo(writable, { signal: gone }).then(
      () => channel.end(),
      () => channel.end(),
    ),
  );
  return withoutDroppedHeaders(
    new Response(readable, { status: response.status, headers: response.headers, encodeBody: "manual" }),
  );
}

function withoutDroppedHeaders(response: Response): Response {
  const names = responseHeadersToDrop(response.headers);
  if (names === null) return response;
  const headers = new Headers(response.headers);
  for (const name of names) headers.delete(name);
  return new Response(response.body, {
    status: response.status,
    statusText: response.statusText,
    headers,
    encodeBody: "manual",
  });
}

function fail(channel: SubChannel, outcome: Outcome): Problem {
  channel.count(outcome);
  channel.end();
  return outcome === "timed_out" ? TIMED_OUT : UNREACHABLE;
}
