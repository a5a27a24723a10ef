import * as fc from "fast-check";
import { expect, it } from "vitest";
import { quietMs } from "../../worker/core/quiet.ts";

const ROW = [1, 2, 3, 4, 5, 6, 7, 100];

it.each([
  ["failed", true, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000]],
  ["interrupted", true, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000]],
  ["failed", false, [500, 1_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000]],
  ["overloaded", true, [2_000, 4_000, 8_000, 16_000, 16_000, 16_000, 16_000, 16_000]],
  ["overloaded", false, [2_000, 4_000, 8_000, 8_000, 8_000, 8_000, 8_000, 8_000]],
] as const)("is quiet for longer after each failure: %s, able to serve: %s", (failure, canServe, longest) => {
  expect(ROW.map((failures) => quietMs({ failure, failures, canServe }, 0))).toEqual(longest);
});

it("lets chance take off up to a half, evenly", () => {
  const failing = { failure: "failed", failures: 4, canServe: true } as const;
  expect([0, 0.25, 0.5, 1].map((chance) => quietMs(failing, chance))).toEqual([4_000, 3_500, 3_000, 2_000]);
});

it("is never quiet for less than 250 ms, nor for longer than 16 s", () => {
  const failing = fc.record({
    failure: fc.constantFrom("overloaded" as const, "interrupted" as const, "failed" as const),
    failures: fc.integer({ min: 1, max: 1_000_000 }),
    canServe: fc.boolean(),
  });
  fc.assert(
    fc.property(failing, fc.double({ min: 0, max: 1, noNaN: true }), (each, chance) => {
      const durationMs = quietMs(each, chance);
      expect(durationMs).toBeGreaterThanOrEqual(250);
      expect(durationMs).toBeLessThanOrEqual(16_000);
    }),
  );
});
