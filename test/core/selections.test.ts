import { expect, it } from "vitest";
import { type PolicyName, PolicySchema } from "../../durable/model/pool.ts";
import type { Snapshot, Tier } from "../../durable/model/snapshot.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import type { Selection } from "../../worker/core/selection.ts";
import { Selections } from "../../worker/core/selections.ts";
import { NOON, snapshot } from "./support/build.ts";
import { poolConfig } from "./support/visit.ts";

/** What subsets may take, bytes; and one maglev table, which is nearly all of what a subset of a few takes. */
const MOST = 16_000_000;
const TABLE = 2 * 65_537;
const FEW = 10_000;

const TWO_TIERS: readonly Tier[] = [100, 0].map((sharePercent, priority) => ({
  priority,
  isDegraded: false,
  sharePercent,
  isPanicking: false,
}));

/** A pool of so many zones with a backend of each tier. */
function zones(count: number, config: Readonly<Record<string, unknown>> = {}): Snapshot {
  const backends = Array.from({ length: 2 * count }, (_, index) => {
    const tier = index % 2;
    return [`b${index}`, { tier, labels: { zone: `z${Math.floor(index / 2)}` } }] as const;
  });
  return snapshot(Object.fromEntries(backends), { tiers: TWO_TIERS, config: poolConfig(config) });
}

function material(of: Snapshot) {
  const hash = createKeyedHash(of.secret);
  return { snapshot: of, hash, gauge: () => null, nowMs: NOON, chance: 0 };
}

function zone(selections: Selections, index: number): Selection {
  const found = selections.select({ label: "zone", value: `z${index}`, fallback: "none" });
  if (found === null) throw new Error(`nobody is in zone ${index}`);
  return found;
}

const CONTEXT = {
  exclude: new Set<never>(),
  isRetry: false,
  key: { high: 1, low: 2 },
  chance: 0,
  nowMs: NOON,
};

/** Picks as free requests and bound ones do. */
function use(selection: Selection, policy: PolicyName): void {
  selection.picker(policy, NOON).pick(CONTEXT);
  selection.placer(policy).pick(CONTEXT);
}

// A client that asked for one value after the other filled 134 MB with tables, which is more than an isolate has.
it.each(PolicySchema.options)("bounds what all subsets that clients ask for take together: %s", (policy) => {
  const selections = new Selections(material(zones(256, { hashBalanceFactor: 150, ringPoints: 1_000 })));
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 256; index++) {
      use(zone(selections, index), policy);
      expect(selections.subsetBytes).toBeLessThanOrEqual(MOST);
    }
  }
});

it("forgets the least recently used first, and goes on with the turns of those that it keeps", () => {
  const selections = new Selections(material(zones(256)));
  const turn = (index: number) => zone(selections, index).picker("round_robin", NOON);
  const [first, second] = [turn(0), turn(1)];
  const kept = Math.floor(MOST / (TABLE + FEW));
  for (let index = 2; index < kept; index++) {
    use(zone(selections, index), "maglev");
    expect(turn(0)).toBe(first);
  }
  for (let index = kept; index < kept + 20; index++) use(zone(selections, index), "maglev");
  expect(turn(1)).not.toBe(second);
  expect(turn(0)).toBe(first);
});

it("serves a subset that takes more than all may, alone", () => {
  const backends = Array.from({ length: 1_000 }, (_, index) => [
    `b${index}`,
    { labels: { zone: `z${index % 2}` } },
  ]);
  const one = snapshot(Object.fromEntries(backends), { config: poolConfig({ ringPoints: 1_000 }) });
  const selections = new Selections(material(one));
  use(zone(selections, 0), "ring_hash");
  use(zone(selections, 1), "ring_hash");
  expect(selections.subsetBytes).toBeGreaterThan(0);
});

it("gives back what the tables of the last snapshot took, and what subsets took that nobody is in any more", () => {
  const selections = new Selections(material(zones(10)));
  for (let index = 0; index < 10; index++) use(zone(selections, index), "maglev");
  expect(selections.subsetBytes).toBeGreaterThanOrEqual(10 * TABLE);
  selections.adopt(material(zones(10)));
  expect(selections.subsetBytes).toBe(0);
  for (let index = 0; index < 10; index++) {
    use(zone(selections, index), "maglev");
    use(zone(selections, index), "random");
  }
  selections.adopt(material(zones(1)));
  expect(selections.subsetBytes).toBeLessThan(FEW);
});

/** What a subset takes after a pick of each kind, and one more without some backends. */
function bytesOf(config: Readonly<Record<string, unknown>>, excluded: readonly string[] = []): number {
  const selections = new Selections(material(zones(2, config)));
  const subset = zone(selections, 0);
  use(subset, "maglev");
  const exclude = new Set(
    material(zones(2))
      .snapshot.backends.map(({ id }) => id)
      .filter((id) => excluded.includes(id)),
  );
  subset.picker("maglev", NOON).pick({ ...CONTEXT, exclude });
  return selections.subsetBytes;
}

it.each([{}, { hashBalanceFactor: 150 }])(
  "makes one table for what is led and what is bound, and none for a tier without share until it is needed: %j",
  (config) => {
    expect(Math.floor(bytesOf(config) / TABLE)).toBe(1);
    expect(Math.floor(bytesOf(config, ["b0"]) / TABLE)).toBe(2);
  },
);
