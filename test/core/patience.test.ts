import { expect, it } from "vitest";
import { patienceFor } from "../../worker/core/patience.ts";

const RULES = { totalTimeoutMs: 45_000, maxAttempts: 3 };

it.each([
  ["the first of three, at the defaults: all of its header timeout", 15_000, 45_000, 3, 15_000, false],
  ["the second, after the first hung: its share", 15_000, 29_900, 2, 14_950, false],
  ["the last: what is left", 15_000, 14_800, 1, 14_800, false],
  ["half of what a first attempt gets, which is enough to blame somebody", 15_000, 7_500, 1, 7_500, false],
  ["less, which is not", 15_000, 7_499, 1, 7_499, true],
  ["nothing left, but the least there is", 15_000, -5, 1, 1, true],
])("an attempt waits: %s", (_, headerTimeoutMs, leftMs, attemptsLeft, timeoutMs, isShortened) => {
  expect(patienceFor(headerTimeoutMs, leftMs, attemptsLeft, RULES)).toEqual({ timeoutMs, isShortened });
});

it("shares a total time that is shorter than the header timeout, and blames by the share", () => {
  const hasty = { totalTimeoutMs: 400, maxAttempts: 3 };
  expect(patienceFor(15_000, 400, 3, hasty)).toEqual({ timeoutMs: 133, isShortened: false });
  expect(patienceFor(15_000, 260, 2, hasty)).toEqual({ timeoutMs: 130, isShortened: false });
  expect(patienceFor(15_000, 66, 1, hasty)).toEqual({ timeoutMs: 66, isShortened: true });
});
