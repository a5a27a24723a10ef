import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Delivery, DeliveryResult } from "../../durable/model/delivery.ts";
import type { HealthEvent } from "../../durable/model/event.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { after, type EpochMs, earliest } from "../../durable/model/time.ts";
import {
  ATTEMPT_MS,
  beginAttempt,
  EMPTY_OUTBOX,
  endAttempt,
  enqueue,
  judgeAnswer,
  keepWebhooks,
  nextDelivery,
  nextDeliveryMs,
  type Outbox,
  restoreOutbox,
  tallyOf,
} from "../../durable/state/outbox.ts";
import { backendId, NOON, poolName } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3_600_000;
const [WEST, EAST] = ["https://west.example", "https://east.example"];
const AUDIENCE = { pool: poolName("shop"), incarnation: "first-life", urls: [WEST, EAST] };
const DELIVERED: DeliveryResult = { kind: "delivered" };
const FAILED: DeliveryResult = { kind: "failed", reason: "status 500" };

function event(id: number, backend: string, atMs: EpochMs = NOON): HealthEvent {
  return {
    id,
    version: 1,
    atMs,
    backend: backendId(backend),
    kind: "unhealthy",
    cause: "probe",
    evidence: {},
  };
}

/** The outbox after these many events of one backend, which all happen at once. */
function burst(count: number, urls: readonly string[] = [WEST]): Outbox {
  const events = Array.from({ length: count }, (_, index) => event(index + 1, "a"));
  return enqueue(EMPTY_OUTBOX, events, { ...AUDIENCE, urls }, NOON);
}

interface Attempt {
  readonly atMs: EpochMs;
  readonly delivery: Delivery;
  readonly result: DeliveryResult;
}

/** Events, each a while after the one before, and what a receiver answers to attempts, one after another. */
interface Script {
  readonly events: readonly { readonly backend: string; readonly passedMs: number }[];
  readonly answers: (url: string, attempt: number) => DeliveryResult;
}

/** Lets everything happen in virtual time, until nothing is left to do. Attempts take no time. */
function play({ events, answers }: Script): readonly Attempt[] {
  const attempts: Attempt[] = [];
  let outbox = EMPTY_OUTBOX;
  let nowMs = NOON;
  const deliverUntil = (endMs: EpochMs | null): void => {
    for (;;) {
      const dueMs = nextDeliveryMs(outbox);
      if (dueMs === null || (endMs !== null && dueMs >= endMs)) break;
      nowMs = dueMs > nowMs ? dueMs : nowMs;
      const delivery = nextDelivery(frozen(outbox), nowMs);
      if (delivery === null) throw new Error("woken for nothing");
      const result = answers(delivery.url, attempts.length);
      attempts.push({ atMs: nowMs, delivery, result });
      outbox = endAttempt(beginAttempt(outbox, delivery, nowMs, 0.5), delivery, result, nowMs, 0.5);
    }
    if (endMs !== null) nowMs = endMs;
  };
  let atMs = NOON;
  events.forEach(({ backend, passedMs }, index) => {
    atMs = after(atMs, passedMs);
    deliverUntil(atMs);
    outbox = enqueue(frozen(outbox), [event(index + 1, backend, atMs)], AUDIENCE, atMs);
  });
  deliverUntil(null);
  return attempts;
}

/** When one of the webhooks was told, milliseconds after noon. */
function timesInWest(attempts: readonly Attempt[]): readonly number[] {
  return attempts.filter(({ delivery }) => delivery.url === WEST).map(({ atMs }) => atMs - NOON);
}

describe("a large pool of which every backend turns at once", () => {
  const ids = Array.from({ length: 300 }, (_, index) => `b${index}`);
  const once = ids.map((backend) => ({ backend, passedMs: 0 }));

  it("is told of over some minutes, each backend once, in order", () => {
    const attempts = play({ events: once, answers: () => DELIVERED });
    expect(timesInWest(attempts)).toEqual(
      ids.map((_, index) => MINUTE_MS * Math.floor(index / LIMITS.toldPerPoolMinute)),
    );
  });

  it("is told how it ended when it turns back meanwhile", () => {
    const back = ids.map((backend, index) => ({ backend, passedMs: index === 0 ? 1_000 : 0 }));
    const told = play({ events: [...once, ...back], answers: () => DELIVERED });
    const last = new Map(told.map(({ delivery: { message } }) => [message.event.backend, message.event.id]));
    expect([...last.values()].toSorted((a, b) => a - b)).toEqual(ids.map((_, index) => 301 + index));
    for (const atMs of timesInWest(told)) {
      const within = timesInWest(told).filter((other) => other > atMs - MINUTE_MS && other <= atMs);
      expect(within.length).toBeLessThanOrEqual(LIMITS.toldPerPoolMinute);
    }
  });

  it("goes on with what was held back after a restart", () => {
    const events = ids.map((backend, index) => event(index + 1, backend));
    const before = enqueue(EMPTY_OUTBOX, events, AUDIENCE, NOON);
    const next = enqueue(restoreOutbox(before.deliveries), [event(301, "late")], AUDIENCE, NOON);
    expect(next.deliveries.at(-1)?.nextMs).toBe(after(NOON, 5 * MINUTE_MS));
  });
});

