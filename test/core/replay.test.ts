import * as fc from "fast-check";
import { expect, it } from "vitest";
import { REASONS } from "../../worker/core/reason.ts";
import { replay } from "../../worker/core/replay.ts";
import { decodeTrace, type Trace } from "../../worker/core/trace.ts";
import { Dice } from "./support/dice.ts";
import { TracedIsolate } from "./support/traced-isolate.ts";

const DECISIONS = 10_000;
const PER_ISOLATE = 100;

/** Of requests that reach no pool. */
const BEFORE_ANY_POOL = new Set(["NR", "LP", "NS"]);

function decoded(text: string): Trace {
  const trace = decodeTrace(text);
  if (!trace.ok) throw new Error(JSON.stringify(trace.refusal));
  return trace.value;
}

it("reproduces 10,000 traced decisions exactly, of every policy and for every reason", {
  timeout: 120_000,
}, () => {
  const reasons = new Set<string>();
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const isolate = new TracedIsolate(new Dice(seed));
      for (let request = 0; request < PER_ISOLATE; request++) {
        const { trace, snapshot, wishes, choices } = isolate.serve();
        const { attempts } = decoded(trace);
        const again = attempts.map(({ local }) => (local === null ? null : replay(snapshot, wishes, local)));
        expect(again.map((each) => [each?.backend, each?.reason])).toEqual(
          attempts.map(({ backend, reason }) => [backend, reason]),
        );
        expect(attempts.map(({ backend }) => backend)).toEqual(
          choices.map((choice) => (choice in REFUSALS ? null : choice)),
        );
        for (const { reason } of attempts) reasons.add(reason);
      }
    }),
    { numRuns: DECISIONS / PER_ISOLATE },
  );
  expect([...reasons].toSorted()).toEqual(
    Object.keys(REASONS)
      .filter((reason) => !BEFORE_ANY_POOL.has(reason))
      .toSorted(),
  );
});

const REFUSALS = { no_backend: true, session_refused: true, full: true, shed: true };
