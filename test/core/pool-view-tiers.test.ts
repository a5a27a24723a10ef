import { expect, it } from "vitest";
import type { PolicyName } from "../../durable/model/pool.ts";
import type { Snapshot, Tier } from "../../durable/model/snapshot.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { NOON, pool, snapshot } from "./support/build.ts";
import { choose, connection, placeOf, visit } from "./support/visit.ts";

/** A healthy tier with so much of the traffic. */
function tier(priority: number, sharePercent: number, changed: Partial<Tier> = {}): Tier {
  return { priority, isDegraded: false, sharePercent, isPanicking: false, ...changed };
}

/** Two backends in each of two tiers. */
function twoTiers(first: number): Snapshot {
  return snapshot(
    { a: { tier: 0 }, b: { tier: 0 }, c: { tier: 1 }, d: { tier: 1 } },
    { tiers: [tier(0, first), tier(1, 100 - first)] },
  );
}

/** How often each backend is chosen by 1,000 free requests whose chances are spread evenly. */
function countsOf(view: PoolView, policy: PolicyName = "round_robin"): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let step = 0; step < 1_000; step++) {
    const id = placeOf(view, visit({ policy, chance: (step + 0.5) / 1_000 }));
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

const BY_CONNECTION = [{ by: "connection" }] as const;

function placed(view: PoolView, chance = 0): readonly string[] {
  return Array.from({ length: 500 }, (_, index) =>
    placeOf(view, visit({ affinity: BY_CONNECTION, connection: connection(`tls ${index}`), chance })),
  );
}

it.each(["round_robin", "random", "least_request"] as const)(
  "gives every tier its share, and shares it out in there: %s",
  (policy) => {
    const { a = 0, b = 0, c = 0, d = 0 } = countsOf(new PoolView(twoTiers(70), NOON, 0), policy);
    expect([a + b, c + d]).toEqual([700, 300]);
    expect(Math.abs(a - b)).toBeLessThanOrEqual(policy === "least_request" ? 40 : 1);
    expect(Math.abs(c - d)).toBeLessThanOrEqual(policy === "least_request" ? 40 : 1);
  },
);

it("goes on with its turns in a tier when shares move, and begins none anew", () => {
  const view = new PoolView(twoTiers(100), NOON, 0);
  const first = visit({ chance: 0 });
  expect(placeOf(view, first)).toBe("a");
  view.adopt({ ...twoTiers(50), version: 2 }, NOON, 0.9);
  expect([placeOf(view, first), placeOf(view, first)]).toEqual(["b", "a"]);
});

it("leads a connection to one backend, whichever isolate it comes to and whatever the chance", () => {
  const told = twoTiers(60);
  const one = placed(new PoolView(told, NOON, 0.1), 0.2);
  expect(new Set(one)).toEqual(new Set(["a", "b", "c", "d"]));
  expect(placed(new PoolView(told, NOON, 0.7), 0.99)).toEqual(one);
});

it("moves no remembered connection when shares move", () => {
  const view = new PoolView(twoTiers(100), NOON, 0);
  const before = placed(view);
  view.adopt({ ...twoTiers(0), version: 2 }, NOON, 0);
  expect(placed(view)).toEqual(before);
});

it("sends nothing to later tiers while the first is enough, and all when it has nobody", () => {
  const ring = { a: {}, b: {}, c: { priority: 1 } };
  expect(Object.keys(countsOf(new PoolView(projectSnapshot(pool(ring)), NOON, 0)))).toEqual(["a", "b"]);
  const pin = { health: "unhealthy", reason: "down", untilMs: NOON } as const;
  const down = projectSnapshot(pool({ a: { pin }, b: { pin }, c: { priority: 1 } }));
  expect(countsOf(new PoolView(down, NOON, 0))).toEqual({ c: 1_000 });
});

it("gives degraded backends what the healthy ones are too few for", () => {
  const pin = { health: "degraded", reason: "slow", untilMs: NOON } as const;
  const half = projectSnapshot(pool({ a: {}, b: {}, c: { pin }, d: { pin } }));
  expect(countsOf(new PoolView(half, NOON, 0))).toEqual({ a: 350, b: 350, c: 150, d: 150 });
  const one = projectSnapshot(pool({ a: {}, b: {}, c: {}, d: { pin } }));
  expect(countsOf(new PoolView(one, NOON, 0))).not.toHaveProperty("d");
});

it("sends to backends whatever their health where their tier panics, and says so of each that it chose", () => {
  const pin = { health: "unhealthy", reason: "down", untilMs: NOON } as const;
  const ring = pool({
    a: {},
    b: { pin },
    c: { pin },
    drained: { pin, admin: { kind: "draining", untilMs: NOON } },
    off: { pin, admin: { kind: "disabled" } },
  });
  const view = new PoolView(projectSnapshot(ring), NOON, 0);
  expect(Object.keys(countsOf(view)).toSorted()).toEqual(["a", "b", "c"]);
  expect(view.isPanicking(choose(view, visit()).channel.backend)).toBe(true);
  const calm = new PoolView(projectSnapshot(pool({ a: {}, b: {}, c: { pin } })), NOON, 0);
  expect(Object.keys(countsOf(calm)).toSorted()).toEqual(["a", "b"]);
  expect(calm.isPanicking(choose(calm, visit()).channel.backend)).toBe(false);
});

it("refuses instead where panic is switched off", () => {
  const pin = { health: "unhealthy", reason: "down", untilMs: NOON } as const;
  const ring = pool({ a: { pin }, b: { pin } });
  const tiers = { ...ring.config.tiers, panicThresholdPercent: 0 };
  const view = new PoolView(projectSnapshot({ ...ring, config: { ...ring.config, tiers } }), NOON, 0);
  expect(placeOf(view, visit())).toBe("no_backend");
});