/** Mostly of one backend, in bursts. */
const EVENTS = fc.array(
  fc.record({
    backend: fc.constantFrom("a", "a", "a", "b", "c"),
    passedMs: fc.oneof(
      { weight: 4, arbitrary: fc.constant(0) },
      { weight: 8, arbitrary: fc.nat({ max: 5_000 }) },
      { weight: 1, arbitrary: fc.nat({ max: 100_000 }) },
    ),
  }),
  { maxLength: 80, size: "max" },
);
const RESULTS = fc.array(fc.constantFrom(DELIVERED, DELIVERED, FAILED), { minLength: 1, maxLength: 50 });

function deliveredTo(attempts: readonly Attempt[], url: string, backend?: string): readonly Attempt[] {
  return attempts.filter(
    ({ delivery, result }) =>
      result.kind === "delivered" &&
      delivery.url === url &&
      (backend === undefined || delivery.message.event.backend === backend),
  );
}

function westFails(url: string): DeliveryResult {
  return url === WEST ? FAILED : DELIVERED;
}

const idOf = ({ delivery }: Attempt): number => delivery.message.event.id;

describe("a flapping backend", () => {
  it("is told of no oftener than the limit in any minute, and how it ended always", () => {
    fc.assert(
      fc.property(EVENTS, (events) => {
        const attempts = play({ events, answers: () => DELIVERED });
        for (const [url, backend] of [WEST, EAST].flatMap((each) =>
          ["a", "b", "c"].map((id) => [each, id]),
        )) {
          const told = deliveredTo(attempts, url ?? "", backend);
          const last = events.findLastIndex((each) => each.backend === backend) + 1;
          expect(told.map(idOf).at(-1) ?? 0).toBe(last);
          const spansMs = told
            .slice(LIMITS.toldPerBackendMinute)
            .map(({ atMs }, index) => atMs - (told[index]?.atMs ?? Number.NaN));
          expect(spansMs.filter((spanMs) => !(spanMs >= MINUTE_MS))).toEqual([]);
          const late = told.filter(({ atMs, delivery }) => atMs > delivery.message.event.atMs + MINUTE_MS);
          expect(late).toEqual([]);
          const suppressed = told.reduce((sum, { delivery }) => sum + delivery.message.suppressed, 0);
          expect(told.length + suppressed).toBe(events.filter((each) => each.backend === backend).length);
        }
      }),
    );
  });

  it("has its last event held back until the minute is over, with the number of those it stands for", () => {
    const limit = LIMITS.toldPerBackendMinute;
    const outbox = burst(limit + 3);
    expect(outbox.deliveries.map(({ message }) => [message.event.id, message.suppressed])).toEqual([
      ...Array.from({ length: limit }, (_, index) => [index + 1, 0]),
      [limit + 3, 2],
    ]);
    expect(outbox.deliveries.at(-1)?.nextMs).toBe(after(NOON, MINUTE_MS));
  });

  it("takes nothing from another", () => {
    const outbox = enqueue(burst(100), [event(101, "b")], { ...AUDIENCE, urls: [WEST] }, NOON);
    expect(outbox.deliveries.at(-1)).toMatchObject({ nextMs: NOON, message: { suppressed: 0 } });
  });

  it("stays held back after a restart", () => {
    const restored = restoreOutbox(burst(LIMITS.toldPerBackendMinute + 1).deliveries);
    const nowMs = after(NOON, MINUTE_MS - 1);
    const outbox = enqueue(restored, [event(100, "a")], { ...AUDIENCE, urls: [WEST] }, nowMs);
    expect(outbox.deliveries).toHaveLength(LIMITS.toldPerBackendMinute + 1);
    expect(outbox.deliveries.at(-1)).toMatchObject({
      nextMs: after(NOON, MINUTE_MS),
      message: { event: { id: 100 }, suppressed: 1 },
    });
  });
});

describe("the order", () => {
  it("is that of the events, for every backend, and for all but those held back, whatever fails", () => {
    fc.assert(
      fc.property(EVENTS, RESULTS, (events, results) => {
        const answers = (_: string, attempt: number): DeliveryResult =>
          results[attempt % results.length] ?? DELIVERED;
        const attempts = play({ events, answers: results.includes(DELIVERED) ? answers : () => FAILED });
        for (const url of [WEST, EAST]) {
          for (const backend of ["a", "b", "c"]) {
            const ids = deliveredTo(attempts, url, backend).map(idOf);
            expect(ids).toEqual(ids.toSorted((a, b) => a - b));
          }
          const prompt = deliveredTo(attempts, url)
            .filter(({ delivery }) => delivery.sinceMs === delivery.message.event.atMs)
            .map(idOf);
          expect(prompt).toEqual(prompt.toSorted((a, b) => a - b));
        }
      }),
    );
  });
});

