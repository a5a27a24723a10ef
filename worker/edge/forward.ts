import { isFetcher } from "../../durable/model/fetcher.ts";
import type { Announcement } from "../../durable/model/health.ts";
import type { Outcome } from "../../durable/model/outcome.ts";
import { isPlatformRefusal, mayBePlatformRefusal } from "../../durable/model/platform.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { classifyStatus } from "../core/classify.ts";
import { mustFollow } from "../core/follow.ts";
import { announcementIn, responseHeadersToDrop } from "../core/headers.ts";
import { BROKEN_UPLOAD, type Problem, SLOW_UPLOAD, TIMED_OUT, UNREACHABLE } from "../core/problem.ts";
import { type Failure, isRetryStatus, platformFailure, type RetryRules } from "../core/retry.ts";
import type { SubChannel } from "../core/sub-channel.ts";
import type { AttemptTracer } from "../core/tracer.ts";
import { answerProblem } from "./answer-problem.ts";
import type { EdgePool } from "./edge-pool.ts";
import { within } from "./elapse.ts";
import { type BodyEnd, followBody } from "./follow.ts";
import type { Guarded } from "./header-watch.ts";
import { clock } from "./leased.ts";
import type { Passage } from "./passage.ts";
import type { Lane, Runner } from "./race.ts";
import { parseRetryAfter } from "./retry-after.ts";
import type { Body, OnFailure } from "./tries.ts";
import { pumpWebSocket } from "./upgrade.ts";
import { Vigil, type Watched } from "./vigil.ts";

/** One attempt at one backend. The sub-channel has counted it as in flight already. */
export interface Attempt {
  readonly pool: EdgePool;
  readonly channel: SubChannel;
  /** With query, beginning with `/`. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: Body;
  /** From when the backend has the whole request, where that can be told. */
  readonly headerTimeoutMs: number;
  /** That is too short to hold silence against the backend, as the request's total time is nearly over. */
  readonly isShortened: boolean;
  /** Others have failed before it. */
  readonly isRetry: boolean;
  /** How long a followed body may be silent, or a client that sends one, milliseconds; null: for ever. */
  readonly bodyIdleTimeoutMs: number | null;
  /** The same of a WebSocket. */
  readonly webSocketIdleTimeoutMs: number | null;
  /** When it begins. */
  readonly nowMs: EpochMs;
  /** What the answer gets besides the backend's headers, made when it is there; null: nothing. */
  readonly addedHeaders: (() => AddedHeaders) | null;
  /** When it is worth another one. */
  readonly retry: RetryRules;
  readonly onFailure: OnFailure;
  /** Its part in a race with others; null: it runs alone. */
  readonly lane: Lane | null;
  /** Takes down what becomes of it; null: nobody asks. */
  readonly tracer: AttemptTracer | null;
}

/** The only status that brings a WebSocket (RFC 6455 §4.1). */
const SWITCHING_PROTOCOLS = 101;

export type AddedHeaders = readonly (readonly [name: string, value: string])[];

/**
 * Makes one attempt and answers with what came of it: the backend's response, streamed and untouched but for headers that
 * must not pass, or the problem that stands in its place. Ends the attempt in the sub-channel exactly once.
 */
export function forward(passage: Passage, attempt: Attempt): Promise<Response> {
  const { headerTimeoutMs, nowMs } = attempt;
  const controller = isAbortable(attempt) ? new AbortController() : null;
  const signal = attempt.lane?.signal ?? controller?.signal ?? null;
  const exchange = new Exchange(passage, attempt, controller);
  return passage.isolate.headerWatch.guard(send(attempt, passage, signal), exchange, headerTimeoutMs, nowMs);
}

/**
 * Whether an attempt that times out is aborted at once; any other ends with its request. To be able to costs 3 % of the
 * throughput, so the first attempt of an ordinary request is not, unless its backend has failed lately. A race has its own way.
 */
function isAbortable({ channel, body, isRetry, lane }: Attempt): boolean {
  return lane === null && (isRetry || body.stream !== null || channel.isFailing);
}

