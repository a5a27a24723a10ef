import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OUTCOMES, type Outcome } from "../../durable/model/outcome.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { ShortCircuit, type ShortCircuitRules, type Span } from "../../worker/core/short-circuit.ts";
import { NOON } from "./support/build.ts";

const RULES = { connectFailures: 3, gatewayErrors: 5, minSkipMs: 1_000, maxSkipMs: 4_000 };

/** An attempt whose failure says no more than that it failed. */
function at(nowMs: EpochMs): Span {
  return { beganMs: nowMs, nowMs, isUnhindered: false, othersWaiting: 0 };
}

const AT_NOON = at(NOON);

function circuit(...outcomes: readonly Outcome[]): ShortCircuit {
  const made = new ShortCircuit(RULES);
  for (const outcome of outcomes) made.observe(outcome, AT_NOON);
  return made;
}

/** One attempt from beginning to end, so many milliseconds after noon. */
function attempt(tried: ShortCircuit, laterMs: number, outcome: Outcome): boolean {
  const nowMs = after(NOON, laterMs);
  tried.begin(nowMs);
  return tried.observe(outcome, at(nowMs));
}

function skips(tried: ShortCircuit, laterMs: number): boolean {
  return tried.isSkipping(after(NOON, laterMs));
}

describe("a backend is skipped", () => {
  it.each<[string, readonly Outcome[]]>([
    ["three connections in a row fail", ["unreachable", "unreachable", "unreachable"]],
    [
      "five gateway errors or timeouts come in a row",
      ["gateway_error", "timed_out", "gateway_error", "unreachable", "timed_out"],
    ],
    ["an answer that had begun broke off in between", ["unreachable", "cut", "unreachable", "unreachable"]],
    ["five answers in a row broke off", ["cut", "cut", "cut", "cut", "cut"]],
    ["a client leaves in between", ["unreachable", "client_gone", "unreachable", "unreachable"]],
  ])("when %s", (_, outcomes) => {
    expect(circuit(...outcomes).isSkipping(NOON)).toBe(true);
    expect(circuit(...outcomes.slice(0, -1)).isSkipping(NOON)).toBe(false);
  });

  it.each<[string, readonly Outcome[]]>([
    ["an answer comes in between", ["unreachable", "unreachable", "answered", "unreachable", "unreachable"]],
    [
      "the application fails",
      ["server_error", "server_error", "server_error", "server_error", "server_error"],
    ],
    [
      "an error is meant",
      ["deliberate_error", "deliberate_error", "deliberate_error", "deliberate_error", "deliberate_error"],
    ],
    ["clients leave", ["client_gone", "client_gone", "client_gone", "client_gone", "client_gone"]],
  ])("but not when %s", (_, outcomes) => {
    expect(circuit(...outcomes).isSkipping(NOON)).toBe(false);
  });

  it("but not where that is switched off", () => {
    const off = new ShortCircuit({ ...RULES, connectFailures: 0, gatewayErrors: 0 });
    for (let failure = 0; failure < 100; failure++) off.observe("unreachable", AT_NOON);
    expect(off.isOpen).toBe(false);
  });
});

const TRIPPED = ["unreachable", "unreachable", "unreachable"] as const;

// ms       0            1000        3000              7000
// skipped  |------------|try fails--|----try fails----|---- …, 4000 at most
it("is skipped for twice as long each time that the one request which tries it fails", () => {
  const tried = circuit(...TRIPPED);
  expect([999, 1_000].map((laterMs) => skips(tried, laterMs))).toEqual([true, false]);
  expect(attempt(tried, 1_000, "timed_out")).toBe(true);
  expect([2_999, 3_000].map((laterMs) => skips(tried, laterMs))).toEqual([true, false]);
  attempt(tried, 3_000, "unreachable");
  expect([6_999, 7_000].map((laterMs) => skips(tried, laterMs))).toEqual([true, false]);
  attempt(tried, 7_000, "unreachable");
  expect([10_999, 11_000].map((laterMs) => skips(tried, laterMs))).toEqual([true, false]);
});

it("lets one request try, and skips for all others meanwhile", () => {
  const tried = circuit(...TRIPPED);
  tried.begin(after(NOON, 1_000));
  expect(skips(tried, 1_001)).toBe(true);
  tried.observe("answered", {
    beganMs: after(NOON, 1_000),
    nowMs: after(NOON, 1_002),
    isUnhindered: false,
    othersWaiting: 0,
  });
  expect(skips(tried, 1_002)).toBe(false);
  expect(tried.isOpen).toBe(false);
});

it("lets another try when the client of the one that tried has left", () => {
  const tried = circuit(...TRIPPED);
  attempt(tried, 1_000, "client_gone");
  expect(skips(tried, 1_000)).toBe(false);
});

