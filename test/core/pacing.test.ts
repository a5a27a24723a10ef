import * as fc from "fast-check";
import { expect, it } from "vitest";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import { pace } from "../../durable/state/pacing.ts";

const DEFAULTS = DEFAULT_POOL_CONFIG.sync;

/** Settings a pool may have, any number of isolates, hurried or not, and chance. */
const ANY = fc.record({
  sync: fc
    .record({
      refreshMs: fc.integer({ min: 500, max: 60_000 }),
      leaseMs: fc.nat({ max: 3_000_000 }),
      waitMs: fc.constant(2_000),
      maxStaleMs: fc.constant(0),
      maxPerSecond: fc.integer({ min: 1, max: 500 }),
    })
    .filter(({ leaseMs, refreshMs }) => leaseMs >= 2 * refreshMs),
  isolates: fc.nat({ max: 1_000_000 }),
  isHurried: fc.boolean(),
  chance: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
});

it("asks few isolates to come back after the refresh interval, under the pool's lease", () => {
  expect(pace(DEFAULTS, 3, false, 0)).toEqual({ leaseMs: 30_000, nextSyncMs: 5_000 });
});

it("asks sooner while a drain runs, though never less often than the pool says", () => {
  expect(pace(DEFAULTS, 3, true, 0).nextSyncMs).toBe(1_000);
  expect(pace({ ...DEFAULTS, refreshMs: 600 }, 3, true, 0).nextSyncMs).toBe(600);
});

it("spreads many isolates over the budget of syncs per second", () => {
  expect(pace(DEFAULTS, 2_000, false, 0)).toEqual({ leaseMs: 60_000, nextSyncMs: 20_000 });
  expect(pace(DEFAULTS, 2_000, true, 0)).toEqual({ leaseMs: 60_000, nextSyncMs: 20_000 });
});

it("lets isolates come up to a tenth early, so that they do not come together", () => {
  expect(pace(DEFAULTS, 3, false, 0.5).nextSyncMs).toBe(4_750);
  expect(pace(DEFAULTS, 3, false, 0.999_999).nextSyncMs).toBe(4_500);
});

it("always asks for max(refresh, isolates / budget), less at most a tenth", () => {
  fc.assert(
    fc.property(ANY, ({ sync, isolates, isHurried, chance }) => {
      const refreshMs = isHurried ? Math.min(sync.refreshMs, 1_000) : sync.refreshMs;
      const longestMs = Math.max(refreshMs, Math.ceil((1_000 * isolates) / sync.maxPerSecond));
      const { nextSyncMs } = pace(sync, isolates, isHurried, chance);
      expect(Number.isSafeInteger(nextSyncMs)).toBe(true);
      expect(nextSyncMs).toBeLessThanOrEqual(longestMs);
      expect(nextSyncMs).toBeGreaterThanOrEqual(Math.floor(0.9 * longestMs));
    }),
  );
});

it("grants a lease that outlives three refreshes and is never shorter than the pool's", () => {
  fc.assert(
    fc.property(ANY, ({ sync, isolates, isHurried, chance }) => {
      const { leaseMs, nextSyncMs } = pace(sync, isolates, isHurried, chance);
      expect(Number.isSafeInteger(leaseMs)).toBe(true);
      expect(leaseMs).toBeGreaterThanOrEqual(sync.leaseMs);
      expect(leaseMs).toBeGreaterThanOrEqual(3 * nextSyncMs);
    }),
    // An interval that is no whole number of milliseconds was once rounded up for the sync and not for the lease.
    {
      examples: [[{ sync: { ...DEFAULTS, maxPerSecond: 16 }, isolates: 2_001, isHurried: false, chance: 0 }]],
    },
  );
});
