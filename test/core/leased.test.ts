import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Versioned } from "../../durable/model/snapshot.ts";
import type { SyncReply } from "../../durable/model/sync.ts";
import { ObjectUnavailable } from "../../worker/core/object-unavailable.ts";
import { type Acknowledgement, clock, Leased, type Obtained, type Source } from "../../worker/edge/leased.ts";

const WAIT_MS = 2_000;
const LEASE_MS = 30_000;
const REFRESH_MS = 5_000;
const MAX_STALE_MS = 60_000;

/** An object that answers when the test says so. */
class Ring implements Source<Versioned, null> {
  readonly asked: Acknowledgement[] = [];
  readonly adopted: (Versioned | null)[] = [];
  isOwing = false;
  #pending: ((reply: SyncReply<Versioned>) => void)[] = [];
  #failing: ((error: Error) => void)[] = [];

  send(_env: null, acknowledgement: Acknowledgement): Promise<SyncReply<Versioned>> {
    this.asked.push(acknowledgement);
    return new Promise((resolve, reject) => {
      this.#pending.push(resolve);
      this.#failing.push(reject);
    });
  }

  adopt(document: Versioned | null): void {
    this.adopted.push(document);
  }

  patience(): { readonly waitMs: number; readonly maxStaleMs: number } {
    return { waitMs: WAIT_MS, maxStaleMs: MAX_STALE_MS };
  }

  /** Answers the oldest sync with a version, under a lease. */
  async grant(version: number): Promise<void> {
    const document = { incarnation: "one", version };
    this.#failing.shift();
    this.#pending.shift()?.({
      kind: "leased",
      ...document,
      document,
      leaseMs: LEASE_MS,
      nextSyncMs: REFRESH_MS,
    });
    await vi.advanceTimersByTimeAsync(0);
  }

  /** Takes the oldest sync aside, to be answered after younger ones. */
  later(): { grant(version: number): Promise<void> } {
    const [aside] = [this.#pending.shift(), this.#failing.shift()];
    return {
      grant: async (version) => {
        const document = { incarnation: "one", version };
        aside?.({ kind: "leased", ...document, document, leaseMs: LEASE_MS, nextSyncMs: REFRESH_MS });
        await vi.advanceTimersByTimeAsync(0);
      },
    };
  }

  /** Answers the oldest sync: there is no such pool. */
  async deny(): Promise<void> {
    this.#failing.shift();
    this.#pending.shift()?.({ kind: "absent" });
    await vi.advanceTimersByTimeAsync(0);
  }

  /** Fails the oldest sync, with an error that the platform has marked. */
  async fail(marks: object = {}): Promise<void> {
    this.#pending.shift();
    const cause = Object.assign(new Error("unreachable"), marks);
    this.#failing.shift()?.(new ObjectUnavailable("sync failed", cause));
    await vi.advanceTimersByTimeAsync(0);
  }
}

let ring: Ring;
let leased: Leased<Versioned, null>;
const held: Promise<unknown>[] = [];

