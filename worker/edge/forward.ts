import type { EpochMs } from "../../durable/model/time.ts";
import { classifyStatus, isPlatformRefusal, mayBePlatformRefusal } from "../core/classify.ts";
import { mustFollow } from "../core/follow.ts";
import { responseHeadersToDrop } from "../core/headers.ts";
import { TIMED_OUT, UNREACHABLE } from "../core/problem.ts";
import type { SubChannel } from "../core/sub-channel.ts";
import { type Env, isFetcher } from "../env.ts";
import { answerProblem } from "./answer-problem.ts";
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

/** What an attempt's answer is made of. */
interface Exchange {
  readonly request: Request;
  /** Aborted when the client leaves. */
  readonly gone: AbortSignal;
  readonly context: ExecutionContext;
  readonly channel: SubChannel;
}

/**
 * Makes one attempt and answers with what came of it: the backend's response, streamed and untouched but for headers that
 * must not pass, or the problem that stands in its place. Ends the attempt in the sub-channel exactly once.
 */
export function forward({ request, env, context, isolate }: Passage, attempt: Attempt): Promise<Response> {
  const { channel, headerTimeoutMs, nowMs } = attempt;
  // Taken once: asked for again after the client has left, it would know nothing of that.
  const gone = request.signal;
  const exchange: Exchange = { request, gone, context, channel };
  const sent = send(attempt, request, gone, env);
  const answer = isolate.headerWatch.guard(sent, headerTimeoutMs, nowMs, context).then(
    (response) => (response === TOO_LATE ? fail("timed_out", exchange) : receive(response, exchange)),
    () => fail("unreachable", exchange),
  );
  // Held, or the runtime would drop it together with a client that leaves, and the attempt would be in flight for ever.
  context.waitUntil(answer);
  return answer;
}

/** Sends the request on: through the backend's binding where it names one, body streamed, redirects not followed. */
function send(
  { channel, path, headers }: Attempt,
  request: Request,
  gone: AbortSignal,
  env: Env,
): Promise<Response> {
  const { via } = channel.backend;
  const url = channel.backend.url + path;
  const { method, body } = request;
  // The backend's bytes as they are: decoding and encoding again would cost, and change them.
  const how: RequestInit = { headers, redirect: "manual", signal: gone, encodeResponseBody: "manual" };
  // A GET may have a body (RFC 9110 §9.3.1), which the runtime takes from a whole request only.
  const hasOddBody = body !== null && (method === "GET" || method === "HEAD");
  const target = hasOddBody ? new Request(url, request) : url;
  const init = hasOddBody ? how : { ...how, method, body };
  if (via === null) return fetch(target, init);
  // A binding is given the `Host` it is told; it gets its backend's own, as plain fetch does.
  headers.delete("host");
  const binding = env[via];
  return isFetcher(binding)
    ? binding.fetch(target, init)
    : Promise.reject(
        new Error(`backend ${channel.id} is reached through ${via}, which is not a Fetcher binding`),
      );
}

function receive(response: Response, exchange: Exchange): Response | Promise<Response> {
  const { channel, context } = exchange;
  const outcome = classifyStatus(response.status);
  if (outcome === "unreachable" || outcome === "timed_out") {
    // Its body is the platform's error page, which speaks of the backend's host.
    context.waitUntil(response.body?.cancel() ?? Promise.resolve());
    return fail(outcome, exchange);
  }
  if (response.status === 403 && mayBePlatformRefusal(response)) return receiveRefusal(response, exchange);
  channel.count(outcome);
  if (response.webSocket !== null) return pumpWebSocket(response, response.webSocket, () => channel.end());
  // The body is asked for last: merely looking at it makes the runtime build a stream for JavaScript.
  if (mustFollow(response.headers, channel.backend.admits) && response.body !== null) {
    return follow(response, response.body, exchange);
  }
  channel.end();
  return withoutDroppedHeaders(response);
}

async function receiveRefusal(response: Response, exchange: Exchange): Promise<Response> {
  if (response.body === null) return receiveAnswer(response, exchange);
  try {
    const bytes = await response.arrayBuffer();
    if (isPlatformRefusal(new TextDecoder().decode(bytes))) return fail("unreachable", exchange);
    const { status, statusText, headers } = response;
    return receiveAnswer(
      new Response(bytes, { status, statusText, headers, encodeBody: "manual" }),
      exchange,
    );
  } catch {
    return fail("unreachable", exchange);
  }
}

function receiveAnswer(response: Response, { channel }: Exchange): Response {
  channel.count("answered");
  channel.end();
  return withoutDroppedHeaders(response);
}

/** Passes a body on and sees its end, whoever ends it. */
function follow(response: Response, body: ReadableStream, { context, gone, channel }: Exchange): Response {
  const { status, statusText, headers } = response;
  const length = headers.get("content-length");
  const { readable, writable } =
    length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
  context.waitUntil(
    body.pipeTo(writable, { signal: gone }).then(
      () => channel.end(),
      () => channel.end(),
    ),
  );
  return withoutDroppedHeaders(new Response(readable, { status, statusText, headers, encodeBody: "manual" }));
}

function withoutDroppedHeaders(response: Response): Response {
  const names = responseHeadersToDrop(response.headers);
  if (names === null) return response;
  const { status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const name of names) headers.delete(name);
  return new Response(response.body, { status, statusText, headers, encodeBody: "manual" });
}

/** Answers in the place of a backend that gave no answer worth passing on; none is blamed for a client that left. */
function fail(outcome: "unreachable" | "timed_out", { request, gone, channel }: Exchange): Response {
  channel.count(gone.aborted ? "client_gone" : outcome);
  channel.end();
  return answerProblem(outcome === "timed_out" ? TIMED_OUT : UNREACHABLE, request);
}
