import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { HealthCheck } from "../../durable/model/health-check.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import {
  type Attempts,
  type BreakerState,
  NEW_BREAKER,
  nextIsolationMs,
  observe,
  observeAll,
  reset,
  type Sample,
  type Verdict,
} from "../../durable/state/breaker.ts";

type Rules = HealthCheck["breaker"];

/** brpc's: 1500 attempts, 10 %; 3000 attempts, 5 %. */
const BRPC = DEFAULT_POOL_CONFIG.health.breaker;

/** Both windows of ten attempts, so that ten successes leave 0.02, and five √0.02, of what was. */
const TEN: Rules = { ...BRPC, shortWindow: 10, shortPercent: 50, longWindow: 10, longPercent: 50 };

function successes(count: number, latencyMs: number): readonly Sample[] {
  return Array.from({ length: count }, () => ({ isFailure: false, latencyMs }));
}

function failures(count: number, latencyMs: number): readonly Sample[] {
  return Array.from({ length: count }, () => ({ isFailure: true, latencyMs }));
}

/** Successes of 10 ms, of which every so many-th is a slow failure instead. */
function cycles(every: number): readonly Sample[] {
  return Array.from({ length: 3_000 * every }, (_, index) => {
    const isFailure = index % every === every - 1;
    return { isFailure, latencyMs: isFailure ? 5_000 : 10 };
  });
}

/** Tells a breaker of attempts one by one. */
function after(samples: readonly Sample[], rules = BRPC, before = NEW_BREAKER): BreakerState {
  return samples.reduce((breaker, sample) => observe(breaker, sample, rules).breaker, before);
}

/** How many of these a breaker stands: the number of the one it trips at, less one. */
function stands(samples: readonly Sample[], rules = BRPC, before = NEW_BREAKER): number {
  let breaker = before;
  for (const [index, sample] of samples.entries()) {
    const verdict = observe(breaker, sample, rules);
    if (verdict.isTripped) return index;
    breaker = verdict.breaker;
  }
  return samples.length;
}

describe("until it has seen a whole window, a breaker counts", () => {
  it("stands 150 failures, 10 % of the short window and 5 % of the long one", () => {
    expect(stands(failures(1_000, 10))).toBe(150);
    expect(stands([...successes(1_000, 10), ...failures(1_000, 10)])).toBe(1_150);
  });

  it("whatever they take, and whenever they came", () => {
    const mixed = Array.from({ length: 1_400 }, (_, index) => ({
      isFailure: index % 9 === 0,
      latencyMs: index % 9 === 0 ? 60_000 : 1,
    }));
    // The 151st failure is attempt 1351, of index 1350.
    expect(stands(mixed)).toBe(1_350);
  });

  it("rounds its share down: the first failure trips a window of ten at 5 %", () => {
    expect(stands(failures(1, 10), { ...TEN, shortPercent: 5 })).toBe(0);
  });
});

describe("once it has, it weighs", () => {
  const warm = after(successes(3_000, 10));

  it("knows what a success takes", () => {
    expect(warm.short).toMatchObject({ samples: 1_500, errorMs: 0 });
    expect(warm.long).toMatchObject({ samples: 3_000, errorMs: 0 });
    expect(warm.long.latencyMs).toBeCloseTo(10, 9);
  });

  // Both windows stand 10 ms × 150 × 1.02 = 1530 ms.
  it.each([
    ["slow failures cost twice a success: 76 × 20 = 1520", 15_000, 76],
    ["failures as slow as a success cost that: 153 × 10 = 1530, less what is lost in rounding", 9.99, 153],
    ["quick failures cost what they took: 218 × 7 = 1526", 7, 218],
  ])("%s", (_, latencyMs, held) => {
    expect(stands(failures(1_000, latencyMs), BRPC, warm)).toBe(held);
  });

  it("stands a twelfth of slow failures for ever, and an eleventh not: 20 / (1 − α¹⁰) = 1544 in the long window", () => {
    expect(stands(cycles(12), BRPC, warm)).toBe(3_000 * 12);
    expect(stands(cycles(11), BRPC, warm)).toBeLessThan(3_000 * 11);
  });

  it("lets errors fade with every success, and forgets what is below half a millisecond", () => {
    const failed = after([...successes(10, 10), ...failures(1, 15_000)], TEN);
    expect(failed.short.errorMs).toBeCloseTo(20, 9);
    // 20 × √0.02, then 20 × 0.02.
    expect(after(successes(5, 10), TEN, failed).short.errorMs).toBeCloseTo(2.828_427, 6);
    expect(after(successes(10, 10), TEN, failed).short.errorMs).toBeCloseTo(0.4, 9);
    expect(after(successes(11, 10), TEN, failed).short.errorMs).toBe(0);
  });

  it("begins with the first success, and follows the later ones", () => {
    expect(after(successes(1, 10), TEN).short.latencyMs).toBe(10);
    // 10 × √0.02 + 20 × (1 − √0.02).
    expect(after([...successes(1, 10), ...successes(5, 20)], TEN).short.latencyMs).toBeCloseTo(18.585_786, 6);
  });
});

