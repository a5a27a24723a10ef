import { expect, it } from "vitest";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { explainPool, explainSplit } from "../../worker/core/explain.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { TOKEN_RANDOM_BYTES } from "../../worker/core/sessions.ts";
import { Split } from "../../worker/core/split.ts";
import { NOON, poolName, routeId, snapshot } from "./support/build.ts";
import { choose, connection, poolConfig, visit } from "./support/visit.ts";

const tier = { priority: 0, isDegraded: false, sharePercent: 70, isPanicking: false };
const TIERS = [tier, { ...tier, priority: 1, sharePercent: 30, isPanicking: true }];

/** How likely each backend is, rounded to hundredths. */
function probabilities(
  held: Snapshot,
  told: Parameters<typeof visit>[0] = {},
): Readonly<Record<string, number>> {
  const { candidates } = explainPool(held, visit(told), NOON);
  return Object.fromEntries(
    candidates.map(({ id, probability }) => [id, Math.round(100 * probability) / 100]),
  );
}

it.each([
  ["round_robin", { a: 0.25, b: 0.75, c: 0 }],
  ["random", { a: 0.25, b: 0.75, c: 0 }],
  ["first", { a: 1, b: 0, c: 0 }],
  // Both are drawn every time, and the heavier has more room.
  ["least_request", { a: 0, b: 1, c: 0 }],
] as const)("says how likely each backend is for a request that nothing binds: %s", (policy, expected) => {
  expect(probabilities(snapshot({ a: 1, b: 3, c: "sticky" }), { policy })).toEqual(expected);
});

it("counts tiers, subsets and what is shed", () => {
  const config = poolConfig({ shed: { newPercent: 20 } });
  const held = snapshot(
    { a: { tier: 0 }, b: { tier: 1, labels: { zone: "east" } } },
    { tiers: TIERS, config },
  );
  expect(probabilities(held)).toEqual({ a: 0.56, b: 0.24 });
  expect(explainPool(held, visit(), NOON)).toMatchObject({
    reason: "PF",
    backend: null,
    refusals: { SH: 0.2 },
  });
  const east = visit({ subset: { label: "zone", value: "east", fallback: "none" } });
  expect(explainPool(held, east, NOON)).toMatchObject({ reason: "PN", refusals: { SH: 0.2 } });
  const west = visit({ subset: { label: "zone", value: "west", fallback: "none" } });
  expect(explainPool(held, west, NOON)).toMatchObject({ reason: "NB", backend: null, refusals: { NB: 1 } });
});

it("goes through the affinity chain step by step, and says whose session it is", () => {
  const affinity = [{ by: "header", name: "x-user" }, { by: "token" }, { by: "connection" }] as const;
  const held = snapshot({ a: 1, b: 1, c: 1 });
  const view = new PoolView(held, NOON, 0);
  const { channel, grant } = choose(view, visit({ affinity: [{ by: "token" }] }));
  const written = grant === null ? [] : view.sessions.write(grant, NOON, new Uint8Array(TOKEN_RANDOM_BYTES));
  const cookie = written[0]?.[1].split(";", 1)[0] ?? "";
  expect(explainPool(held, visit({ affinity, headers: { cookie } }), NOON)).toMatchObject({
    reason: "TK",
    backend: channel.id,
    session: { backend: channel.id },
    steps: [
      { step: affinity[0], found: "nothing" },
      { step: affinity[1], found: "opened" },
    ],
  });
  const told = { affinity, headers: { cookie: `${cookie}x` }, connection: connection("tls 1") };
  const placed = explainPool(held, visit(told), NOON);
  expect([placed.reason, placed.steps.map(({ found }) => found)]).toEqual([
    "CP",
    ["nothing", "invalid", "placed"],
  ]);
  expect(placed.candidates.find(({ id }) => id === placed.backend)?.probability).toBe(1);
});

it("says to which side of a split a client belongs, or how likely it is to each", () => {
  const sides = [
    { pool: poolName("stable"), weight: 3 },
    { pool: poolName("canary"), weight: 1 },
  ];
  const split = new Split(routeId("front"), sides, createKeyedHash("00".repeat(16)));
  const belonging = { affinity: undefined, viewOf: () => null, nowMs: NOON };
  const anybody = explainSplit(split, { ...belonging, client: visit().credentials });
  expect(anybody[0]?.probability).toBeCloseTo(0.75, 1);
  expect(anybody.reduce((sum, { probability }) => sum + probability, 0)).toBe(1);
  const { credentials } = visit({ connection: connection("tls 1") });
  const somebody = explainSplit(split, { ...belonging, client: credentials });
  expect(somebody.map(({ probability }) => probability).toSorted()).toEqual([0, 1]);
});
