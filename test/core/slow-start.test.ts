import * as fc from "fast-check";
import { expect, it } from "vitest";
import { after } from "../../durable/model/time.ts";
import { slowStartFactor, warm } from "../../worker/core/slow-start.ts";
import { NOON, snapshot } from "./support/build.ts";

const MINUTE = { windowMs: 60_000, aggression: 1, minWeightPercent: 10 };

// Envoy's documentation, "Slow start": https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start
it.each([
  [0, 0.1, 0.129, 0.1],
  [15, 0.25, 0.5, 0.1],
  [30, 0.5, Math.SQRT1_2, 0.25],
  [45, 0.75, 0.866, 0.563],
  [60, 1, 1, 1],
])("after %i s of 60 gives the part that is published", (seconds, one, two, half) => {
  const parts = [1, 2, 0.5].map((aggression) => slowStartFactor(seconds * 1_000, { ...MINUTE, aggression }));
  [one, two, half].forEach((part, index) => expect(parts[index]).toBeCloseTo(part, 3));
});

/** Weights of one that has served for so long beside one that has served for ever, by the weight both have. */
function weightsOf(servedMs: number, weight = 1, windowMs = 60_000): readonly number[] {
  const { backends } = snapshot({ old: weight, new: { weight, servingSinceMs: after(NOON, -servedMs) } });
  return warm(backends, { ...MINUTE, windowMs }, NOON).candidates.map((candidate) => candidate.weight);
}

it("lets a new backend begin with a part of its weight, and never with nothing", () => {
  expect(weightsOf(0)).toEqual([100, 10]);
  expect(weightsOf(30_000, 7)).toEqual([700, 350]);
  expect(weightsOf(0, 1, 3_600_000)).toEqual([100, 10]);
});

it("holds nobody back when the window is closed or zero", () => {
  expect(weightsOf(60_000)).toEqual([1, 1]);
  expect(weightsOf(0, 1, 0)).toEqual([1, 1]);
});

it.each([
  ["equally new", 0, 0],
  ["new, one longer than the other", 30, 0],
  ["new, one all but through", 59, 0],
])("holds nobody back where all are %s, and looks again, since they may not be for long", (_, one, other) => {
  const { backends } = snapshot({ a: secondsOld(one), b: secondsOld(other) });
  expect(warm(backends, MINUTE, NOON)).toEqual({ candidates: backends, nextMs: after(NOON, 1_200) });
});

function secondsOld(seconds: number) {
  return { servingSinceMs: after(NOON, -1_000 * seconds) };
}

/** What a backend of so many seconds leaves to one that came 30 later, as part of its own. */
function partOf(older: number): number {
  const { backends } = snapshot({ a: secondsOld(older), b: secondsOld(older - 30) });
  const [a, b] = warm(backends, MINUTE, NOON).candidates;
  return (b?.weight ?? 0) / (a?.weight ?? 1);
}

// A fleet that is restarted one by one. The last one's part falls when the first is through, which is what it takes over for.
it("holds the newer of two new ones back as soon as the other has come to its weight", () => {
  expect([30, 45, 59.9, 60, 75, 90].map(partOf)).toEqual([1, 1, 1, 0.5, 0.75, 1]);
});

it("never takes weight away as time passes, and ends with all of it", () => {
  const config = fc.record({
    windowMs: fc.integer({ min: 1, max: 3_600_000 }),
    aggression: fc.double({ min: 0.1, max: 10, noNaN: true }),
    minWeightPercent: fc.integer({ min: 1, max: 100 }),
  });
  const time = fc.integer({ min: -5_000, max: 4_000_000 });
  fc.assert(
    fc.property(config, time, time, (slowStart, one, other) => {
      const [sooner, later] = one < other ? [one, other] : [other, one];
      const before = slowStartFactor(sooner, slowStart);
      expect(before).toBeGreaterThanOrEqual(slowStart.minWeightPercent / 100);
      expect(slowStartFactor(later, slowStart)).toBeGreaterThanOrEqual(before);
      expect(slowStartFactor(slowStart.windowMs, slowStart)).toBe(1);
    }),
  );
});
