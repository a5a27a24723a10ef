import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type EpochMs, epochMs } from "../../durable/model/time.ts";
import { type Guarded, HeaderWatch } from "../../worker/edge/header-watch.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const NEVER = new Promise<Response>(() => {});
const TIMEOUT_MS = 10_000;

/** A request with an attempt under guard, and all that the watch did with it. */
class Attempted implements Guarded {
  readonly seen: string[] = [];
  readonly client = new AbortController();
  /** Until when its client was there for sure, if it was abandoned. */
  lastSeenMs: EpochMs | null = null;
  /** Vigils that it keeps. */
  vigils = 0;
  /** What keeps the request alive, and is not done. */
  held = 0;

  readonly passage = {
    gone: this.client.signal,
    isAbandoned: false,
    waitUntil: (work: Promise<unknown>): void => {
      this.held++;
      void work.then(() => this.held--);
    },
  };

  receive(response: Response): Response {
    return this.#see("received", response);
  }

  discard(): void {
    this.seen.push("discarded");
  }

  fail(): Response {
    return this.#see("failed", new Response(null, { status: 502 }));
  }

  putOffMs(): number | null {
    return null;
  }

  giveUp(): Response {
    return this.#see("given up", new Response(null, { status: 504 }));
  }

  keepVigil(): () => void {
    this.vigils++;
    return () => this.vigils--;
  }

  abandon(lastSeenMs: EpochMs): void {
    this.seen.push("abandoned");
    this.lastSeenMs = lastSeenMs;
  }

  #see(what: string, response: Response): Response {
    this.seen.push(what);
    return response;
  }
}

function guard(
  watch: HeaderWatch,
  attempted: Guarded,
  work = NEVER,
  timeoutMs = TIMEOUT_MS,
): Promise<Response> {
  return watch.guard(work, attempted, timeoutMs, epochMs(Date.now()));
}

/** Another request has the watch look after all of them, when every deadline is long past. */
async function lookLongAfter(watch: HeaderWatch): Promise<void> {
  await vi.advanceTimersByTimeAsync(3 * TIMEOUT_MS);
  void guard(watch, new Attempted());
  await vi.advanceTimersByTimeAsync(3_000);
}

it("hands on what comes, or that nothing will, and keeps no request for it but the one that looks after all", async () => {
  const watch = new HeaderWatch();
  const [first, second, third] = [new Attempted(), new Attempted(), new Attempted()];
  void guard(watch, first);
  expect((await guard(watch, second, Promise.resolve(new Response("here")))).status).toBe(200);
  expect((await guard(watch, third, Promise.reject(new Error("no")))).status).toBe(502);
  expect([first.held, second.held, third.held]).toEqual([1, 0, 0]);
  expect([second.seen, third.seen]).toEqual([["received"], ["failed"]]);
});

it.each([TIMEOUT_MS, 50])(
  "gives up at the deadline after %i ms, once, whatever comes later",
  async (timeoutMs) => {
    const watch = new HeaderWatch();
    const attempted = new Attempted();
    const late = Promise.withResolvers<Response>();
    const answer = guard(watch, attempted, late.promise, timeoutMs);
    await vi.advanceTimersByTimeAsync(timeoutMs - 1);
    expect(attempted.seen).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect((await answer).status).toBe(504);
    await lookLongAfter(watch);
    late.resolve(new Response("too late"));
    await vi.advanceTimersByTimeAsync(0);
    expect(attempted.seen).toEqual(["given up", "discarded"]);
    expect(attempted.held).toBe(0);
  },
);

it("ends an attempt at once whose client leaves while it is listened for, once, and lets its request go", async () => {
  const watch = new HeaderWatch();
  const attempted = new Attempted();
  void guard(watch, attempted);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(attempted.held).toBe(1);
  attempted.client.abort();
  await vi.advanceTimersByTimeAsync(0);
  expect(attempted.seen).toEqual(["abandoned"]);
  expect(attempted.lastSeenMs).toBe(Date.now());
  expect(attempted.held).toBe(0);
  await lookLongAfter(watch);
  expect(attempted.seen).toEqual(["abandoned"]);
});

it("keeps a vigil while an attempt waits long, and only then", async () => {
  const watch = new HeaderWatch();
  const [quick, slow] = [new Attempted(), new Attempted()];
  const late = Promise.withResolvers<Response>();
  const answer = guard(watch, slow, late.promise);
  void guard(watch, quick, NEVER, 50);
  await vi.advanceTimersByTimeAsync(3_000);
  expect([quick.vigils, slow.vigils]).toEqual([0, 1]);
  late.resolve(new Response("late"));
  await answer;
  expect(slow.vigils).toBe(0);
});

it("abandons an attempt whose request the runtime has dropped, timer and all, and does not claim to know when", async () => {
  const watch = new HeaderWatch();
  const attempted = new Attempted();
  const beganMs = Date.now();
  void guard(watch, attempted, NEVER, 50);
  vi.clearAllTimers();
  await lookLongAfter(watch);
  expect(attempted.seen).toEqual(["abandoned"]);
  expect(attempted.lastSeenMs).toBe(beganMs);
});
