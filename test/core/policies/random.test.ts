import * as fc from "fast-check";
import { expect, it } from "vitest";
import { AliasTable } from "../../../worker/core/policies/alias-table.ts";
import { backendId } from "../support/build.ts";
import { asking, counted, prepare } from "./hashed.ts";

const DRAWS = 50_000;

/** Every two-hundredth of a percent of chance, in the middle of its step. */
const CHANCES = Array.from({ length: DRAWS }, (_, index) => (index + 0.5) / DRAWS);

// Each cell has two stretches of chance, and each end of one can be off by one step.
it("gives every weight its stretch of chance, whatever the weights", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(weights, (told) => {
      const table = new AliasTable(told);
      const counts = new Uint32Array(told.length);
      for (const chance of CHANCES) {
        const drawn = table.draw(chance);
        counts[drawn] = (counts[drawn] ?? 0) + 1;
      }
      const sum = told.reduce((total, weight) => total + weight, 0);
      told.forEach((weight, index) => {
        const expected = (DRAWS * weight) / sum;
        expect(Math.abs((counts[index] ?? 0) - expected)).toBeLessThanOrEqual(2 * told.length);
      });
    }),
    { numRuns: 30 },
  );
});

it("leads nobody's chance out of the table", () => {
  const table = new AliasTable([1, 2, 3]);
  expect(table.draw(1 - 2 ** -53)).toBeOneOf([0, 1, 2]);
  expect(new AliasTable([]).draw(0.5)).toBe(-1);
});

it("gives those that are left their shares when one is excluded", () => {
  const picker = prepare("random", { a: 5, b: 3, c: 1 });
  const exclude = new Set([backendId("a")]);
  const counts = counted(CHANCES.map((chance) => picker.pick(asking({ exclude, chance }))));
  expect(Object.fromEntries(counts)).toEqual({ b: 37_500, c: 12_500 });
});

it("gives requests without key their shares by chance, where the policy hashes", () => {
  for (const name of ["maglev", "ring_hash"] as const) {
    const picker = prepare(name, { a: 3, b: 1 });
    const counts = counted(CHANCES.map((chance) => picker.pick(asking({ chance }))));
    expect(Object.fromEntries(counts)).toEqual({ a: 37_500, b: 12_500 });
  }
});
