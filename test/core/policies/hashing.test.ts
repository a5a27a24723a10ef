import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PolicyName } from "../../../durable/model/pool.ts";
import { backendId } from "../support/build.ts";
import { counted, hash, KEYS, placed, prepare, type Weights } from "./hashed.ts";

const WEIGHTS: fc.Arbitrary<Weights> = fc
  .array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 8 })
  .map((weights) => Object.fromEntries(weights.map((weight, index) => [`b${index}`, weight])));
const SOME_KEYS = fc.array(
  fc.string().map((text) => hash(text)),
  { minLength: 1 },
);

const TEN: Weights = Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`b${index}`, 5]));
const { b3: _, ...NINE } = TEN;

/** How far a scheme goes with 10 backends and 60,000 keys. Shares are of the mean, movements of all keys. */
interface Measured {
  readonly name: PolicyName;
  readonly ringPoints: number;
  readonly largest: number;
  readonly smallest: number;
  /** Keys that move from a backend that stays to another that was there, when one is taken out, or one is added. */
  readonly strayed: number;
  /** The same when one of ten weights goes from 5 to 6. */
  readonly strayedByWeight: number;
}

// With other names, keys and hashes the same four schemes were measured before, largest and smallest: maglev 1.011 and 0.987,
// ring_hash 1.140 and 0.853, with 1000 points 1.055 and 0.947, rendezvous 1.020 and 0.984. Sixty thousand independent
// draws alone have a standard deviation of 1.2 % of the mean.
const MEASURED: readonly Measured[] = [
  {
    name: "maglev",
    ringPoints: 160,
    largest: 1.0229,
    smallest: 0.9777,
    strayed: 0.0026,
    strayedByWeight: 0.001,
  },
  {
    name: "ring_hash",
    ringPoints: 160,
    largest: 1.0902,
    smallest: 0.9545,
    strayed: 0,
    strayedByWeight: 0,
  },
  {
    name: "ring_hash",
    ringPoints: 1_000,
    largest: 1.0374,
    smallest: 0.9553,
    strayed: 0,
    strayedByWeight: 0,
  },
  { name: "rendezvous", ringPoints: 160, largest: 1.03, smallest: 0.97, strayed: 0, strayedByWeight: 0 },
];

describe.each(MEASURED)("$name with $ringPoints points", (measured) => {
  const { name, ringPoints } = measured;
  const before = placed(prepare(name, TEN, { ringPoints }));

  /** Shares of all keys: of those that came to `newcomer`, and of those that moved elsewhere from one that is not `gone`. */
  function moved(weights: Weights, newcomer: string | null, gone: string | null) {
    const to = placed(prepare(name, weights, { ringPoints }));
    const places = to.filter((place, index) => place !== before[index] && before[index] !== gone);
    const arrived = places.filter((place) => place === newcomer).length;
    return { arrived: arrived / KEYS.length, strayed: (places.length - arrived) / KEYS.length };
  }

  it("spreads keys over ten equal backends as evenly as measured", () => {
    const counts = [...counted(before).values()];
    expect(counts).toHaveLength(10);
    expect(Math.max(...counts) / 6_000).toBeLessThanOrEqual(measured.largest);
    expect(Math.min(...counts) / 6_000).toBeGreaterThanOrEqual(measured.smallest);
  });

  it("moves no more than measured beside the keys of a backend that is taken out", () => {
    expect(moved(NINE, null, "b3").strayed).toBeLessThanOrEqual(measured.strayed);
  });

  it("moves a newcomer's share to it, and no more than measured to others", () => {
    const { arrived, strayed } = moved({ ...TEN, newcomer: 5 }, "newcomer", null);
    expect(Math.abs(arrived - 1 / 11)).toBeLessThan(0.02);
    expect(strayed).toBeLessThanOrEqual(measured.strayed);
  });

  it("moves about the ideal share to a backend whose weight grows, and no more than measured to others", () => {
    const { arrived, strayed } = moved({ ...TEN, b0: 6 }, "b0", null);
    expect(Math.abs(arrived - (6 / 51 - 5 / 50))).toBeLessThan(0.01);
    expect(strayed).toBeLessThanOrEqual(measured.strayedByWeight);
  });
});

it.each([
  { a: 5, b: 1, c: 1 },
  { a: 1_000, b: 1_000, c: 1 },
  { a: 1, b: 2, c: 3, d: 4 },
])(
  "gives the weights %j their shares of 60,000 keys by maglev, within four standard deviations",
  (weights) => {
    const counts = counted(placed(prepare("maglev", weights)));
    const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
    for (const [id, weight] of Object.entries(weights)) {
      const share = weight / sum;
      const allowed = 4 * Math.sqrt(KEYS.length * share * (1 - share)) + 1;
      expect(Math.abs((counts.get(id) ?? 0) - KEYS.length * share)).toBeLessThan(allowed);
    }
  },
);

describe.each(["rendezvous", "maglev", "ring_hash"] as const)("%s", (name) => {
  it("leads a key to the same backend in whatever order the candidates stand", () => {
    const inTwoOrders = WEIGHTS.chain((weights) => {
      const entries = Object.entries(weights);
      return fc.tuple(
        fc.constant(weights),
        fc.shuffledSubarray(entries, { minLength: entries.length }).map(Object.fromEntries),
      );
    });
    fc.assert(
      fc.property(inTwoOrders, SOME_KEYS, ([weights, shuffled], keys) => {
        const told = { hashBalanceFactor: 100, load: (id: string) => id.charCodeAt(1) % 4 };
        expect(placed(prepare(name, shuffled), keys)).toEqual(placed(prepare(name, weights), keys));
        expect(placed(prepare(name, shuffled, told), keys)).toEqual(
          placed(prepare(name, weights, told), keys),
        );
      }),
    );
  });

  it("scatters the keys of an excluded backend over all others, and moves no other key", () => {
    const picker = prepare(name, TEN);
    const [before, after] = [placed(picker), placed(picker, KEYS, new Set([backendId("b3")]))];
    const heirs = counted(after.filter((_place, index) => before[index] === "b3"));
    expect(heirs.size).toBe(9);
    expect(after.map((place, index) => (before[index] === "b3" ? "b3" : place))).toEqual(before);
  });
});