describe("a webhook that fails", () => {
  it("holds up no other", () => {
    fc.assert(
      fc.property(EVENTS, (events) => {
        const late = deliveredTo(play({ events, answers: westFails }), EAST).filter(
          ({ atMs, delivery }) => atMs !== delivery.sinceMs,
        );
        expect(late).toEqual([]);
      }),
    );
  });

  it("is tried again after pauses that double to five minutes, and given up after a day", () => {
    const attempts = play({ events: [{ backend: "a", passedMs: 0 }], answers: () => FAILED }).filter(
      ({ delivery }) => delivery.url === WEST,
    );
    const pausesMs = attempts.slice(1).map(({ atMs }, index) => atMs - (attempts[index]?.atMs ?? 0));
    // Three quarters of the longest, by the chance of one half.
    expect(pausesMs.slice(0, 10).map((pauseMs) => pauseMs / 750)).toEqual([
      1, 2, 4, 8, 16, 32, 64, 128, 256, 300,
    ]);
    expect(pausesMs.reduce((sum, pauseMs) => sum + pauseMs, 0)).toBeLessThanOrEqual(DAY_MS);
    expect(attempts.length).toBeGreaterThan(300);
  });

  it("is left alone during its pauses, whatever else there is to tell it", () => {
    fc.assert(
      fc.property(EVENTS, (events) => {
        const attempts = play({ events: events.slice(0, 20), answers: () => FAILED }).filter(
          // Nothing is given up by then, after which the next one follows at once.
          ({ atMs, delivery }) => delivery.url === WEST && atMs < NOON + DAY_MS / 2,
        );
        const pausesMs = attempts.slice(1).map(({ atMs }, index) => atMs - (attempts[index]?.atMs ?? 0));
        expect(pausesMs.filter((pauseMs) => pauseMs < 750)).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    [0, 500],
    [1, 1_000],
  ])("is tried again at random between half of the pause and all of it: chance %s", (chance, pauseMs) => {
    const outbox = burst(1);
    const [delivery] = outbox.deliveries;
    if (delivery === undefined) throw new Error("nothing is on its way");
    const begun = beginAttempt(outbox, delivery, NOON, chance);
    expect(nextDeliveryMs(begun)).toBe(after(NOON, ATTEMPT_MS + pauseMs));
    expect(nextDeliveryMs(endAttempt(begun, delivery, FAILED, NOON, chance))).toBe(after(NOON, pauseMs));
  });
});

describe("what waits", () => {
  it("is bounded for each webhook: the oldest go first, and are counted", () => {
    const extra = 7;
    const count = LIMITS.deliveriesPerWebhook + extra;
    const events = Array.from({ length: count }, (_, index) => event(index + 1, `b${index}`));
    const outbox = enqueue(EMPTY_OUTBOX, events, AUDIENCE, NOON);
    for (const url of AUDIENCE.urls) {
      expect(tallyOf(outbox, url)).toMatchObject({ waiting: LIMITS.deliveriesPerWebhook, dropped: extra });
    }
    expect(outbox.deliveries[0]?.message.event.id).toBe(extra + 1);
  });

  it("is forgotten with its webhook, and only then", () => {
    const outbox = burst(3, [WEST, EAST]);
    expect(keepWebhooks(outbox, [EAST, WEST])).toBe(outbox);
    expect(new Set(keepWebhooks(outbox, [EAST]).deliveries.map(({ url }) => url))).toEqual(new Set([EAST]));
  });

  it("wakes the ring when the first of it is due", () => {
    fc.assert(
      fc.property(EVENTS, (events) => {
        const all = events.map(({ backend }, index) => event(index + 1, backend));
        const outbox = enqueue(EMPTY_OUTBOX, all, AUDIENCE, NOON);
        expect(nextDeliveryMs(outbox)).toBe(earliest(outbox.deliveries.map(({ nextMs }) => nextMs)));
      }),
    );
  });

  it("is not touched by an attempt whose delivery is gone", () => {
    const outbox = burst(1);
    const [delivery] = outbox.deliveries;
    if (delivery === undefined) throw new Error("nothing is on its way");
    const gone = keepWebhooks(outbox, []);
    for (const result of [DELIVERED, FAILED]) expect(endAttempt(gone, delivery, result, NOON, 0)).toBe(gone);
  });
});

it.each([
  [200, "delivered"],
  [204, "delivered"],
  [299, "delivered"],
  [301, "failed"],
  [400, "failed"],
  [404, "failed"],
  [410, "dropped"],
  [429, "failed"],
  [500, "failed"],
  [530, "failed"],
])("takes status %i for %s", (status, kind) => {
  expect(judgeAnswer(status).kind).toBe(kind);
});
