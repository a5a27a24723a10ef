import * as fc from "fast-check";
import { expect, it } from "vitest";
import { INCIDENTS, OUTCOMES, type Outcome, SESSION_FATES, zeros } from "../../durable/model/outcome.ts";
import type { Report } from "../../durable/model/sync.ts";
import { Counters } from "../../durable/state/counters.ts";
import type { SubChannel } from "../../worker/core/sub-channel.ts";
import { Tally } from "../../worker/core/tally.ts";
import { AT_ONCE, backendId, NOON, snapshot, subChannel } from "./support/build.ts";

function channels(...ids: readonly string[]): readonly SubChannel[] {
  return snapshot(Object.fromEntries(ids.map((id) => [id, 1]))).backends.map((backend) =>
    subChannel(backend),
  );
}

it("folds what happened into one report", () => {
  const [a, b] = channels("a", "b");
  const tally = new Tally();
  for (const outcome of ["answered", "answered", "timed_out"] as const) a?.count(outcome, AT_ONCE);
  tally.countProtocol("HTTP/3");
  tally.countIncident("no_backend");
  for (const incident of ["migration", "migration", "session_refused"] as const)
    tally.countIncident(incident);
  for (const fate of ["kept", "kept", "drained", "unknown"] as const) tally.countSession(fate);
  expect(
    tally.take(
      [a, b].filter((channel) => channel !== undefined),
      NOON,
    ),
  ).toEqual({
    batch: 0,
    ageMs: 0,
    backends: [
      {
        id: "a",
        outcomes: { ...zeros(OUTCOMES), answered: 2, timed_out: 1 },
        latencyMs: { success: 0, failure: 0 },
        gatewayRun: { length: 1, isWhole: false },
        announced: null,
        announcedAfterMs: 0,
        ageMs: 0,
        skipping: false,
      },
    ],
    protocols: { "HTTP/1.0": 0, "HTTP/1.1": 0, "HTTP/2": 0, "HTTP/3": 1, other: 0 },
    incidents: { ...zeros(INCIDENTS), no_backend: 1, session_refused: 1, migration: 2 },
    sessions: { ...zeros(SESSION_FATES), kept: 2, drained: 1, unknown: 1 },
  });
});

it("counts every fate of a session, and every incident, under its own name", () => {
  const tally = new Tally();
  SESSION_FATES.forEach((fate, index) => {
    for (let count = 0; count <= index; count++) tally.countSession(fate);
  });
  for (const incident of INCIDENTS) tally.countIncident(incident);
  const { sessions, incidents } = tally.take([], NOON);
  expect(SESSION_FATES.map((fate) => sessions[fate])).toEqual(SESSION_FATES.map((_, index) => index + 1));
  expect(INCIDENTS.map((incident) => incidents[incident])).toEqual(INCIDENTS.map(() => 1));
});

it("begins to count sessions anew with every report, and counts what comes while one is out for the next", () => {
  const tally = new Tally();
  tally.countSession("kept");
  const first = tally.take([], NOON);
  tally.countSession("expired");
  tally.acknowledge(first.batch);
  expect(first.sessions).toEqual({ ...zeros(SESSION_FATES), kept: 1 });
  expect(tally.take([], NOON).sessions).toEqual({ ...zeros(SESSION_FATES), expired: 1 });
});

it("sends a report again, as it was, until it is acknowledged", () => {
  const tally = new Tally();
  tally.countProtocol("HTTP/2");
  const first = tally.take([], NOON);
  const copy = structuredClone(first);
  tally.countProtocol("HTTP/2");
  expect(tally.take([], NOON)).toEqual(copy);
  tally.acknowledge(first.batch);
  expect(tally.take([], NOON)).toMatchObject({ batch: 1, protocols: { "HTTP/2": 1 } });
});

it("takes an acknowledgement that comes late for no other report", () => {
  const tally = new Tally();
  tally.take([], NOON);
  tally.acknowledge(0);
  const second = tally.take([], NOON);
  tally.acknowledge(0);
  expect(tally.take([], NOON)).toEqual(second);
});

it("adds up at the ring to what happened, though syncs are lost, sent again and overtaken", () => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("count"),
        backend: fc.nat({ max: 1 }),
        outcome: fc.constantFrom(...OUTCOMES),
      }),
    },
    { weight: 2, arbitrary: fc.constant({ kind: "send" as const }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("arrive"),
        which: fc.nat({ max: 3 }),
        isReplyLost: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose"), which: fc.nat({ max: 3 }) }) },
    { weight: 1, arbitrary: fc.constant({ kind: "acknowledge" as const }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const world = new ReportingWorld();
      for (const each of steps) world.take(each);
      world.settle();
      expect(world.counted()).toEqual(world.happened);
    }),
    { numRuns: 500 },
  );
});

type Step =
  | { readonly kind: "count"; readonly backend: number; readonly outcome: Outcome }
  | { readonly kind: "send" | "acknowledge" }
  | { readonly kind: "arrive"; readonly which: number; readonly isReplyLost: boolean }
  | { readonly kind: "lose"; readonly which: number };

/** One isolate that reports to the counters of a ring, with several syncs on their way. */
class ReportingWorld {
  readonly happened = [zeros(OUTCOMES), zeros(OUTCOMES)];
  readonly #ids = [backendId("a"), backendId("b")];
  readonly #channels = channels("a", "b");
  readonly #tally = new Tally();
  readonly #counters = new Counters();
  #onTheWay: readonly Report[] = [];
  #replies: readonly number[] = [];

  constructor() {
    this.#counters.keepBackends(this.#ids);
  }

  take(step: Step): void {
    switch (step.kind) {
      case "count": {
        this.#channels[step.backend]?.count(step.outcome, AT_ONCE);
        const happened = this.happened[step.backend];
        if (happened !== undefined) happened[step.outcome]++;
        return;
      }
      case "send":
        this.#onTheWay = [...this.#onTheWay, structuredClone(this.#tally.take(this.#channels, NOON))];
        return;
      case "arrive": {
        const report = this.#onTheWay[step.which];
        if (report === undefined) return;
        this.#counters.add("isolate", report);
        this.#onTheWay = this.#onTheWay.filter((other) => other !== report);
        if (!step.isReplyLost) this.#replies = [...this.#replies, report.batch];
        return;
      }
      case "lose":
        this.#onTheWay = this.#onTheWay.filter((_, index) => index !== step.which);
        return;
      case "acknowledge":
        for (const batch of this.#replies) this.#tally.acknowledge(batch);
        this.#replies = [];
    }
  }

  /** Two syncs that go well: one for what is not acknowledged yet, one for what came after it. */
  settle(): void {
    for (let sync = 0; sync < 2; sync++) {
      this.#onTheWay = [];
      this.take({ kind: "send" });
      this.take({ kind: "arrive", which: 0, isReplyLost: false });
      this.take({ kind: "acknowledge" });
    }
  }

  counted(): readonly Readonly<Record<Outcome, number>>[] {
    return this.#ids.map((id) => this.#counters.outcomes(id));
  }
}