it("takes what began before it was skipped for no news", () => {
  const tried = circuit(...TRIPPED);
  const before = after(NOON, -100);
  for (let failure = 0; failure < 10; failure++)
    tried.observe("unreachable", {
      beganMs: before,
      nowMs: after(NOON, 500),
      isUnhindered: false,
      othersWaiting: 0,
    });
  expect(skips(tried, 1_000)).toBe(false);
  tried.begin(after(NOON, 1_000));
  tried.observe("answered", {
    beganMs: before,
    nowMs: after(NOON, 1_001),
    isUnhindered: false,
    othersWaiting: 0,
  });
  expect(tried.isOpen).toBe(true);
  tried.observe("unreachable", {
    beganMs: before,
    nowMs: after(NOON, 1_002),
    isUnhindered: false,
    othersWaiting: 0,
  });
  tried.observe("answered", {
    beganMs: after(NOON, 1_000),
    nowMs: after(NOON, 1_003),
    isUnhindered: false,
    othersWaiting: 0,
  });
  expect(tried.isOpen).toBe(false);
});

it("begins with the short time again once it was well", () => {
  const tried = circuit(...TRIPPED);
  attempt(tried, 1_000, "unreachable");
  attempt(tried, 3_000, "answered");
  for (const outcome of TRIPPED)
    tried.observe(outcome, {
      beganMs: after(NOON, 4_000),
      nowMs: after(NOON, 4_000),
      isUnhindered: false,
      othersWaiting: 0,
    });
  expect([4_999, 5_000].map((laterMs) => skips(tried, laterMs))).toEqual([true, false]);
});

it("does not wait for ever for a request that tries and never ends", () => {
  const tried = circuit(...TRIPPED);
  tried.begin(after(NOON, 1_000));
  expect([4_999, 5_000].map((laterMs) => skips(tried, laterMs))).toEqual([true, false]);
});

it("skips nobody any more when it is switched off", () => {
  const tried = circuit(...TRIPPED);
  tried.configure({ ...RULES, connectFailures: 0, gatewayErrors: 0 });
  expect(tried.isSkipping(NOON)).toBe(false);
});

it("never skips for longer than it may without letting anybody try", () => {
  const step = fc.record({ afterMs: fc.nat({ max: 3_000 }), outcome: fc.constantFrom(...OUTCOMES) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const tried = new ShortCircuit(RULES);
      let nowMs = NOON;
      for (const { afterMs, outcome } of steps) {
        nowMs = after(nowMs, afterMs);
        if (!tried.isSkipping(nowMs)) tried.begin(nowMs);
        tried.observe(outcome, at(nowMs));
        expect(tried.isSkipping(after(nowMs, RULES.maxSkipMs))).toBe(false);
      }
    }),
  );
});

describe("one timeout", () => {
  const timedOut = { beganMs: NOON, nowMs: after(NOON, 1_000), isUnhindered: true, othersWaiting: 1 };

  it("is enough for the longest time where the backend answered nothing since, and another request waits as well", () => {
    const hung = new ShortCircuit(RULES);
    hung.observe("answered", at(after(NOON, -1)));
    expect(hung.observe("timed_out", timedOut)).toBe(true);
    expect([4_999, 5_000].map((laterMs) => skips(hung, laterMs))).toEqual([true, false]);
  });

  it.each<Outcome>(["answered", "deliberate_error", "server_error", "gateway_error"])(
    "is not where it has answered in the last quarter of that time: %s",
    (outcome) => {
      const slow = new ShortCircuit(RULES);
      slow.observe(outcome, at(after(NOON, 751)));
      expect(slow.observe("timed_out", timedOut)).toBe(false);
    },
  );

  it("is where it answered what was under way, and nothing since", () => {
    const hung = new ShortCircuit(RULES);
    hung.observe("answered", at(after(NOON, 250)));
    expect(hung.observe("timed_out", timedOut)).toBe(true);
  });

  it.each<[string, Partial<ShortCircuitRules>, Partial<Span>]>([
    ["where the backend may have waited for the body", {}, { isUnhindered: false }],
    ["where timeouts are not to count", { gatewayErrors: 0 }, {}],
  ])("is not %s", (_, rules, span) => {
    const made = new ShortCircuit({ ...RULES, ...rules });
    expect(made.observe("timed_out", { ...timedOut, ...span })).toBe(false);
  });
});

describe("one timeout of an attempt that waited alone", () => {
  const alone = { beganMs: NOON, nowMs: after(NOON, 1_000), isUnhindered: true, othersWaiting: 0 };

  it("is a suspicion, for the longest time, that one answer ends", () => {
    const suspected = new ShortCircuit(RULES);
    expect(suspected.observe("timed_out", alone)).toBe(true);
    expect(suspected.isSuspicion).toBe(true);
    expect([4_999, 5_000].map((laterMs) => skips(suspected, laterMs))).toEqual([true, false]);
    suspected.observe("answered", at(after(NOON, 1_500)));
    expect(suspected.isOpen).toBe(false);
  });

  it("is proven by whatever fails next", () => {
    const proven = new ShortCircuit(RULES);
    proven.observe("timed_out", alone);
    expect(proven.observe("unreachable", at(after(NOON, 2_000)))).toBe(true);
    expect([proven.isOpen, proven.isSuspicion]).toEqual([true, false]);
  });

  it("is none where somebody else waits", () => {
    const hung = new ShortCircuit(RULES);
    hung.observe("timed_out", { ...alone, othersWaiting: 1 });
    expect([hung.isOpen, hung.isSuspicion]).toEqual([true, false]);
  });
});
