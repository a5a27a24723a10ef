import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { BackendId } from "../../durable/model/names.ts";
import { createKeyedHash, type Hash64 } from "../../worker/core/keyed-hash.ts";
import { Rendezvous } from "../../worker/core/policies/rendezvous.ts";
import { backendId, candidates } from "./support/build.ts";

type Weights = Readonly<Record<string, number>>;

const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");
const NOTHING: ReadonlySet<BackendId> = new Set();
const KEYS: readonly Hash64[] = Array.from({ length: 60_000 }, (_, index) => hash(`connection ${index}`));
const TEN: Weights = Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`b${index}`, 1]));

function prepare(weights: Weights): Rendezvous {
  return Rendezvous.prepare({ candidates: candidates(weights), previous: null, hash, chance: 0 });
}

/** Where every key leads. */
function placed(weights: Weights, keys = KEYS): readonly (string | null)[] {
  const picker = prepare(weights);
  return keys.map((key) => picker.pick({ exclude: NOTHING, isRetry: false, key, chance: 0 }));
}

function counted(places: readonly (string | null)[]): ReadonlyMap<string | null, number> {
  const counts = new Map<string | null, number>();
  for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1);
  return counts;
}

/** The keys that moved: from where, to where. */
function moved(
  before: Weights,
  after: Weights,
): readonly (readonly [from: string | null, to: string | null])[] {
  const to = placed(after);
  return placed(before).flatMap((from, index) =>
    from === to[index] ? [] : [[from, to[index] ?? null] as const],
  );
}

function without(weights: Weights, gone: string): Weights {
  return Object.fromEntries(Object.entries(weights).filter(([id]) => id !== gone));
}

const WEIGHTS: fc.Arbitrary<Weights> = fc
  .array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 8 })
  .map((weights) => Object.fromEntries(weights.map((weight, index) => [`b${index}`, weight])));
const KEY = fc.string().map((text) => hash(text));

it("leads a key to the same backend in whatever order the candidates stand", () => {
  const inTwoOrders = WEIGHTS.chain((weights) => {
    const entries = Object.entries(weights);
    return fc.tuple(
      fc.constant(weights),
      fc.shuffledSubarray(entries, { minLength: entries.length }).map(Object.fromEntries),
    );
  });
  fc.assert(
    fc.property(inTwoOrders, fc.array(KEY, { minLength: 1 }), ([weights, shuffled], keys) => {
      expect(placed(shuffled, keys)).toEqual(placed(weights, keys));
    }),
  );
});

it("leads a key that is excluded from its backend where it would go without that backend", () => {
  fc.assert(
    fc.property(WEIGHTS, KEY, (weights, key) => {
      const picker = prepare(weights);
      const first = picker.pick({ exclude: NOTHING, isRetry: false, key, chance: 0 });
      const second = picker.pick({
        exclude: new Set([backendId(String(first))]),
        isRetry: true,
        key,
        chance: 0,
      });
      expect([second]).toEqual(placed(without(weights, String(first)), [key]));
    }),
  );
});

// Independent draws of 60,000 keys over 10 backends have a standard deviation of 73, which is 1.2 % of the mean. The key of
// the hash is fixed, so this is one such draw and always the same.
it("spreads 60,000 keys over 10 backends within 3 % of even", () => {
  const counts = [...counted(placed(TEN)).values()];
  expect(counts).toHaveLength(10);
  expect(Math.max(...counts) / 6_000).toBeLessThan(1.03);
  expect(Math.min(...counts) / 6_000).toBeGreaterThan(0.97);
});

it("spreads the keys of a backend evenly over the others when it is gone", () => {
  const heirs = counted(moved(TEN, without(TEN, "b3")).map(([, to]) => to));
  expect(heirs.size).toBe(9);
  for (const count of heirs.values()) {
    expect(count).toBeGreaterThan(0.85 * (6_000 / 9));
    expect(count).toBeLessThan(1.15 * (6_000 / 9));
  }
});

it("moves only a backend's own keys when it is taken out", () => {
  fc.assert(
    fc.property(WEIGHTS, fc.array(KEY, { minLength: 1 }), fc.nat(), (weights, keys, index) => {
      const gone = `b${index % Object.keys(weights).length}`;
      const before = placed(weights, keys);
      const kept = placed(without(weights, gone), keys).map((to, key) => (before[key] === gone ? gone : to));
      expect(kept).toEqual(before);
    }),
  );
});

it("moves a newcomer's share when it is added, and all of it to the newcomer", () => {
  const moves = moved(TEN, { ...TEN, newcomer: 1 });
  expect(moves.filter(([, to]) => to !== "newcomer")).toEqual([]);
  expect(moves.length / KEYS.length).toBeCloseTo(1 / 11, 2);
});

// Ten backends of weight 5, one of which gets 6: it goes from 1/10 to 6/51 of the keys, and 1.76 % move. Three backends of
// 5, 5 and 4, of which one of the 5 gets 6: from 5/14 to 6/15, and the ideal is 4.29 %.
it("moves the ideal share when a weight grows from 5 to 6, and all of it to that backend", () => {
  const moves = moved({ a: 5, b: 5, c: 4 }, { a: 6, b: 5, c: 4 });
  expect(moves.filter(([, to]) => to !== "a")).toEqual([]);
  expect(moves.length / KEYS.length).toBeCloseTo(6 / 15 - 5 / 14, 2);
  const ofTen = moved({ ...TEN, a: 1 }, { ...TEN, a: 2 });
  expect(ofTen.filter(([, to]) => to !== "a")).toEqual([]);
  expect(ofTen.length / KEYS.length).toBeCloseTo(2 / 12 - 1 / 11, 2);
});

it.each([
  { a: 5, b: 1, c: 1 },
  { a: 1_000, b: 1_000, c: 1 },
  { a: 1, b: 2, c: 3, d: 4 },
])("gives the weights %j their shares of 60,000 keys, within four standard deviations", (weights) => {
  const counts = counted(placed(weights));
  const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
  for (const [id, weight] of Object.entries(weights)) {
    const share = weight / sum;
    const bound = 4 * Math.sqrt(KEYS.length * share * (1 - share)) + 1;
    expect(Math.abs((counts.get(id) ?? 0) - KEYS.length * share)).toBeLessThan(bound);
  }
});

it("spreads the keys of another pool in another way", () => {
  const other = createKeyedHash("ffffffffffffffffffffffffffffffff");
  const picker = Rendezvous.prepare({ candidates: candidates(TEN), previous: null, hash: other, chance: 0 });
  const before = placed(TEN);
  const same = before.filter(
    (place, index) =>
      picker.pick({ exclude: NOTHING, isRetry: false, key: other(`connection ${index}`), chance: 0 }) ===
      place,
  );
  expect(same.length / KEYS.length).toBeCloseTo(1 / 10, 1);
});

it("gives requests without a key a random backend", () => {
  const picker = prepare({ a: 1, b: 1 });
  const places = Array.from({ length: 10_000 }, (_, index) =>
    picker.pick({ exclude: NOTHING, isRetry: false, key: null, chance: index / 10_000 }),
  );
  expect(Math.abs((counted(places).get("a") ?? 0) - 5_000)).toBeLessThan(200);
});
