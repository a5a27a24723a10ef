import * as fc from "fast-check";
import { expect, it } from "vitest";
import { buildMaglevTable, permutationOf, TABLE_SIZE } from "../../../worker/core/policies/maglev-table.ts";

const ENVOYS = ["10.0.0.1:443", "10.0.0.2:443", "10.0.0.3:443"];

// Offset, skip and slots as Envoy has them for hosts of these names.
it.each([
  ["10.0.0.1:443", 25_065, 3_586],
  ["10.0.0.2:443", 52_204, 43_044],
  ["10.0.0.3:443", 55_640, 60_492],
])("begins with %s at %i and goes on by %i, as Envoy does", (name, offset, skip) => {
  expect(permutationOf(name)).toEqual({ offset, skip });
});

it("gives three equals the slots that Envoy gives them", () => {
  const table = buildMaglevTable(ENVOYS.map((name) => ({ name, weight: 1 })));
  expect([0, 1, 2, 3, 4, 5, 100, 65_536].map((slot) => ENVOYS[table[slot] ?? -1])).toEqual(
    [3, 3, 2, 1, 2, 1, 3, 2].map((number) => `10.0.0.${number}:443`),
  );
});

/** Envoy's own way: in every round everybody is asked whether it is as far as the round is. */
function roundByRound(weights: readonly number[]): readonly number[] {
  const table: (number | undefined)[] = Array.from({ length: TABLE_SIZE });
  const largest = Math.max(...weights);
  const claimants = weights.map((weight, index) => {
    const { offset, skip } = permutationOf(`b${index}`);
    return { index, weight, next: offset, skip, target: 0 };
  });
  for (let round = 1, left = TABLE_SIZE; ; round++) {
    for (const claimant of claimants) {
      if (round * claimant.weight < claimant.target) continue;
      claimant.target += largest;
      while (table[claimant.next] !== undefined) claimant.next = (claimant.next + claimant.skip) % TABLE_SIZE;
      table[claimant.next] = claimant.index;
      left--;
      if (left === 0) return table.map(Number);
    }
  }
}

it("gives every claimant by weight the slots that Envoy's rounds give it", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(weights, (told) => {
      const table = buildMaglevTable(told.map((weight, index) => ({ name: `b${index}`, weight })));
      expect([...table]).toEqual(roundByRound(told));
    }),
    { numRuns: 20, examples: [[[1_000, 1]], [[1, 1_000]], [[3, 1, 2]]] },
  );
});

it("leaves nobody without a slot, however light", () => {
  const weights = [1_000, ...Array.from({ length: 999 }, () => 1)];
  const table = buildMaglevTable(weights.map((weight, index) => ({ name: `b${index}`, weight })));
  expect(new Set(table).size).toBe(1_000);
});
