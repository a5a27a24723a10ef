import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { LatencyEstimate, latencyOf } from "../../worker/core/latency.ts";
import { NOON } from "./support/build.ts";

/** News of latencies, each so many milliseconds after noon. */
type News = readonly (readonly [laterMs: number, latencyMs: number])[];

function at(laterMs: number): EpochMs {
  return after(NOON, laterMs);
}

function learned(news: News): LatencyEstimate {
  const estimate = new LatencyEstimate();
  for (const [laterMs, latencyMs] of news) estimate.observe(latencyMs, at(laterMs));
  return estimate;
}

describe("an estimate of latency", () => {
  it("is none before there was any news", () => {
    expect(new LatencyEstimate().read(NOON)).toBeNull();
  });

  it.each([
    [
      "worse news at once",
      [
        [0, 100],
        [10, 300],
      ],
      10,
      300,
    ],
    [
      "worse news at once, even long after",
      [
        [0, 100],
        [60_000, 101],
      ],
      60_000,
      101,
    ],
    // 100 / e + 50 (1 - 1 / e)
    [
      "better news by and by",
      [
        [0, 100],
        [10_000, 50],
      ],
      10_000,
      68.394,
    ],
    // and from there 68.394 / e² + 50 (1 - 1 / e²)
    [
      "more of it",
      [
        [0, 100],
        [10_000, 50],
        [30_000, 50],
      ],
      30_000,
      52.4894,
    ],
    ["no news for 10 s: 1 / e is left", [[0, 100]], 10_000, 36.7879],
    ["no news for 20 s: 1 / e²", [[0, 100]], 20_000, 13.5335],
    ["no news for an hour: the floor", [[0, 30_000]], 3_600_000, 1],
    ["news within the clock's grain: the floor", [[0, 0]], 0, 1],
    ["an answer after minutes: the most there is", [[0, 400_000]], 0, 30_000],
    [
      "a clock that stands still: the worst",
      [
        [0, 20],
        [0, 80],
        [0, 40],
      ],
      0,
      80,
    ],
    [
      "a clock that steps back: as if it stood still",
      [
        [5, 80],
        [3, 40],
      ],
      2,
      80,
    ],
    [
      "and goes on from there",
      [
        [5, 80],
        [3, 80],
      ],
      10_003,
      29.4304,
    ],
  ] as const)("takes %s", (_, news, laterMs, expected) => {
    expect(learned(news).read(at(laterMs))).toBeCloseTo(expected, 3);
  });

  // Later by up to a minute, or earlier by a few milliseconds.
  const STEP = fc.oneof(fc.integer({ min: -5, max: 60_000 }), fc.constant(0));
  const LATENCY = fc.oneof(
    fc.integer({ min: -5, max: 100_000 }),
    fc.double({ min: 0, max: 2_000, noNaN: true }),
  );
  const HISTORY: fc.Arbitrary<News> = fc
    .array(fc.tuple(STEP, LATENCY), { minLength: 1, maxLength: 40 })
    .map((steps) =>
      steps.map(([, latencyMs], index) => {
        const laterMs = steps.slice(0, index + 1).reduce((sum, [stepMs]) => sum + stepMs, 0);
        return [laterMs, latencyMs] as const;
      }),
    );

  it("is never below its floor, nor above its peak", () => {
    fc.assert(
      fc.property(HISTORY, fc.integer({ min: -1_000, max: 10_000_000 }), (news, laterMs) => {
        const read = learned(news).read(at(laterMs));
        expect(read).toBeGreaterThanOrEqual(1);
        expect(read).toBeLessThanOrEqual(30_000);
      }),
    );
  });

  it("never rises while there is no news", () => {
    fc.assert(
      fc.property(HISTORY, fc.array(fc.nat({ max: 100_000 }), { maxLength: 10 }), (news, times) => {
        const estimate = learned(news);
        const reads = times
          .toSorted((one, other) => one - other)
          .map((laterMs) => estimate.read(at(laterMs)));
        expect(reads).toEqual(reads.toSorted((one, other) => Number(other) - Number(one)));
      }),
    );
  });

  it("is at no news better than the newest, nor worse than all", () => {
    fc.assert(
      fc.property(HISTORY, (news) => {
        const bounded = news.map(([, latencyMs]) => Math.min(Math.max(latencyMs, 1), 30_000));
        const read = learned(news).read(at(news.at(-1)?.[0] ?? 0));
        expect(read).toBeGreaterThanOrEqual((bounded.at(-1) ?? 0) * (1 - 1e-12));
        expect(read).toBeLessThanOrEqual(Math.max(...bounded) * (1 + 1e-12));
      }),
    );
  });

  it("does not depend on the order of news while the clock stands still", () => {
    const inTwoOrders = fc
      .array(LATENCY, { minLength: 1, maxLength: 20 })
      .chain((latencies) =>
        fc.tuple(fc.constant(latencies), fc.shuffledSubarray(latencies, { minLength: latencies.length })),
      );
    fc.assert(
      fc.property(HISTORY, STEP, inTwoOrders, (before, stepMs, orders) => {
        const laterMs = (before.at(-1)?.[0] ?? 0) + stepMs;
        const [one, other] = orders.map((latencies) => {
          const estimate = learned(before);
          // Whatever is first takes the step; the others come at once.
          estimate.observe(0, at(laterMs));
          for (const latencyMs of latencies) estimate.observe(latencyMs, at(laterMs));
          return estimate.read(at(laterMs));
        });
        expect(one).toBe(other);
      }),
    );
  });
});

describe("what an attempt says of its backend's latency", () => {
  it.each([
    ["answered", 40, null, 40],
    ["answered", 40, 900, 40],
    ["deliberate_error", 40, 900, 40],
    ["server_error", 40, null, 40],
    ["server_error", 40, 900, 1_800],
    ["gateway_error", 40, null, 15_000],
    ["unreachable", 2, 900, 15_000],
    ["timed_out", 15_001, 900, 15_001],
    ["server_error", 40, 9_000, 18_000],
    ["unreachable", 2, 29_000, 58_000],
    ["client_gone", 40, null, 40],
    ["client_gone", 0, null, null],
    ["client_gone", 40, 40, null],
    ["client_gone", 40, 41, null],
    ["client_gone", 42, 41, 42],
    ["outrun", 40, null, 40],
    ["outrun", 40, 40, null],
    ["outrun", 42, 41, 42],
  ] as const)(
    "%s after %i ms of at most 15000, where %s were known: %s",
    (outcome, waitedMs, known, expected) => {
      const wait = { waitedMs, timeoutMs: 15_000, isUnhindered: true, nowMs: NOON };
      expect(latencyOf(outcome, wait, { read: () => known })).toBe(expected);
    },
  );
});
