import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EJECTION_CAUSES, type PassiveState } from "../../durable/model/health.ts";
import { type HealthCheck } from "../../durable/model/health-check.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { mayEject, type PassiveEvent, stepPassive } from "../../durable/state/ejection.ts";
import { isServing, isWanted } from "../../durable/state/health.ts";
import type { HeldBackend, LiveRing } from "../../durable/state/ring-state.ts";
import { NOON, pool } from "./support/build.ts";
import { Court } from "./support/court.ts";
import { report } from "./support/reports.ts";

const { health } = DEFAULT_POOL_CONFIG;

const IN: PassiveState = { kind: "in", times: 0, isolationMs: 0, sinceMs: NOON };
const OUT: PassiveState = {
  kind: "ejected",
  cause: "failure_percentage",
  times: 1,
  isolationMs: 0,
  sinceMs: NOON,
  untilMs: after(NOON, 30_000),
};

function observed(changed: Partial<HeldBackend["observed"]>): Pick<HeldBackend, "observed"> {
  const probe = { verdict: null, isStopping: false, streak: 0, sinceMs: NOON };
  return { observed: { probe, passive: IN, announced: null, ...changed } };
}

/** So many backends, of which the first are ejected. */
function backends(count: number, ejected = 0, changed: Partial<HeldBackend> = {}): readonly HeldBackend[] {
  const told = Array.from({ length: count }, (_, index) => [
    `b${index}`,
    { ...observed({ passive: index < ejected ? OUT : IN }), ...(index === 0 ? changed : {}) },
  ]);
  return pool(Object.fromEntries(told)).backends;
}

/** How many of a pool may be ejected, one after another. */
function most(count: number, rules: Partial<HealthCheck["ejection"]> = {}): number {
  let ejected = 0;
  while (ejected < count && mayEject(backends(count, ejected), { ...health.ejection, ...rules })) ejected++;
  return ejected;
}

describe("the guard", () => {
  it.each([
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 1],
    [5, 1],
    [10, 1],
    [19, 1],
    [20, 2],
    [30, 3],
    [1_000, 100],
  ])("lets of %i backends at most %i go", (count, ejected) => {
    expect(most(count)).toBe(ejected);
  });

  it.each([
    ["100 % may go, but half stays", 5, { maxPercent: 100 }, 2],
    ["none has to stay", 5, { maxPercent: 100, minAvailablePercent: 0 }, 5],
    ["of one, if none has to stay", 1, { minAvailablePercent: 0 }, 1],
    ["all have to stay", 5, { maxPercent: 100, minAvailablePercent: 100 }, 0],
    ["none may go: one may all the same", 5, { maxPercent: 0 }, 1],
  ])("%s", (_, count, rules, ejected) => {
    expect(most(count, rules)).toBe(ejected);
  });

  it("counts those out of service for another reason as not available", () => {
    const ill = observed({ probe: { verdict: "unhealthy", isStopping: false, streak: 0, sinceMs: NOON } });
    const stopping = observed({ announced: { word: "draining", untilMs: after(NOON, 1) } });
    const pinned = { pin: { health: "unhealthy", reason: "looks bad", untilMs: after(NOON, 1) } } as const;
    for (const changed of [ill, stopping, pinned]) {
      expect(mayEject(backends(2, 0, changed), health.ejection)).toBe(false);
      expect(mayEject(backends(4, 0, changed), health.ejection)).toBe(true);
    }
  });

  it("counts only those that are wanted as the pool, and those ejected whether wanted or not", () => {
    expect(mayEject(backends(2, 0, { weight: 0 }), health.ejection)).toBe(false);
    expect(mayEject(backends(3, 0, { admin: { kind: "disabled" } }), health.ejection)).toBe(true);
    expect(mayEject(backends(3, 1, { admin: { kind: "disabled" } }), health.ejection)).toBe(false);
  });

  it("is not deceived by a pin that says that an ejected one is well", () => {
    const pin = { health: "healthy", reason: "it must serve", untilMs: after(NOON, 1) } as const;
    expect(mayEject(backends(3, 1, { pin }), health.ejection)).toBe(false);
    expect(mayEject(backends(3, 1, { pin }), { ...health.ejection, maxPercent: 100 })).toBe(false);
  });
});

