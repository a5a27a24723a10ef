import * as fc from "fast-check";
import { expect, it } from "vitest";
import { after } from "../../durable/model/time.ts";
import { RetryBudget } from "../../worker/core/retry-budget.ts";
import { NOON } from "./support/build.ts";

const RULES = { percent: 20, floor: 10 };

/** How many of so many retries are allowed at one moment. */
function allowed(budget: RetryBudget, asked: number, laterMs = 0, rules = RULES): number {
  return Array.from({ length: asked }, () => budget.withdraw(rules, after(NOON, laterMs))).filter(Boolean)
    .length;
}

function deposit(budget: RetryBudget, requests: number, laterMs = 0): void {
  for (let request = 0; request < requests; request++) budget.deposit(after(NOON, laterMs));
}

it("allows a fifth of the requests, and the floor where that is more", () => {
  const busy = new RetryBudget();
  deposit(busy, 1_000);
  expect(allowed(busy, 1_000)).toBe(200);
  const quiet = new RetryBudget();
  deposit(quiet, 3);
  expect(allowed(quiet, 1_000)).toBe(10);
});

it("forgets both after ten seconds", () => {
  const budget = new RetryBudget();
  deposit(budget, 1_000);
  expect(allowed(budget, 150)).toBe(150);
  expect(allowed(budget, 150, 9_000)).toBe(50);
  expect(allowed(budget, 150, 10_000)).toBe(0);
  expect(allowed(budget, 150, 25_000)).toBe(10);
});

it("allows none where a pool wants none", () => {
  const budget = new RetryBudget();
  deposit(budget, 1_000);
  expect(allowed(budget, 10, 0, { percent: 0, floor: 0 })).toBe(0);
});

it("never allows more in ten seconds than a fifth of the requests, or the floor", () => {
  const step = fc.record({
    waitMs: fc.nat({ max: 1_500 }),
    requests: fc.nat({ max: 30 }),
    asked: fc.nat({ max: 30 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const budget = new RetryBudget();
      let laterMs = 0;
      const past: { readonly laterMs: number; readonly requests: number; readonly retries: number }[] = [];
      for (const { waitMs, requests, asked } of steps) {
        laterMs += waitMs;
        deposit(budget, requests, laterMs);
        const retries = allowed(budget, asked, laterMs);
        past.push({ laterMs, requests, retries });
        const recent = past.filter(
          (each) => Math.floor(each.laterMs / 1_000) > Math.floor(laterMs / 1_000) - 10,
        );
        const sum = (key: "requests" | "retries"): number => recent.reduce((all, each) => all + each[key], 0);
        // What was allowed while more requests were in the window stays allowed.
        expect(retries === 0 || sum("retries") <= Math.max(10, Math.floor(sum("requests") / 5))).toBe(true);
      }
    }),
  );
});

it("has a retry again that was put back, and never more than it had", () => {
  const budget = new RetryBudget();
  const rules = { percent: 0, floor: 1 };
  expect(budget.withdraw(rules, NOON)).toBe(true);
  expect(budget.withdraw(rules, NOON)).toBe(false);
  budget.restore(NOON);
  budget.restore(NOON);
  expect(budget.withdraw(rules, NOON)).toBe(true);
  expect(budget.withdraw(rules, NOON)).toBe(false);
});
