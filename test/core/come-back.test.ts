import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Versioned } from "../../durable/model/snapshot.ts";
import type { SyncReply } from "../../durable/model/sync.ts";
import { ObjectUnavailable } from "../../worker/core/object-unavailable.ts";
import { clock, Leased, type Source } from "../../worker/edge/leased.ts";
import { Dice } from "./support/dice.ts";

const ISOLATES = 200;
const TICK_MS = 100;
const OUTAGE_MS = 60_000;

/** The ring of all isolates: when it was asked, and what it throws while it fails. */
class Ring {
  readonly askedMs: number[] = [];
  marks: object | null = null;

  answer(): Promise<SyncReply<Versioned>> {
    this.askedMs.push(clock());
    if (this.marks !== null)
      return Promise.reject(new ObjectUnavailable("sync failed", Object.assign(new Error(), this.marks)));
    const document = { incarnation: "one", version: 1 };
    return Promise.resolve({ kind: "leased", ...document, document, leaseMs: 30_000, nextSyncMs: 20_000 });
  }
}

function createIsolate(ring: Ring): Leased<Versioned, null> {
  const source: Source<Versioned, null> = {
    send: () => ring.answer(),
    adopt: () => {},
    isOwing: false,
    patience: () => ({ waitMs: 2_000, maxStaleMs: 3_600_000 }),
  };
  return new Leased(source);
}

/** Sends each isolate a request every tick, for so long. */
async function traffic(isolates: readonly Leased<Versioned, null>[], durationMs: number): Promise<void> {
  const context = { waitUntil: () => {} };
  for (let passedMs = 0; passedMs < durationMs; passedMs += TICK_MS) {
    const nowMs = clock();
    for (const isolate of isolates)
      if (isolate.fresh(nowMs) === null) void isolate.obtain(null, context, nowMs);
    await vi.advanceTimersByTimeAsync(TICK_MS);
  }
}

beforeEach(() => {
  const dice = new Dice(7);
  vi.useFakeTimers();
  vi.spyOn(console, "warn").mockReturnValue();
  vi.spyOn(Math, "random").mockImplementation(() => dice.next());
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

// All of them have lost the ring in the same moment, which is the worst case.
it.each([
  ["failed", {}, 8_000],
  ["was overloaded", { overloaded: true }, 16_000],
])("brings isolates back one by one after a ring %s, each within its bound", async (_, marks, boundMs) => {
  const ring = new Ring();
  const isolates = Array.from({ length: ISOLATES }, () => createIsolate(ring));
  await traffic(isolates, 20_000);
  ring.marks = marks;
  await traffic(isolates, OUTAGE_MS);
  ring.marks = null;
  ring.askedMs.length = 0;
  await traffic(isolates, boundMs + TICK_MS);
  expect(ring.askedMs).toHaveLength(ISOLATES);
  const together = Map.groupBy(ring.askedMs, (atMs) => atMs);
  expect(Math.max(...[...together.values()].map(({ length }) => length))).toBeLessThan(ISOLATES / 10);
});
