import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { DEFAULT_POOL } from "../../durable/model/names.ts";
import { OUTCOMES, zeros } from "../../durable/model/outcome.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import { after, epochMs } from "../../durable/model/time.ts";
import { Availability } from "../../worker/core/availability.ts";
import { type Failure, retryRules } from "../../worker/core/retry.ts";
import { SubChannel } from "../../worker/core/sub-channel.ts";
import { TargetParser } from "../../worker/core/target.ts";
import { forward } from "../../worker/edge/forward.ts";
import { Isolate } from "../../worker/edge/isolate.ts";
import { clock } from "../../worker/edge/leased.ts";
import { Passage } from "../../worker/edge/passage.ts";
import { id } from "./support.ts";

/** Attempts began so long before the test, milliseconds. */
const WAITED_MS = 10_000;

/** More than a test takes, milliseconds. */
const MARGIN_MS = 5_000;

/** Longest wait for the headers. */
const TIMEOUT_MS = 20_000;

/** An attempt that is to be over so soon that its client is listened for at once. */
const SHORT = { waitedMs: 1_000, timeoutMs: 1_900 };

const URL_ASKED = "https://shop.example/";

interface Told {
  readonly waitedMs?: number;
  readonly timeoutMs?: number;
  readonly isShortened?: boolean;
  readonly body?: string | null;
}

/** One attempt at a backend that answers when the test says so. */
class Trial {
  readonly channel = new SubChannel(
    {
      id: id("a"),
      url: "https://a.example",
      weight: 1,
      via: "BACKEND",
      admits: "new",
      tier: 0,
      servingSinceMs: epochMs(0),
      isEjected: false,
      isLastResort: false,
      labels: {},
      addedMs: epochMs(0),
      serverId: 0,
      region: null,
    },
    DEFAULT_POOL_CONFIG,
    new Availability(),
  );
  readonly client = new AbortController();
  readonly backend = Promise.withResolvers<Response>();
  readonly response: Promise<Response>;
  /** As what it was offered for a retry; null: it was not. */
  failure: Failure["kind"] | null = null;

  constructor({ waitedMs = WAITED_MS, timeoutMs = TIMEOUT_MS, isShortened = false, body = null }: Told = {}) {
    const target = new TargetParser().parse(URL_ASKED);
    if (target === null) throw new Error(`${URL_ASKED} is no target`);
    const request = new Request(URL_ASKED, {
      method: body === null ? "GET" : "POST",
      body,
      signal: this.client.signal,
    });
    const bindings = { ...env, BACKEND: { fetch: () => this.backend.promise } };
    const isolate = new Isolate(bindings);
    const passage = new Passage(request, target, bindings, createExecutionContext(), isolate);
    this.channel.begin(clock());
    this.response = forward(passage, {
      pool: isolate.pool(DEFAULT_POOL),
      channel: this.channel,
      path: "/",
      body: { stream: request.body, copy: null },
      retry: retryRules(DEFAULT_POOL_CONFIG, {}),
      onFailure: (failure) => {
        this.failure = failure.kind;
        return null;
      },
      headers: new Headers(),
      headerTimeoutMs: timeoutMs,
      isShortened,
      isRetry: false,
      bodyIdleTimeoutMs: null,
      webSocketIdleTimeoutMs: null,
      nowMs: after(clock(), -waitedMs),
      addedHeaders: null,
      lane: null,
      tracer: null,
    });
  }

  /** What the sub-channel was told, and what it has made of it. */
  told() {
    return {
      outcomes: this.channel.takeReport(clock())?.report.outcomes ?? null,
      inFlight: this.channel.inFlight,
      latencyMs: this.channel.latencyMs(clock()),
    };
  }
}

function once(outcome: (typeof OUTCOMES)[number], latencyMs: number, inFlight = 0) {
  return { outcomes: { ...zeros(OUTCOMES), [outcome]: 1 }, inFlight, latencyMs: about(latencyMs) };
}

/** So long, or a little longer. */
function about(latencyMs: number): unknown {
  return expect.toSatisfy((actual: number) => actual >= latencyMs * 0.9 && actual < latencyMs + MARGIN_MS);
}

function fromPlatform(body: BodyInit): Response {
  return new Response(body, { status: 403, headers: { server: "cloudflare", "content-length": "16" } });
}

function breakingBody(): ReadableStream {
  return new ReadableStream({ pull: (controller) => controller.error(new Error("broke off")) });
}

