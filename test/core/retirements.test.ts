import * as fc from "fast-check";
import { expect, it } from "vitest";
import { type EpochMs, epochMs, later } from "../../durable/model/time.ts";
import { Retirements } from "../../durable/state/retirements.ts";

/** What isolates stopped using, when: in no order of time, since leases that ran out are found late. */
const RETIRED = fc.array(
  fc.record({ version: fc.integer({ min: 1, max: 300 }), atMs: fc.nat({ max: 1_000 }).map(epochMs) }),
  { maxLength: 200, size: "max" },
);

/** The latest of all times of older versions, the long way. */
function truthMs(retired: readonly { version: number; atMs: EpochMs }[], version: number): EpochMs | null {
  return retired
    .filter((each) => each.version < version)
    .reduce<EpochMs | null>((last, { atMs }) => (last === null ? atMs : later(last, atMs)), null);
}

it("knows when the last of what is older than a version fell out of use", () => {
  fc.assert(
    fc.property(RETIRED, fc.integer({ min: 1, max: 301 }), (retired, version) => {
      const few = retired.slice(0, 64);
      const retirements = new Retirements();
      for (const { version: used, atMs } of few) retirements.add(used, atMs);
      expect(retirements.lastBeforeMs(version)).toBe(truthMs(few, version));
    }),
  );
});

it("never says a time that is too early, however many versions there were", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 100, maxLength: 300, size: "max" }),
      fc.integer({ min: 2, max: 900 }),
      (gaps, version) => {
        const retirements = new Retirements();
        const retired = gaps.map((gap, index) => ({
          version: gaps.slice(0, index).reduce((sum, each) => sum + each, gap),
          atMs: epochMs(10 * index),
        }));
        for (const { version: used, atMs } of retired) retirements.add(used, atMs);
        const saidMs = retirements.lastBeforeMs(version) ?? -1;
        expect(saidMs).toBeGreaterThanOrEqual(truthMs(retired, version) ?? -1);
      },
    ),
  );
});
