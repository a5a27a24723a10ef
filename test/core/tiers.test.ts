import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Standing, shareOut } from "../../durable/state/tiers.ts";

const RULES = { overprovisioningPercent: 140, panicThresholdPercent: 50 };

/** A priority of a hundred backends. */
function of100(priority: number, healthy: number, degraded = 0): Standing {
  return { priority, healthy, degraded, total: 100 };
}

function sharesOf(...standings: readonly Standing[]): readonly number[] {
  return shareOut(standings, RULES).map(({ sharePercent }) => sharePercent);
}

// Envoy's documentation, "Priority levels": https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
describe("two priorities, the second one healthy", () => {
  it.each([
    [100, [100, 0]],
    [72, [100, 0]],
    [71, [99, 1]],
    [50, [70, 30]],
    [25, [35, 65]],
    [0, [0, 100]],
  ])("with $0 % of the first healthy, share traffic as published: $1", (healthy, shares) => {
    expect(sharesOf(of100(0, healthy), of100(1, 100))).toEqual(shares);
  });

  it.each([
    [100, 100, [100, 0]],
    [72, 72, [100, 0]],
    [71, 71, [99, 1]],
    [50, 50, [70, 30]],
    [25, 100, [35, 65]],
    [25, 25, [50, 50]],
  ])("with $0 and $1 % healthy: $2", (first, second, shares) => {
    expect(sharesOf(of100(0, first), of100(1, second))).toEqual(shares);
  });
});

describe("degraded ones come after all healthy ones", () => {
  it.each([
    [100, 0, [100]],
    [71, 29, [99, 1]],
    [35, 65, [49, 51]],
    [25, 65, [35, 65]],
    [5, 50, [10, 90]],
  ])("with $0 % healthy and $1 % degraded: $2", (healthy, degraded, shares) => {
    expect(sharesOf(of100(0, healthy, degraded))).toEqual(shares);
  });

  it("also after those of later priorities", () => {
    expect(shareOut([of100(0, 25, 75), of100(1, 40)], RULES)).toEqual([
      { priority: 0, isDegraded: false, sharePercent: 35, isPanicking: false },
      { priority: 0, isDegraded: true, sharePercent: 9, isPanicking: false },
      { priority: 1, isDegraded: false, sharePercent: 56, isPanicking: false },
    ]);
  });
});

describe("panic", () => {
  it.each([
    ["one of three is left", { healthy: 1, degraded: 0, total: 3 }, true],
    ["half is left", { healthy: 1, degraded: 0, total: 2 }, false],
    ["one is left, and one degraded, of three", { healthy: 1, degraded: 1, total: 3 }, false],
    ["nobody is left", { healthy: 0, degraded: 0, total: 5 }, true],
  ])("when %s", (_, standing, isPanicking) => {
    expect(shareOut([{ priority: 0, ...standing }], RULES)[0]?.isPanicking).toBe(isPanicking);
  });

  it("leaves a tier alone while the others are enough for all traffic", () => {
    expect(shareOut([of100(0, 10), of100(1, 80)], RULES).map(({ isPanicking }) => isPanicking)).toEqual([
      false,
      false,
    ]);
  });

  it("shares traffic out by numbers of backends where nobody is left anywhere", () => {
    const standings = [
      { priority: 0, healthy: 0, degraded: 0, total: 6 },
      { priority: 1, healthy: 0, degraded: 0, total: 2 },
    ];
    expect(shareOut(standings, RULES)).toEqual([
      { priority: 0, isDegraded: false, sharePercent: 75, isPanicking: true },
      { priority: 1, isDegraded: false, sharePercent: 25, isPanicking: true },
    ]);
  });

  // Ten that were left of a hundred got all traffic, and the hundred of the next tier nothing.
  it.each([
    ["a few are left in one", [of100(0, 10), of100(1, 0)], [50, 50]],
    ["a few are left in each", [of100(0, 10, 5), of100(1, 0, 20), of100(2, 30)], [34, 33, 33]],
    [
      "the larger one has fewer left",
      [of100(0, 1), { priority: 1, healthy: 1, degraded: 0, total: 300 }],
      [25, 75],
    ],
  ])("shares traffic out by numbers of backends where every tier panics: %s", (_, standings, shares) => {
    expect(shareOut(standings, RULES).map((tier) => [tier.sharePercent, tier.isPanicking])).toEqual(
      shares.map((share) => [share, true]),
    );
  });

  it("shares traffic out by who is in service where one tier does not panic", () => {
    expect(sharesOf(of100(0, 10), of100(1, 50))).toEqual([17, 83]);
  });

  it("does not come where it is switched off: nobody takes anything", () => {
    const never = { ...RULES, panicThresholdPercent: 0 };
    expect(shareOut([of100(0, 0)], never)).toEqual([
      { priority: 0, isDegraded: false, sharePercent: 0, isPanicking: false },
    ]);
  });
});

const STANDINGS = fc
  .array(fc.tuple(fc.nat({ max: 20 }), fc.nat({ max: 20 }), fc.nat({ max: 20 })), {
    minLength: 1,
    maxLength: 5,
  })
  .map((counts) =>
    counts.map(([healthy, degraded, ill], priority) => ({
      priority,
      healthy,
      degraded,
      total: Math.max(1, healthy + degraded + ill),
    })),
  );

it("gives out exactly 100, and nothing to a tier in which nobody may be chosen", () => {
  fc.assert(
    fc.property(STANDINGS, (standings) => {
      const tiers = shareOut(standings, RULES);
      expect(tiers.reduce((sum, { sharePercent }) => sum + sharePercent, 0)).toBe(100);
      for (const { priority, isDegraded, isPanicking, sharePercent } of tiers) {
        const standing = standings[priority];
        const left = isDegraded ? standing?.degraded : standing?.healthy;
        expect(sharePercent === 0 || isPanicking || (left ?? 0) > 0).toBe(true);
      }
    }),
  );
});
