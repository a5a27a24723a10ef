import * as fc from "fast-check";
import { expect, it } from "vitest";
import { asking, counted, prepare, type Weights } from "./hashed.ts";

const CHANCE = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const CHANCES = Array.from({ length: 60_000 }, (_, index) => (index + 0.5) / 60_000);

/** Where every chance leads with this in flight. */
function picks(weights: Weights, inFlight: Weights): ReadonlyMap<string | null, number> {
  const picker = prepare("least_request", weights, { load: (id) => inFlight[id] ?? 0 });
  return counted(CHANCES.map((chance) => picker.pick(asking({ chance }))));
}

it("draws two different ones, so of two backends the one with less in flight for its weight always gets it", () => {
  const weight = fc.integer({ min: 1, max: 1_000 });
  const inFlight = fc.nat({ max: 100 });
  fc.assert(
    fc.property(weight, weight, inFlight, inFlight, CHANCE, (a, b, ofA, ofB, chance) => {
      const costs = { a: (ofA + 1) * b, b: (ofB + 1) * a };
      fc.pre(costs.a !== costs.b);
      const load = (id: string) => (id === "a" ? ofA : ofB);
      const picker = prepare("least_request", { a, b }, { load });
      expect(picker.pick(asking({ chance }))).toBe(costs.a < costs.b ? "a" : "b");
    }),
    // Here the place of the second one among the weights is rounded up to their sum.
    { examples: [[504, 9, 57, 0, 0.999_999_999_999_998_6]] },
  );
});

it("never picks the fullest of three, and the emptiest whenever it is drawn", () => {
  // Of three equally likely pairs, a wins two and b the one of b and c.
  const counts = picks({ a: 1, b: 1, c: 1 }, { a: 0, b: 1, c: 2 });
  expect(counts.get("c")).toBeUndefined();
  expect(Math.abs((counts.get("a") ?? 0) - 40_000)).toBeLessThan(30);
  expect(Math.abs((counts.get("b") ?? 0) - 20_000)).toBeLessThan(30);
});

it("draws by weight, and of equals takes the one drawn first", () => {
  // One in flight for each unit of weight: 4 + 1 by 5, 1 + 1 by 2, 0 + 1 by 1.
  const counts = picks({ a: 5, b: 2, c: 1 }, { a: 4, b: 1, c: 0 });
  for (const [id, count] of Object.entries({ a: 37_500, b: 15_000, c: 7_500 }))
    expect(Math.abs((counts.get(id) ?? 0) - count)).toBeLessThan(30);
});

it("has only one choice where there is one", () => {
  expect(Object.fromEntries(picks({ a: 3 }, { a: 99 }))).toEqual({ a: 60_000 });
});
