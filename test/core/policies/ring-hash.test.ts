import { createHash } from "node:crypto";
import * as fc from "fast-check";
import HashRing from "hashring";
import { expect, it } from "vitest";
import { backendId } from "../support/build.ts";
import { counted, hash, KEYS, placed, prepare, type Weights } from "./hashed.ts";

/** So many servers of one weight. */
function servers(count: number, weight = 1): Weights {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`10.0.1.${index + 1}`, weight]));
}

// Points of libmemcached's `ketama_test_cases`, and whose they are. It has more of some, and of none more than 1000.
it.each([
  [445_379_617, "10.0.1.7"],
  [1_428_303_028, "10.0.1.1"],
  [1_480_075_959, "10.0.1.2"],
  [2_168_579_133, "10.0.1.7"],
  [2_885_206_587, "10.0.1.5"],
  [3_727_224_240, "10.0.1.5"],
  [1_994_028_240, "10.0.1.8"],
  [2_117_124_014, "10.0.1.3"],
  [3_550_704_865, "10.0.1.3"],
  [1_559_308_507, "10.0.1.4"],
  [3_974_773_167, "10.0.1.6"],
  [2_847_870_057, "10.0.1.8"],
  [4_230_156_966, "10.0.1.2"],
  [977_319_837, "10.0.1.4"],
  [72_034_069, "10.0.1.6"],
  [146_633_907, "10.0.1.8"],
])("has the point %i where ketama has it, for %s", (high, server) => {
  const picker = prepare("ring_hash", servers(8), { ringPoints: 1_000 });
  expect(placed(picker, [{ high, low: 0 }])).toEqual([server]);
});

it.each([2, 3, 8, 10, 64])(
  "leads 10,000 keys among %d of one weight as another package of ketama does",
  (count) => {
    const peer = new HashRing(servers(count), "md5", {});
    const texts = Array.from({ length: 10_000 }, (_, index) => `key ${index}`);
    const keys = texts.map((text) => ({
      high: createHash("md5").update(text).digest().readUInt32LE(0),
      low: 0,
    }));
    for (const weight of [1, 3, 1_000])
      expect(placed(prepare("ring_hash", servers(count, weight)), keys)).toEqual(
        texts.map((text) => peer.get(text)),
      );
  },
);

it("leads a key after the last point to the first", () => {
  const [past, first] = placed(
    prepare("ring_hash", servers(8)),
    [0xffff_ffff, 0].map((high) => ({ high, low: 0 })),
  );
  expect(past).toBe(first);
});

const WEIGHTS: fc.Arbitrary<Weights> = fc
  .array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 12 })
  .map((weights) => Object.fromEntries(weights.map((weight, index) => [`b${index}`, weight])));
const SOME_KEYS = fc.array(
  fc.string().map((text) => hash(text)),
  { minLength: 1, maxLength: 50 },
);

// What happened: points were given out of a number for all, so that a weight of 6 instead of 5 among ten took points from the
// other nine, and one from 100 to 101 moved 2 % of all keys.
it("moves keys only to or from the backend whose weight changes, that comes or goes", () => {
  const weight = fc.integer({ min: 1, max: 1_000 });
  fc.assert(
    fc.property(WEIGHTS, weight, weight, SOME_KEYS, (rest, before, after, keys) => {
      const none = placed(prepare("ring_hash", rest), keys);
      for (const itsWeight of [before, after]) {
        const places = placed(prepare("ring_hash", { ...rest, it: itsWeight }), keys);
        expect(places.map((place, index) => (place === "it" ? none[index] : place))).toEqual(none);
      }
      // And whatever it had while it was lighter, it has while it is heavier.
      const [lighter, heavier] = [before, after]
        .toSorted((a, b) => a - b)
        .map((itsWeight) => placed(prepare("ring_hash", { ...rest, it: itsWeight }), keys));
      const kept = heavier?.map((place, index) => (lighter?.[index] === "it" ? "it" : place));
      expect(kept).toEqual(heavier);
    }),
  );
});

it("leads the keys of one that is excluded as if it were not there", () => {
  fc.assert(
    fc.property(WEIGHTS, fc.integer({ min: 1, max: 1_000 }), SOME_KEYS, (rest, weight, keys) => {
      const all = prepare("ring_hash", { ...rest, out: weight });
      const without = placed(all, keys, new Set([backendId("out")]));
      expect(without).toEqual(placed(prepare("ring_hash", rest), keys));
    }),
  );
});

// With 1000 points, what moves has a standard deviation of some 10 %.
it.each([
  [{ ...servers(9, 5), grows: 5 }, 6, 6 / 51 - 5 / 50],
  [{ ...servers(9, 100), grows: 100 }, 101, 101 / 1_001 - 100 / 1_000],
  [{ ...servers(9), grows: 1 }, 2, 2 / 11 - 1 / 10],
  [{ ...servers(9, 1_000), grows: 10 }, 500, 500 / 9_500 - 10 / 9_010],
])("moves its ideal share of 60,000 keys to the one of %j that grows to %d", (weights, grown, ideal) => {
  const before = placed(prepare("ring_hash", weights, { ringPoints: 1_000 }));
  const after = placed(prepare("ring_hash", { ...weights, grows: grown }, { ringPoints: 1_000 }));
  const moved = after.filter((place, index) => place !== before[index]).length / KEYS.length;
  expect(Math.abs(moved - ideal)).toBeLessThan(0.4 * ideal + 0.001);
});

// By 160 points of its own, and some 60 keys.
it.each([
  { a: 1_000, b: 1 },
  { a: 1_000, b: 10, c: 1_000 },
  { a: 1, b: 1, c: 1_000 },
])("gives the light ones of %j what they should have, within half of it", (weights: Weights) => {
  const counts = counted(placed(prepare("ring_hash", weights)));
  const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
  for (const [id, weight] of Object.entries(weights)) {
    const expected = (KEYS.length * weight) / sum;
    expect(Math.abs((counts.get(id) ?? 0) - expected)).toBeLessThan(expected / 2);
  }
});

// A share by 1000 points has a standard deviation of about 3 %.
it("gives weights their shares of 60,000 keys within 15 %, with 1000 points", () => {
  const weights: Weights = { a: 5, b: 3, c: 2 };
  const counts = counted(placed(prepare("ring_hash", weights, { ringPoints: 1_000 })));
  for (const [id, weight] of Object.entries(weights)) {
    const mean = (KEYS.length * weight) / 10;
    expect(Math.abs((counts.get(id) ?? 0) - mean)).toBeLessThan(0.15 * mean);
  }
});

it("leaves nobody without points, however light", () => {
  expect(counted(placed(prepare("ring_hash", { a: 1_000, b: 1_000, c: 1 }))).get("c")).toBeGreaterThan(0);
});