/** Asks for the document as a request does, and tells what it got once it got it. */
function obtain(): { readonly got: Obtained<Versioned> | null | "waiting" } {
  const request: { got: Obtained<Versioned> | null | "waiting" } = { got: "waiting" };
  const context = { waitUntil: (work: Promise<unknown>) => held.push(work) };
  void leased.obtain(null, context, clock()).then((obtained) => {
    request.got = obtained;
  });
  return request;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(console, "warn").mockReturnValue();
  vi.spyOn(Math, "random").mockReturnValue(0);
  ring = new Ring();
  leased = new Leased(ring);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Tells the object of something, as a request does that has failed. */
const hurry = (): void => leased.hurry(null, { waitUntil: (work) => held.push(work) }, clock());

const keepUp = (): number => leased.keepUp(null, { waitUntil: (work) => held.push(work) }, clock());

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

it("makes every first request wait for one and the same sync", async () => {
  const requests = [obtain(), obtain(), obtain()];
  await pass(100);
  expect(ring.asked).toHaveLength(1);
  await ring.grant(1);
  const obtained = { document: { incarnation: "one", version: 1 }, isDegraded: false };
  expect(requests.map(({ got }) => got)).toEqual([obtained, obtained, obtained]);
});

it("gives nothing when the object does not answer the first request within its bounded wait", async () => {
  const request = obtain();
  await pass(WAIT_MS - 1);
  expect(request.got).toBe("waiting");
  await pass(1);
  expect(request.got).toBeNull();
});

it("serves from memory without a call until the refresh is due, then asks behind the request", async () => {
  obtain();
  await ring.grant(1);
  await pass(REFRESH_MS - 1);
  expect(leased.fresh(clock())).toMatchObject({ version: 1 });
  expect(ring.asked).toHaveLength(1);
  await pass(1);
  expect(leased.fresh(clock())).toBeNull();
  const request = obtain();
  await pass(0);
  expect(request.got).toMatchObject({ document: { version: 1 }, isDegraded: false });
  expect(ring.asked).toMatchObject([{ haveVersion: 0 }, { haveVersion: 1, seq: 2 }]);
  await ring.grant(2);
  expect(leased.fresh(clock())).toMatchObject({ version: 2 });
  expect(ring.adopted).toHaveLength(2);
});

it("waits once when its lease is over, then serves what it has and says so, up to a bound", async () => {
  obtain();
  await ring.grant(1);
  await pass(LEASE_MS);
  const first = obtain();
  await pass(WAIT_MS - 1);
  expect(first.got).toBe("waiting");
  await pass(1);
  expect(first.got).toMatchObject({ document: { version: 1 }, isDegraded: true });
  const second = obtain();
  await pass(0);
  expect(second.got).toMatchObject({ isDegraded: true });
  await ring.fail();
  await pass(MAX_STALE_MS);
  const last = obtain();
  await pass(WAIT_MS);
  expect(last.got).toBeNull();
});

it("asks a failing object less and less often, and serves meanwhile", async () => {
  obtain();
  await ring.grant(1);
  await pass(LEASE_MS);
  const calls: number[] = [];
  for (let second = 0; second < 40; second++) {
    const before = ring.asked.length;
    const request = obtain();
    await pass(0);
    await ring.fail();
    expect(request.got).toMatchObject({ isDegraded: true });
    if (ring.asked.length > before) calls.push(second);
    await pass(1_000);
  }
  const gaps = calls.slice(1).map((second, index) => second - (calls[index] ?? 0));
  expect(gaps.at(-1)).toBeGreaterThanOrEqual(8);
  expect(gaps).toEqual(gaps.toSorted((a, b) => a - b));
});

it("does not hang for ever on a sync that never comes back", async () => {
  obtain();
  await pass(6_000);
  const request = obtain();
  await pass(0);
  expect(ring.asked).toHaveLength(2);
  await ring.grant(1);
  await ring.grant(2);
  expect(request.got).toMatchObject({ document: { version: 2 } });
});

it("holds every sync in waitUntil, or it would end with the request that began it", async () => {
  const before = held.length;
  obtain();
  await pass(0);
  expect(held).toHaveLength(before + 1);
});

it("sees a pool soon after it was made, however long it was missing before", async () => {
  for (let second = 0; second < 10; second++) {
    obtain();
    await pass(0);
    await ring.deny();
    await pass(1_000);
  }
  const request = obtain();
  await pass(0);
  await ring.grant(1);
  expect(request.got).toMatchObject({ document: { version: 1 } });
});

it("takes no notice of an answer from before the object said that there is nothing", async () => {
  obtain();
  await pass(6_000);
  const request = obtain();
  await pass(0);
  const late = ring.later();
  await ring.deny();
  await late.grant(1);
  await pass(WAIT_MS);
  expect(request.got).toBeNull();
  expect(leased.fresh(clock())).toBeNull();
});

it("asks once more when the object was told of something that ends, and then no more", async () => {
  obtain();
  await pass(0);
  ring.isOwing = true;
  await ring.grant(1);
  await pass(REFRESH_MS - 1);
  expect(ring.asked).toHaveLength(1);
  await pass(1);
  expect(ring.asked).toHaveLength(2);
  ring.isOwing = false;
  await ring.grant(1);
  await pass(10 * REFRESH_MS);
  expect(ring.asked).toHaveLength(2);
});

it("is kept up without requests: it asks when it is time, and says when it will be time again", async () => {
  obtain();
  await pass(0);
  await ring.grant(1);
  expect(keepUp()).toBe(REFRESH_MS);
  await pass(REFRESH_MS - 1);
  expect(keepUp()).toBe(1);
  expect(ring.asked).toHaveLength(1);
  await pass(1);
  expect(keepUp()).toBe(REFRESH_MS);
  expect(ring.asked).toHaveLength(2);
  expect(keepUp()).toBe(REFRESH_MS);
  expect(ring.asked).toHaveLength(2);
});

// The object hangs from the end of the lease on, each sync for 5 s, and a request comes every 100 ms:
//
//   lease ───────| wait 2 s |  no wait, however often a sync begins  ───────────▶
it("lets nobody wait a second time for an object that hangs, as long as there is something to serve from", async () => {
  obtain();
  await ring.grant(1);
  await pass(LEASE_MS);
  const first = obtain();
  await pass(WAIT_MS);
  expect(first.got).toMatchObject({ isDegraded: true });
  await pass(3_000);
  await ring.fail();
  for (let tick = 0; tick < 300; tick++) {
    const request = obtain();
    await pass(0);
    expect(request.got).toMatchObject({ document: { version: 1 }, isDegraded: true });
    await pass(100);
    if (tick % 50 === 49) await ring.fail();
  }
  expect(ring.asked.length).toBeGreaterThan(3);
});

it("waits for the object again after a sleep, in which it may have come back", async () => {
  obtain();
  await ring.grant(1);
  await pass(LEASE_MS);
  obtain();
  await pass(0);
  await ring.fail();
  await pass(10_000);
  const request = obtain();
  await pass(100);
  expect(request.got).toBe("waiting");
  await ring.grant(2);
  expect(request.got).toMatchObject({ document: { version: 2 }, isDegraded: false });
});

it("repeats a sync that was interrupted, once and at once, under a number of its own", async () => {
  const request = obtain();
  await pass(100);
  await ring.fail({ retryable: true });
  expect(ring.asked.map(({ seq }) => seq)).toEqual([1, 2]);
  await ring.grant(1);
  expect(request.got).toMatchObject({ document: { version: 1 } });
  await pass(LEASE_MS);
  obtain();
  await pass(0);
  await ring.fail({ durableObjectReset: true });
  await ring.fail({ durableObjectReset: true });
  expect(ring.asked).toHaveLength(4);
  await pass(500);
  obtain();
  await pass(0);
  await ring.fail({ retryable: true });
  expect(ring.asked).toHaveLength(5);
});

it("does not repeat what has taken long to be interrupted", async () => {
  obtain();
  await pass(1_000);
  await ring.fail({ retryable: true });
  expect(ring.asked).toHaveLength(1);
});

it("leaves an overloaded object alone for longer, whatever there is to tell it", async () => {
  obtain();
  await ring.grant(1);
  await pass(LEASE_MS);
  obtain();
  await pass(0);
  await ring.fail({ overloaded: true, retryable: true });
  for (let tick = 0; tick < 19; tick++) {
    const request = obtain();
    hurry();
    await pass(100);
    expect(request.got).toMatchObject({ isDegraded: true });
  }
  expect(ring.asked).toHaveLength(2);
  await pass(100);
  obtain();
  await pass(0);
  expect(ring.asked).toHaveLength(3);
});

// What happened: news came while a sync was on its way. It failed, and they were sent at once all the same.
it("does not ask at once after a failure because there was news meanwhile", async () => {
  obtain();
  await ring.grant(1);
  await pass(REFRESH_MS);
  obtain();
  await pass(0);
  hurry();
  await ring.fail();
  await pass(499);
  expect(ring.asked).toHaveLength(2);
});

it("comes back soon where there is nothing to serve from", async () => {
  for (let second = 0; second < 60; second++) {
    obtain();
    await pass(0);
    await ring.fail();
    await pass(1_000);
  }
  await pass(1_000);
  const request = obtain();
  await pass(0);
  await ring.grant(1);
  expect(request.got).toMatchObject({ document: { version: 1 }, isDegraded: false });
});

it("lets its document be used without asking while the lease lasts, and past it only when asking was in vain", async () => {
  expect(leased.mayUse(clock())).toBe(false);
  obtain();
  await ring.grant(1);
  await pass(LEASE_MS - 1);
  expect(leased.mayUse(clock())).toBe(true);
  await pass(1);
  expect(leased.mayUse(clock())).toBe(false);
  obtain();
  expect(leased.mayUse(clock())).toBe(false);
  await pass(WAIT_MS);
  expect(leased.mayUse(clock())).toBe(true);
  await ring.fail();
  expect(leased.mayUse(clock())).toBe(true);
  await pass(MAX_STALE_MS);
  expect(leased.mayUse(clock())).toBe(false);
});
