import { expect, it } from "vitest";
import { INCIDENTS, OUTCOMES, PROTOCOLS, SESSION_FATES, zeros } from "../../durable/model/outcome.ts";
import type { Report } from "../../durable/model/sync.ts";
import { Counters } from "../../durable/state/counters.ts";
import { backendId } from "./support/build.ts";

const A = backendId("a");

/** A report of so many answers of a backend. */
function report(batch: number, answered: number, id = A): Report {
  return {
    batch,
    ageMs: 0,
    backends: [
      {
        id,
        outcomes: { ...zeros(OUTCOMES), answered },
        latencyMs: { success: 0, failure: 0 },
        gatewayRun: { length: 0, isWhole: false },
        announced: null,
        announcedAfterMs: 0,
      },
    ],
    protocols: { ...zeros(PROTOCOLS), "HTTP/3": answered },
    incidents: { ...zeros(INCIDENTS), degraded: 1 },
    sessions: { ...zeros(SESSION_FATES), kept: answered },
  };
}

function counters(): Counters {
  const counted = new Counters();
  counted.keepBackends([A]);
  return counted;
}

it("adds up the reports of all isolates", () => {
  const counted = counters();
  counted.add("one", report(0, 2));
  counted.add("two", report(0, 3));
  counted.add("one", report(1, 4));
  expect(counted.outcomes(A).answered).toBe(9);
  expect(counted.protocols["HTTP/3"]).toBe(9);
  expect(counted.incidents.degraded).toBe(3);
  expect(counted.sessions).toEqual({ ...zeros(SESSION_FATES), kept: 9 });
});

it("counts a report once that is sent again or comes late", () => {
  const counted = counters();
  const added = [1, 1, 0, 1].map((batch) => counted.add("one", report(batch, 2)));
  expect(added).toEqual([true, false, false, false]);
  expect(counted.outcomes(A).answered).toBe(2);
});

it("counts nothing of backends the pool does not have, and keeps what it counted of those it has", () => {
  const counted = counters();
  counted.add("one", report(0, 2));
  counted.add("one", report(1, 5, backendId("gone")));
  counted.keepBackends([A, backendId("b")]);
  expect(counted.outcomes(A).answered).toBe(2);
  expect(counted.outcomes(backendId("gone"))).toEqual(zeros(OUTCOMES));
  counted.keepBackends([]);
  counted.keepBackends([A]);
  expect(counted.outcomes(A).answered).toBe(0);
});