describe("an attempt tells its sub-channel once, and ends once", () => {
  it.each([
    ["an answer", () => new Response("here"), "answered", WAITED_MS],
    ["an answer without a body", () => new Response(null, { status: 304 }), "answered", WAITED_MS],
    ["a client's fault", () => new Response("no", { status: 404 }), "answered", WAITED_MS],
    ["a refusal of its own", () => fromPlatform("you may not come"), "answered", WAITED_MS],
    ["a failure of its own", () => new Response("oh", { status: 500 }), "server_error", WAITED_MS],
    ["that nobody is there", () => new Response("dns", { status: 530 }), "unreachable", TIMEOUT_MS],
    ["that the platform gave up", () => new Response("late", { status: 524 }), "timed_out", TIMEOUT_MS],
    ["the platform's refusal", () => fromPlatform("error code: 1003"), "unreachable", TIMEOUT_MS],
    ["a refusal that breaks off", () => fromPlatform(breakingBody()), "unreachable", TIMEOUT_MS],
  ] as const)("%s", async (_, answer, outcome, latencyMs) => {
    const trial = new Trial();
    trial.backend.resolve(answer());
    await (await trial.response).arrayBuffer();
    trial.client.abort();
    expect(trial.told()).toEqual(once(outcome, latencyMs));
  });

  it("an exception", async () => {
    const trial = new Trial();
    trial.backend.reject(new Error("connection refused"));
    expect((await trial.response).status).toBe(502);
    expect(trial.told()).toEqual(once("unreachable", TIMEOUT_MS));
  });

  it("an exception because the client broke its upload off: nobody is punished", async () => {
    const trial = new Trial({ body: "an upload" });
    trial.client.abort();
    trial.backend.reject(new Error("the body broke off"));
    await trial.response;
    expect(trial.told()).toEqual(once("client_gone", WAITED_MS));
  });

  it("a client that leaves, whatever comes later", async () => {
    const trial = new Trial(SHORT);
    trial.client.abort();
    expect(trial.told()).toEqual(once("client_gone", SHORT.waitedMs));
    trial.backend.resolve(new Response("too late", { status: 500 }));
    await trial.backend.promise;
    expect(trial.told()).toEqual({ outcomes: null, inFlight: 0, latencyMs: about(SHORT.waitedMs) });
  });

  it("no answer by the deadline, whatever comes later", async () => {
    const trial = new Trial({ timeoutMs: 1_000 });
    expect((await trial.response).status).toBe(504);
    expect(trial.told()).toEqual(once("timed_out", WAITED_MS));
    trial.backend.resolve(new Response("too late"));
    trial.client.abort();
    await trial.backend.promise;
    expect(trial.told()).toEqual({ outcomes: null, inFlight: 0, latencyMs: about(WAITED_MS) });
  });

  it("nobody's fault where the request had no time left for its whole deadline", async () => {
    const trial = new Trial({ timeoutMs: 1_000, isShortened: true });
    expect((await trial.response).status).toBe(504);
    expect(trial.told()).toEqual(once("outrun", WAITED_MS));
  });

  it("an event stream at its headers, and its end when the client leaves", async () => {
    const trial = new Trial();
    const ended = Promise.withResolvers<void>();
    // A stream of bytes, as everything is that comes from a network.
    const readable = new ReadableStream({ type: "bytes", cancel: () => ended.resolve() });
    trial.backend.resolve(new Response(readable, { headers: { "content-type": "text/event-stream" } }));
    await trial.response;
    expect(trial.told()).toEqual(once("answered", WAITED_MS, 1));
    trial.client.abort();
    await ended.promise;
    await expect
      .poll(() => trial.told())
      .toEqual({ outcomes: null, inFlight: 0, latencyMs: about(WAITED_MS) });
  });

  it("a WebSocket at its handshake, and its end when both sides have closed", async () => {
    const trial = new Trial();
    const { 0: far, 1: near } = new WebSocketPair();
    trial.backend.resolve(new Response(null, { status: 101, webSocket: near }));
    const { webSocket } = await trial.response;
    expect(trial.told()).toEqual(once("answered", WAITED_MS, 1));
    far.accept();
    webSocket?.accept();
    far.close(1000, "bye");
    await expect
      .poll(() => trial.told())
      .toEqual({ outcomes: null, inFlight: 0, latencyMs: about(WAITED_MS) });
  });
});