describe("a breaker after an isolation", () => {
  it("goes on weighing by what a success took, without errors, if it knew that", () => {
    const warm = after([...successes(3_000, 10), ...failures(50, 10)]);
    const { short, long } = reset(warm, BRPC);
    expect([short.errorMs, long.errorMs]).toEqual([0, 0]);
    expect(stands(failures(1_000, 15_000), BRPC, { short, long })).toBe(76);
  });

  it("begins anew if it did not", () => {
    expect(reset(after([...successes(100, 10), ...failures(50, 10)]), BRPC)).toEqual(NEW_BREAKER);
  });

  it("does so in each window by itself", () => {
    const { short, long } = reset(after(successes(2_000, 10)), BRPC);
    expect(short.samples).toBe(1_500);
    expect(long).toEqual(NEW_BREAKER.long);
  });
});

it("doubles the isolation when it trips again within 30 s of the end of the last one, up to 30 s", () => {
  const lasted = [0];
  while (lasted.length < 12) lasted.push(nextIsolationMs(lasted.at(-1) ?? 0, 29_999, BRPC));
  expect(lasted.slice(1)).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
  expect(nextIsolationMs(25_600, 30_000, BRPC)).toBe(100);
});

describe("a batch", () => {
  const RULES = fc
    .record({
      shortWindow: fc.integer({ min: 10, max: 200 }),
      shortPercent: fc.integer({ min: 1, max: 100 }),
      longWindow: fc.integer({ min: 10, max: 400 }),
      longPercent: fc.integer({ min: 1, max: 100 }),
    })
    .map((sizes): Rules => Object.assign({}, BRPC, sizes));
  const BATCH = fc.record({
    successes: fc.nat({ max: 400 }),
    failures: fc.nat({ max: 40 }),
    successMs: fc.integer({ min: 1, max: 1_000 }),
    failureMs: fc.integer({ min: 1, max: 3_000 }),
  });

  it("is its attempts one by one, the failures evenly among the successes", () => {
    fc.assert(
      fc.property(RULES, fc.array(BATCH, { maxLength: 6 }), (rules, batches) => {
        let whole: Verdict = { breaker: NEW_BREAKER, isTripped: false };
        let apart: Verdict = { breaker: NEW_BREAKER, isTripped: false };
        for (const batch of batches) {
          whole = observeAll(whole.breaker, sums(batch), rules);
          apart = oneByOne(apart.breaker, batch, rules);
          expect(whole.isTripped).toBe(apart.isTripped);
          for (const window of ["short", "long"] as const) {
            const [one, other] = [whole.breaker[window], apart.breaker[window]];
            expect([one.samples, one.failures]).toEqual([other.samples, other.failures]);
            expect(one.latencyMs / (other.latencyMs || 1)).toBeCloseTo(other.latencyMs === 0 ? 0 : 1, 6);
            expect(one.errorMs).toBeCloseTo(other.errorMs, 4);
          }
        }
      }),
    );
  });
});

/** Every attempt takes as long as the others of its kind. */
function sums({ successes: well, failures: ill, successMs, failureMs }: Attempts): Attempts {
  return { successes: well, failures: ill, successMs: well * successMs, failureMs: ill * failureMs };
}

function oneByOne(before: BreakerState, batch: Attempts, rules: Rules): Verdict {
  const order = [
    ...Array.from({ length: batch.failures }, (_, index) => ({
      isFailure: true,
      latencyMs: batch.failureMs,
      at: Math.floor(((index + 1) * batch.successes) / batch.failures),
    })),
    ...Array.from({ length: batch.successes }, (_, index) => ({
      isFailure: false,
      latencyMs: batch.successMs,
      at: index + 0.5,
    })),
  ].toSorted((one, other) => one.at - other.at);
  let verdict: Verdict = { breaker: before, isTripped: false };
  for (const sample of order) {
    if (!verdict.isTripped) verdict = observe(verdict.breaker, sample, rules);
  }
  return verdict;
}