describe("how long a backend is out", () => {
  const eject = (
    passive: PassiveState,
    nowMs: EpochMs,
    cause: PassiveEvent & { kind: "eject" } = PERCENTAGE,
  ) => stepPassive(passive, cause, health, nowMs);
  const PERCENTAGE = { kind: "eject", cause: "failure_percentage" } as const;

  /** Ejected as soon as it is back, so many times; how long each lasted, in seconds. */
  function lasted(count: number, heldMs: number, cause: PassiveEvent & { kind: "eject" }): readonly number[] {
    let passive: PassiveState = IN;
    let nowMs = NOON;
    return Array.from({ length: count }, () => {
      nowMs = after(nowMs, heldMs);
      passive = eject(passive, nowMs, cause);
      if (passive.kind !== "ejected") throw new Error("is still in");
      const forMs = passive.untilMs - nowMs;
      nowMs = passive.untilMs;
      passive = stepPassive(passive, { kind: "time" }, health, nowMs);
      return forMs / 1_000;
    });
  }

  it("grows by the base time with every ejection, up to the longest", () => {
    expect(lasted(12, 5_000, PERCENTAGE)).toEqual([30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
  });

  it("is less again by one base time for every base time in service", () => {
    const often: PassiveState = { ...IN, times: 4 };
    const times = (heldMs: number) => eject(often, after(NOON, heldMs)).times;
    expect([0, 29_999, 30_000, 60_000, 120_000, 999_000].map(times)).toEqual([5, 5, 4, 3, 1, 1]);
    // What would have lasted longer than the longest is not remembered.
    expect(eject({ ...IN, times: 10 }, NOON).times).toBe(10);
  });

  it("doubles with the breaker, which leaves the other times as they are", () => {
    expect(lasted(4, 5_000, { kind: "eject", cause: "breaker" })).toEqual([0.1, 0.2, 0.4, 0.8]);
    expect(lasted(3, 30_000, { kind: "eject", cause: "breaker" })).toEqual([0.1, 0.1, 0.1]);
    const isolated = eject({ ...IN, times: 3 }, NOON, { kind: "eject", cause: "breaker" });
    expect(isolated).toMatchObject({ times: 3, isolationMs: 100 });
    expect(eject({ ...IN, isolationMs: 400 }, NOON)).toMatchObject({ isolationMs: 400, times: 1 });
  });

  it("doubles with a trial that failed, however long it took", () => {
    const trial: PassiveState = { ...IN, kind: "half_open", isolationMs: 800 };
    const failed = eject(trial, after(NOON, 3_600_000), { kind: "eject", cause: "breaker" });
    expect(failed).toMatchObject({ kind: "ejected", isolationMs: 1_600 });
  });
});

describe("the states of passive observation", () => {
  const CONFIG = fc
    .record({ halfOpenSuccesses: fc.constantFrom(0, 3), enforce: fc.boolean() })
    .map((changed): HealthCheck => {
      const breaker = Object.assign({}, health.breaker, changed);
      return Object.assign({}, health, { breaker });
    });
  const CAUSE = fc.constantFrom(...EJECTION_CAUSES);
  const EVENT: fc.Arbitrary<PassiveEvent> = fc.oneof(
    fc.record({ kind: fc.constant("eject"), cause: CAUSE }),
    fc.record({ kind: fc.constantFrom("time", "trial_passed", "probe_passed") }),
  );
  const REMEMBERED = {
    times: fc.nat({ max: 20 }),
    isolationMs: fc.nat({ max: 30_000 }),
    sinceMs: fc.constant(NOON),
  };
  const STATE: fc.Arbitrary<PassiveState> = fc.oneof(
    fc.record({ kind: fc.constantFrom("in", "half_open"), ...REMEMBERED }),
    fc.record({
      kind: fc.constant("ejected"),
      cause: CAUSE,
      untilMs: fc.nat({ max: 300_000 }).map((ms) => after(NOON, ms)),
      ...REMEMBERED,
    }),
  );

  it("know what to do with every event, and do nothing twice", () => {
    fc.assert(
      fc.property(STATE, EVENT, CONFIG, fc.nat({ max: 600_000 }), (state, event, config, laterMs) => {
        const nowMs = after(NOON, laterMs);
        const next = stepPassive(state, event, config, nowMs);
        expect(stepPassive(next, event, config, nowMs)).toBe(next);
        expect(next === state || next.kind === "in" || next.sinceMs === nowMs).toBe(true);
        expect(next.times).toBeLessThanOrEqual(Math.max(10, state.times));
        expect(next.kind).toBe(kindAfter(state, event, config, nowMs));
      }),
    );
  });

  it("are never ejected for longer than the longest ejection", () => {
    fc.assert(
      fc.property(STATE, CAUSE, CONFIG, fc.nat({ max: 600_000 }), (state, cause, config, laterMs) => {
        const nowMs = after(NOON, laterMs);
        fc.pre(state.kind !== "ejected");
        const next = stepPassive(state, { kind: "eject", cause }, config, nowMs);
        const forMs = next.kind === "ejected" ? next.untilMs - nowMs : null;
        expect(forMs).toBeGreaterThanOrEqual(cause === "breaker" ? 100 : 30_000);
        expect(forMs).toBeLessThanOrEqual(cause === "breaker" ? 30_000 : 300_000);
      }),
    );
  });
});

describe("over any history", () => {
  const RULES = fc.record({
    maxPercent: fc.constantFrom(0, 10, 34, 100),
    minAvailablePercent: fc.constantFrom(0, 50, 67),
    halfOpenSuccesses: fc.constantFrom(0, 50),
  });

  it("no ejection crosses the guard", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: IDS.length }),
        RULES,
        fc.array(STEP, { maxLength: 40 }),
        (size, { halfOpenSuccesses, ...guard }, steps) => {
          const ejection = { ...health.ejection, ...guard };
          const breaker = { ...health.breaker, halfOpenSuccesses };
          const members = Object.fromEntries(IDS.slice(0, size).map((id) => [id, 1]));
          const court = new Court(pool(members, { health: { ...health, ejection, breaker } }));
          for (const step of steps) {
            const before = out(court.ring);
            const ejected = take(court, step);
            expect(out(court.ring) - before).toBeLessThanOrEqual(ejected);
            expect(ejected === 0 || isWithin(court.ring, ejection)).toBe(true);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

const IDS = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

type Step =
  | {
      readonly kind: "report";
      readonly ids: readonly string[];
      readonly answered: number;
      readonly timed_out: number;
    }
  | { readonly kind: "wait"; readonly forMs: number }
  | { readonly kind: "change"; readonly id: string; readonly changed: Partial<HeldBackend> }
  | { readonly kind: "probe"; readonly id: string; readonly verdict: "healthy" | "unhealthy" }
  | { readonly kind: "evict" };

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("report"),
      ids: fc.uniqueArray(fc.constantFrom(...IDS), { minLength: 1 }),
      answered: fc.constantFrom(0, 20, 800),
      timed_out: fc.constantFrom(0, 1, 60, 200),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wait"), forMs: fc.nat({ max: 40_000 }) }) },
  fc.record({
    kind: fc.constant("change"),
    id: fc.constantFrom(...IDS),
    changed: fc.constantFrom<Partial<HeldBackend>[]>(
      { admin: { kind: "disabled" } },
      { admin: { kind: "active" } },
      { pin: { health: "healthy", reason: "may serve", untilMs: after(NOON, 60_000) } },
      { pin: { health: "unhealthy", reason: "may not", untilMs: after(NOON, 60_000) } },
      { pin: null },
    ),
  }),
  fc.record({
    kind: fc.constant("probe"),
    id: fc.constantFrom(...IDS),
    verdict: fc.constantFrom("healthy", "unhealthy"),
  }),
  fc.record({ kind: fc.constant("evict") }),
);

/** Takes one step; how many were ejected by it. */
function take(court: Court, step: Step): number {
  switch (step.kind) {
    case "report": {
      const { answered, timed_out } = step;
      const happened = court.hear(
        report(Object.fromEntries(step.ids.map((id) => [id, { answered, timed_out }]))),
      );
      return happened.filter(({ kind }) => kind === "ejected").length;
    }
    case "wait":
      court.wait(step.forMs);
      return 0;
    case "change":
      court.change(step.id, step.changed);
      return 0;
    case "probe": {
      const held = court.ring.backends.find(({ id }) => id === step.id);
      if (held === undefined) return 0;
      const probe = { ...held.observed.probe, verdict: step.verdict };
      court.change(step.id, { observed: { ...held.observed, probe } });
      return 0;
    }
    case "evict":
      court.evict();
      return 0;
  }
}

/** What each state makes of each event, as a table. */
function kindAfter(
  state: PassiveState,
  event: PassiveEvent,
  { breaker }: HealthCheck,
  nowMs: EpochMs,
): PassiveState["kind"] {
  if (state.kind !== "ejected") {
    if (event.kind === "eject") return "ejected";
    return event.kind === "trial_passed" ? "in" : state.kind;
  }
  const isOver = event.kind === "probe_passed" || (event.kind === "time" && state.untilMs <= nowMs);
  if (!isOver) return "ejected";
  return state.cause === "breaker" && breaker.enforce && breaker.halfOpenSuccesses > 0 ? "half_open" : "in";
}

/** How many are ejected. */
function out(ring: LiveRing): number {
  return ring.backends.filter(({ observed: { passive } }) => passive.kind === "ejected").length;
}

/** Whether the guard's limits hold. */
function isWithin(ring: LiveRing, { maxPercent, minAvailablePercent }: HealthCheck["ejection"]): boolean {
  const wanted = ring.backends.filter(isWanted);
  const serving = wanted.filter(isServing).length;
  return (
    out(ring) <= Math.max(1, Math.floor((wanted.length * maxPercent) / 100)) &&
    serving * 100 >= minAvailablePercent * wanted.length
  );
}