/** An answer at which even a look throws. */
function untouchable(): Response {
  return Object.defineProperty(new Response("oh"), "headers", {
    get: () => {
      throw new TypeError("no headers for you");
    },
  });
}

function breakingStream(): Response {
  const body = new ReadableStream({
    type: "bytes",
    pull: (controller) => controller.error(new Error("reset")),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

type Comes = (trial: Trial) => void;

function answers(make: () => Response): Comes {
  return ({ backend }) => backend.resolve(make());
}

function throws(message: string): Comes {
  return ({ backend }) => backend.reject(new Error(message));
}

function leavesAnd(then: Comes): Comes {
  return (trial) => {
    trial.client.abort();
    then(trial);
  };
}

const ONE_BODY = { body: "an upload" };
const NOTHING = (): void => {};
const LOST = throws("Network connection lost.");
const STATUS = (status: number) => answers(() => new Response("page", { status }));

/*
 * What may come of an attempt, through to the sub-channel and to whoever decides on a retry: the outcomes counted, as what it is
 * offered for a retry (null: not at all, whatever the method), and the status the client gets if there is none.
 */
describe("what comes of an attempt", () => {
  it.each<readonly [string, Told, Comes, readonly string[], Failure["kind"] | null, number]>([
    ["a reset before the headers", {}, LOST, ["unreachable"], "broken", 502],
    ["an exception", {}, throws("internal error; reference = x"), ["unreachable"], "broken", 502],
    ["a malformed answer", {}, STATUS(520), ["unreachable"], "broken", 502],
    ["no connection", {}, STATUS(521), ["unreachable"], "not_sent", 502],
    ["no connection in time", {}, STATUS(522), ["unreachable"], "not_sent", 502],
    ["no route", {}, STATUS(523), ["unreachable"], "not_sent", 502],
    ["no handshake", {}, STATUS(525), ["unreachable"], "not_sent", 502],
    ["no certificate", {}, STATUS(526), ["unreachable"], "not_sent", 502],
    ["an error of the platform's", {}, STATUS(527), ["unreachable"], "broken", 502],
    ["no name", {}, STATUS(530), ["unreachable"], "not_sent", 502],
    ["no address", {}, answers(() => fromPlatform("error code: 1003")), ["unreachable"], "not_sent", 502],
    ["another refusal", {}, answers(() => fromPlatform("error code: 1020")), ["answered"], null, 403],
    ["the platform's timeout", {}, STATUS(524), ["timed_out"], "broken", 504],
    ["our timeout", { timeoutMs: 1_000 }, NOTHING, ["timed_out"], "broken", 504],
    ["one with little time", { timeoutMs: 1_000, isShortened: true }, NOTHING, ["outrun"], "broken", 504],
    ["a reset after the headers", {}, answers(breakingStream), ["answered", "cut"], null, 200],
    ["one that makes us stumble", {}, answers(untouchable), ["unreachable"], null, 502],
    ["too early", {}, STATUS(425), ["answered"], "status", 425],
    ["a gateway's error", {}, STATUS(503), ["gateway_error"], "status", 503],
    ["a server's error", {}, STATUS(500), ["server_error"], null, 500],
    ["an answer", {}, STATUS(200), ["answered"], null, 200],
    ["a client gone, then a reset", ONE_BODY, leavesAnd(LOST), ["client_gone"], null, 502],
    ["a client gone, then an error", ONE_BODY, leavesAnd(STATUS(522)), ["client_gone"], null, 502],
    ["a reset under a body of unknown length", ONE_BODY, LOST, ["client_gone"], null, 502],
    ["a timeout with one", { ...ONE_BODY, timeoutMs: 1_000 }, NOTHING, ["client_gone"], null, 504],
    ["no connection with one", ONE_BODY, STATUS(521), ["unreachable"], "not_sent", 502],
  ])("%s", async (_, told, comes, outcomes, failure, status) => {
    const trial = new Trial(told);
    comes(trial);
    const response = await trial.response;
    expect([response.status, trial.failure]).toEqual([status, failure]);
    await response.text().catch(() => "cut");
    await vi.waitUntil(() => trial.channel.inFlight === 0);
    const counted = Object.entries(trial.told().outcomes ?? {}).filter(([, count]) => count > 0);
    expect(counted).toEqual(outcomes.map((outcome) => [outcome, 1]));
  });
});