/** Sends the request on: through the backend's binding where it names one, body streamed, redirects not followed. */
function send(
  { channel, path, headers, body }: Attempt,
  passage: Passage,
  signal: AbortSignal | null,
): Promise<Response> {
  const { stream } = body;
  const { request, env } = passage;
  const { via } = channel.backend;
  const url = channel.backend.url + path;
  const { method } = request;
  // An upload breaks when its client leaves, and only who has asked in time can tell that from a backend's fault.
  if (stream !== null) void passage.gone;
  // A GET may have a body (RFC 9110 §9.3.1), which the runtime takes from a whole request only.
  const hasOddBody = stream !== null && (method === "GET" || method === "HEAD");
  const target = hasOddBody ? new Request(url, request) : url;
  // The backend's bytes as they are: decoding and encoding again would cost, and change them.
  const init: RequestInit = { headers, redirect: "manual", encodeResponseBody: "manual" };
  if (!hasOddBody) {
    // What goes without saying is not said: the runtime reads each of these with some effort.
    if (method !== "GET") init.method = method;
    if (stream !== null) init.body = stream;
  }
  if (signal !== null) init.signal = signal;
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

/** Whether it announces another protocol and brings none. The runtime passes such a one on to nobody. */
function isStraySwitch(response: Response): boolean {
  return response.status === SWITCHING_PROTOCOLS && response.webSocket === null;
}

/** Longest wait for the body of what may be the platform's refusal, milliseconds. It is a line of text. */
const REFUSAL_MS = 2_000;

/** One attempt after it was sent: counts what becomes of it once, and ends it once. */
class Exchange implements Guarded, Runner {
  readonly passage: Passage;
  readonly #attempt: Attempt;
  readonly #controller: AbortController | null;
  #isCounted = false;
  #isOver = false;
  /** For its headers, milliseconds, once it is counted. */
  #waitedMs = 0;

  constructor(passage: Passage, attempt: Attempt, controller: AbortController | null) {
    this.passage = passage;
    this.#attempt = attempt;
    this.#controller = controller;
    attempt.lane?.enter(this);
  }

  receive(response: Response): Response | Promise<Response> {
    try {
      return this.#receive(response);
    } catch (error) {
      // Nothing that a backend sends may end in an exception, whatever the runtime makes of it.
      console.error(error);
      this.#count("unreachable");
      this.#end();
      return answerProblem(UNREACHABLE, this.passage.request);
    }
  }

  #receive(response: Response): Response | Promise<Response> {
    const { status, headers } = response;
    const { pool, channel, retry, lane } = this.#attempt;
    // A binding need not heed that it was aborted.
    if (lane?.isOutrun === true) return this.#yield(response);
    const outcome = isStraySwitch(response) ? "unreachable" : classifyStatus(status, pool.blamed);
    if (outcome === "unreachable" || outcome === "timed_out") {
      // Its body is the platform's error page, which speaks of the backend's host.
      this.#drop(response);
      return this.#replace(outcome, platformFailure(status));
    }
    if (status === 403 && mayBePlatformRefusal(response)) {
      const answer = this.#receiveRefusal(response);
      this.passage.waitUntil(answer);
      return answer;
    }
    this.#count(outcome);
    if (pool.isTrusting) this.#hear(announcementIn(headers));
    if (isRetryStatus(status, retry)) {
      const retryAfterMs = parseRetryAfter(headers.get("retry-after"), clock());
      const again = this.#tryAgain({ kind: "status", status, retryAfterMs });
      if (again !== null) {
        if (lane === null) this.#drop(response);
        else lane.hold({ use: () => this.#withOwnHeaders(response), drop: () => this.#drop(response) });
        this.#end();
        return again;
      }
    }
    lane?.win();
    if (status === SWITCHING_PROTOCOLS && response.webSocket !== null) {
      return this.#withOwnHeaders(this.#pump(response, response.webSocket));
    }
    // The body is asked for last: merely looking at it makes the runtime build a stream for JavaScript.
    if (mustFollow(headers, channel.backend.admits) && response.body !== null)
      return this.#follow(response, response.body);
    this.#end();
    return this.#withOwnHeaders(response, headers);
  }

  discard(response: Response): void {
    this.#drop(response);
  }

  fail(): Response | Promise<Response> {
    if (this.#attempt.body.copy?.isBroken === true) return this.#blameClient(BROKEN_UPLOAD);
    if (this.#isOpaque) return this.#blameClient(UNREACHABLE);
    return this.#replace("unreachable", { kind: "broken" });
  }

  putOffMs(nowMs: EpochMs): number | null {
    const { body, headerTimeoutMs, bodyIdleTimeoutMs } = this.#attempt;
    if (body.copy === null) return null;
    const { of, sinceMs } = body.copy.turn;
    const patienceMs = of === "backend" ? headerTimeoutMs : (bodyIdleTimeoutMs ?? Number.POSITIVE_INFINITY);
    const leftMs = after(sinceMs, patienceMs) - nowMs;
    // No longer at once than the backend may take: that is how soon it may be its turn, and over.
    return leftMs > 0 ? Math.min(leftMs, headerTimeoutMs) : null;
  }

  giveUp(): Response | Promise<Response> {
    const { body, isShortened } = this.#attempt;
    this.#controller?.abort();
    if (body.copy?.turn.of === "client") return this.#blameClient(SLOW_UPLOAD);
    if (this.#isOpaque) return this.#blameClient(TIMED_OUT);
    if (isShortened) this.#count(this.passage.isAbandoned ? "client_gone" : "outrun");
    return this.#replace("timed_out", { kind: "broken" });
  }

  keepVigil(): () => void {
    const vigil = new Vigil(this.passage, this.#watched(), () => Number.POSITIVE_INFINITY);
    return () => vigil.end();
  }

  abandon(lastSeenMs: EpochMs): void {
    this.#count("client_gone", lastSeenMs);
    this.#end();
  }

  outrun(): void {
    this.#count("outrun");
    this.#end();
  }

  async #receiveRefusal(response: Response): Promise<Response> {
    if (response.body === null) return this.#pass(response);
    try {
      const bytes = await within(REFUSAL_MS, response.arrayBuffer());
      if (isPlatformRefusal(new TextDecoder().decode(bytes)))
        return await this.#replace("unreachable", { kind: "not_sent" });
      const { status, statusText, headers } = response;
      return this.#pass(new Response(bytes, { status, statusText, headers, encodeBody: "manual" }));
    } catch {
      return await this.#replace("unreachable", { kind: "broken" });
    }
  }

  #pass(response: Response): Response {
    const { lane } = this.#attempt;
    if (lane?.isOutrun === true) return this.#yield(response);
    lane?.win();
    this.#count("answered");
    this.#end();
    return this.#withOwnHeaders(response);
  }

  /** Passes a WebSocket's messages on and sees its end. */
  #pump(response: Response, upstream: WebSocket): Response {
    const { pool, channel, webSocketIdleTimeoutMs: idleTimeoutMs } = this.#attempt;
    return pumpWebSocket(response, upstream, {
      passage: this.passage,
      pool: this.#watched(),
      idleTimeoutMs,
      mustClose: () => pool.closesSockets && channel.isWithdrawn,
      onEnd: () => this.#end(),
    });
  }

  /** Passes a body on and sees its end. */
  #follow(response: Response, body: ReadableStream): Response {
    const { status, statusText, headers } = response;
    const { bodyIdleTimeoutMs: idleTimeoutMs } = this.#attempt;
    const length = headers.get("content-length");
    const onEnd = (end: BodyEnd): void => {
      if (end === "cut") this.#countCut();
      this.#end();
    };
    const following = { passage: this.passage, pool: this.#watched(), idleTimeoutMs, onEnd };
    const followed = followBody(body, length === null ? null : Number(length), following);
    return this.#withOwnHeaders(
      new Response(followed, { status, statusText, headers, encodeBody: "manual" }),
    );
  }

  /** The pool, as what stays open looks after it. */
  #watched(): Watched {
    const { leased, vigils } = this.#attempt.pool;
    const { passage } = this;
    return { vigils, keepUp: (nowMs) => leased.keepUp(passage.env, passage, nowMs) };
  }

  /** The response as the client gets it: untouched, unless some header must not pass or one is added. */
  #withOwnHeaders(response: Response, received = response.headers): Response {
    const dropped = responseHeadersToDrop(received, response.status);
    const added = this.#attempt.addedHeaders?.() ?? null;
    if (dropped === null && added === null) return response;
    const { status, statusText, webSocket } = response;
    const headers = new Headers(received);
    for (const name of dropped ?? []) headers.delete(name);
    for (const [name, value] of added ?? []) {
      if (name === "set-cookie") headers.append(name, value);
      else headers.set(name, value);
    }
    return webSocket === null
      ? new Response(response.body, { status, statusText, headers, encodeBody: "manual" })
      : new Response(null, { status, webSocket, headers });
  }

  /**
   * Answers in the place of a backend that gave no answer worth passing on: with another one's, if the request may be tried
   * again. Nobody is blamed for a client that left, and nothing is done for it any more, nor for one that another attempt has
   * answered.
   */
  #replace(outcome: "unreachable" | "timed_out", failure: Failure): Response | Promise<Response> {
    const { isAbandoned, request } = this.passage;
    this.#count(isAbandoned ? "client_gone" : outcome);
    this.#end();
    const isUnwanted = isAbandoned || this.#attempt.lane?.isOutrun === true;
    const again = isUnwanted ? null : this.#tryAgain(failure);
    return again ?? answerProblem(outcome === "timed_out" ? TIMED_OUT : UNREACHABLE, request);
  }

  /**
   * Whether it has a body of unknown length. If that is broken off or slow nobody can tell whose doing it is, and no client must
   * be able to take backends out.
   */
  get #isOpaque(): boolean {
    const { stream, copy } = this.#attempt.body;
    return stream !== null && copy === null;
  }

  /** Ends an attempt that failed for its client's sake, as far as anybody can tell: others would not fare better. */
  #blameClient(problem: Problem): Response {
    this.#count("client_gone");
    this.#end();
    this.#attempt.lane?.win();
    return answerProblem(problem, this.passage.request);
  }

  /** Another attempt has answered the client: this one only has to return something. */
  #yield(response: Response): Response {
    this.#drop(response);
    return answerProblem(UNREACHABLE, this.passage.request);
  }

  #tryAgain(failure: Failure): Promise<Response> | null {
    return this.#attempt.onFailure(failure);
  }

  #drop(response: Response): void {
    this.passage.waitUntil(response.body?.cancel() ?? Promise.resolve());
  }

  #count(outcome: Outcome, untilMs: EpochMs | null = null): void {
    if (this.#isCounted) return;
    this.#isCounted = true;
    const { channel, headerTimeoutMs: timeoutMs, body, isRetry, nowMs: sinceMs, tracer } = this.#attempt;
    const nowMs = clock();
    this.#waitedMs = (untilMs ?? nowMs) - sinceMs;
    tracer?.ended(outcome, this.#waitedMs);
    const wait = {
      waitedMs: this.#waitedMs,
      timeoutMs,
      // Where it has failed already, it may be the request that nobody can answer.
      isUnhindered: !isRetry && (body.stream === null || body.copy?.isSent === true),
      nowMs,
    };
    if (channel.count(outcome, wait)) this.#report(nowMs);
  }

  /** The answer broke off after its headers, for which it was counted already. */
  #countCut(): void {
    const { channel, headerTimeoutMs: timeoutMs, nowMs: beganMs } = this.#attempt;
    const nowMs = clock();
    const wait = { waitedMs: this.#waitedMs, timeoutMs, isUnhindered: true, nowMs };
    if (channel.countCut(beganMs, wait)) this.#report(nowMs);
  }

  #hear(said: Announcement | null): void {
    if (said === null) return;
    const nowMs = clock();
    if (this.#attempt.channel.hear(said, nowMs)) this.#report(nowMs);
  }

  #report(nowMs: EpochMs): void {
    this.#attempt.pool.leased.hurry(this.passage.env, this.passage, nowMs);
  }

  #end(): void {
    if (!this.#isOver) this.#attempt.channel.end();
    this.#isOver = true;
  }
}
