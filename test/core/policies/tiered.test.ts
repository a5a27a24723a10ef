import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { BackendId } from "../../../durable/model/names.ts";
import type { PolicyName } from "../../../durable/model/pool.ts";
import type { Picker } from "../../../worker/core/policies/policy.ts";
import { Tiered } from "../../../worker/core/policies/tiered.ts";
import { backendId } from "../support/build.ts";
import { asking, hash, NOTHING, prepare, type Weights } from "./hashed.ts";

/** A tier with so much of the traffic, in which backends of these weights are picked by a policy. */
interface Told {
  readonly share: number;
  readonly weights: Weights;
}

function tiered(policy: PolicyName, ...told: readonly Told[]): Tiered {
  return new Tiered(told.map(({ share, weights }) => ({ share, picker: prepare(policy, weights) })));
}

/** What is picked over a fine grid of chances. */
function byChance(picker: Picker, exclude = NOTHING, steps = 10_000): ReadonlyMap<BackendId | null, number> {
  const counts = new Map<BackendId | null, number>();
  for (let step = 0; step < steps; step++) {
    const picked = picker.pick(asking({ exclude, chance: (step + 0.5) / steps }));
    counts.set(picked, (counts.get(picked) ?? 0) + 1);
  }
  return counts;
}

const KEYS = Array.from({ length: 20_000 }, (_, index) => hash(`connection tls ${index}`));

/** Where every key is led. */
function byKey(picker: Picker, chance = 0, exclude = NOTHING): readonly (BackendId | null)[] {
  return KEYS.map((key) => picker.pick(asking({ exclude, key, chance })));
}

/** By how much counts are off at most; infinitely where others were picked. */
function deviation(
  counts: ReadonlyMap<BackendId | null, number>,
  due: Readonly<Record<string, number>>,
): number {
  const picked = [...counts].map(([id, times]) =>
    Math.abs(times - (due[String(id)] ?? Number.NEGATIVE_INFINITY)),
  );
  return Math.max(...picked, counts.size === Object.keys(due).length ? 0 : Number.POSITIVE_INFINITY);
}

function count<Value>(values: readonly Value[], value: Value): number {
  return values.filter((each) => each === value).length;
}

it("gives each tier its share by chance, and in it each backend the share of its weight", () => {
  const picker = tiered(
    "random",
    { share: 70, weights: { a: 3, b: 1 } },
    { share: 30, weights: { c: 1, d: 2 } },
  );
  expect(deviation(byChance(picker), { a: 5_250, b: 1_750, c: 1_000, d: 2_000 })).toBeLessThanOrEqual(3);
});

/** Four standard deviations of independent draws. */
function slackOf(share: number): number {
  return 4 * Math.sqrt(KEYS.length * share * (1 - share));
}

it.each(["rendezvous", "maglev", "ring_hash"] as const)(
  "gives each tier its share of the keys, and in it each backend its own: %s",
  (policy) => {
    const picker = tiered(
      policy,
      { share: 70, weights: { a: 1, b: 1 } },
      { share: 9, weights: { c: 1 } },
      { share: 21, weights: { d: 1, e: 1 } },
    );
    const picked = byKey(picker).map(String);
    for (const [members, share] of [
      ["ab", 0.7],
      ["c", 0.09],
      ["de", 0.21],
    ] as const) {
      const tally = picked.filter((id) => members.includes(id)).length;
      expect(Math.abs(tally - KEYS.length * share)).toBeLessThan(slackOf(share));
      // Which tier a key is in says nothing about where it is led there. The ring is uneven by itself.
      const slack = policy === "ring_hash" ? 0.15 * KEYS.length * share : 0;
      for (const id of members) {
        const each = share / members.length;
        expect(Math.abs(count(picked, id) - KEYS.length * each)).toBeLessThan(slackOf(each) + slack);
      }
    }
  },
);

it("leads a key to the same backend whatever the chance", () => {
  const told = [
    { share: 55, weights: { a: 1, b: 2 } },
    { share: 45, weights: { c: 1, d: 1 } },
  ];
  expect(byKey(tiered("rendezvous", ...told), 0.99)).toEqual(byKey(tiered("rendezvous", ...told), 0));
});

/** Where keys are led while the first of two tiers has this share. */
function withFirst(share: number): readonly (BackendId | null)[] {
  const others = { share: 100 - share, weights: { c: 1, d: 1 } };
  return byKey(tiered("rendezvous", { share, weights: { a: 1, b: 1 } }, others));
}

it("moves, when traffic spills to the next tier, that part of the keys and no other", () => {
  fc.assert(
    fc.property(fc.nat({ max: 100 }), fc.nat({ max: 100 }), (one, other) => {
      const [less, more] = [withFirst(Math.min(one, other)), withFirst(Math.max(one, other))];
      const moved = more.flatMap((from, index) => (less[index] === from ? [] : [[from, less[index]]]));
      // All of them leave the first tier for the second one.
      for (const [from, to] of moved)
        expect([from, to].map((id) => "ab".includes(String(id)))).toEqual([true, false]);
      const part = Math.abs(one - other) / 100;
      const slack = 4.5 * Math.sqrt(KEYS.length * part * (1 - part));
      expect(Math.abs(moved.length - part * KEYS.length)).toBeLessThanOrEqual(slack);
    }),
    { numRuns: 20 },
  );
});

function without(...ids: readonly string[]): ReadonlySet<BackendId> {
  return new Set(ids.map(backendId));
}

it("takes what a tier cannot to the others, in order, also to those without share", () => {
  const picker = tiered(
    "random",
    { share: 60, weights: { a: 1 } },
    { share: 40, weights: { b: 1 } },
    { share: 0, weights: { c: 1 } },
  );
  expect(deviation(byChance(picker, without("a")), { b: 10_000 })).toBeLessThanOrEqual(3);
  expect(deviation(byChance(picker, without("b")), { a: 10_000 })).toBeLessThanOrEqual(3);
  expect(deviation(byChance(picker, without("a", "b")), { c: 10_000 })).toBeLessThanOrEqual(3);
  expect([...byChance(picker, without("a", "b", "c"))]).toEqual([[null, 10_000]]);
});

// What fell through once brought along the part of the chances that its tier had: all of it went to the last backend.
it("spreads what a tier cannot take over the next one by weight", () => {
  const picker = tiered("random", { share: 50, weights: { a: 3, b: 1 } }, { share: 50, weights: { c: 1 } });
  expect(deviation(byChance(picker, without("c")), { a: 7_500, b: 2_500 })).toBeLessThanOrEqual(3);
});

it("picks among all by the whole chance where no tier has a share", () => {
  const picker = tiered("random", { share: 0, weights: { a: 3, b: 1 } }, { share: 0, weights: { c: 1 } });
  expect(deviation(byChance(picker), { a: 7_500, b: 2_500 })).toBeLessThanOrEqual(3);
});
