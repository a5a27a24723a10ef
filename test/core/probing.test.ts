import * as fc from "fast-check";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import type { BegunProbe, ProbeResult, ProbeState } from "../../durable/model/health.ts";
import type { Probe } from "../../durable/model/health-check.ts";
import { PoolConfigSchema } from "../../durable/model/pool.ts";
import { after, epochMs } from "../../durable/model/time.ts";
import { healthOf, unobserved } from "../../durable/state/health.ts";
import { applyProbe, forgetProbes, stepProbe } from "../../durable/state/probing.ts";
import type { HeldBackend, LiveRing } from "../../durable/state/ring-state.ts";
import { backendId, NOON, pool } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";

const RULES = { rise: 2, fall: 3 };
const PASSED: ProbeResult = {
  kind: "passed",
  health: "healthy",
  isStopping: false,
  evidence: "status 200",
  tookMs: 5,
};
const DEGRADED: ProbeResult = { ...PASSED, health: "degraded" };
const STOPPING: ProbeResult = { ...PASSED, isStopping: true, evidence: "status 404" };
const FAILED: ProbeResult = { kind: "failed", isImmediate: false, evidence: "status 500", tookMs: 5 };
const GIVEN_UP: ProbeResult = { ...FAILED, isImmediate: true };

const UNKNOWN: ProbeState = { verdict: null, isStopping: false, streak: 0, sinceMs: NOON };
const WAITING: ProbeState = { ...UNKNOWN, verdict: "waiting" };
const HEALTHY: ProbeState = { ...UNKNOWN, verdict: "healthy" };
const UNHEALTHY: ProbeState = { ...UNKNOWN, verdict: "unhealthy" };

/** The state after each of some results, one a second. */
function verdicts(state: ProbeState, results: readonly ProbeResult[], rules = RULES): readonly unknown[] {
  let held = state;
  return results.map((result, index) => {
    held = stepProbe(frozen(held), result, rules, after(NOON, 1_000 * (index + 1)));
    return held.isStopping ? "stopping" : held.verdict;
  });
}

describe("a backend's probes", () => {
  it("make it unhealthy after as many failures in a row as `fall` says", () => {
    const seen = verdicts(HEALTHY, [FAILED, FAILED, PASSED, FAILED, FAILED, FAILED]);
    expect(seen.join()).toBe("healthy,healthy,healthy,healthy,healthy,unhealthy");
  });

  it("make it healthy after as many successes in a row as `rise` says", () => {
    const seen = verdicts(UNHEALTHY, [PASSED, FAILED, PASSED, PASSED]);
    expect(seen.join()).toBe("unhealthy,unhealthy,unhealthy,healthy");
  });

  it("decide with the first of them where it waited", () => {
    expect(verdicts(WAITING, [PASSED])).toEqual(["healthy"]);
    expect(verdicts(WAITING, [FAILED, PASSED, PASSED])).toEqual(["unhealthy", "unhealthy", "healthy"]);
  });

  it("leave it the benefit of the doubt until one succeeds, or as many fail as `fall` says", () => {
    expect(verdicts(UNKNOWN, [FAILED, FAILED, PASSED])).toEqual([null, null, "healthy"]);
    expect(verdicts(UNKNOWN, [FAILED, FAILED, FAILED])).toEqual([null, null, "unhealthy"]);
  });

  it("make it unhealthy at once where a response says so", () => {
    expect(verdicts(HEALTHY, [FAILED, GIVEN_UP])).toEqual(["healthy", "unhealthy"]);
  });

  it("make it degraded and stopping, and neither any more, at once", () => {
    const seen = verdicts(HEALTHY, [DEGRADED, PASSED, STOPPING, FAILED, PASSED]);
    expect(seen.join()).toBe("degraded,healthy,stopping,stopping,healthy");
  });

  it("say since when the verdict holds, whatever speaks against it meanwhile", () => {
    const later = after(NOON, 5_000);
    expect(stepProbe(HEALTHY, FAILED, RULES, later)).toEqual({ ...HEALTHY, streak: 1 });
    expect(stepProbe({ ...HEALTHY, streak: 2 }, FAILED, RULES, later)).toEqual({
      ...UNHEALTHY,
      sinceMs: later,
    });
  });

  it("change nothing, not even the object, when they say the same again", () => {
    expect(stepProbe(HEALTHY, PASSED, RULES, after(NOON, 1))).toBe(HEALTHY);
    expect(stepProbe(UNHEALTHY, FAILED, RULES, after(NOON, 1))).toBe(UNHEALTHY);
  });
});

const RESULT: fc.Arbitrary<ProbeResult> = fc.constantFrom(PASSED, DEGRADED, STOPPING, FAILED, GIVEN_UP);
const COUNT = fc.integer({ min: 1, max: 5 });

/** As a reader of the configuration would say it: by the whole history, and no counters. */
function naiveVerdict(start: ProbeState, history: readonly ProbeResult[], rise: number, fall: number) {
  let verdict = start.verdict;
  let from = 0;
  history.forEach((result, index) => {
    const since = history.slice(from, index + 1);
    const run = (kind: string): number => {
      const last = since.findLastIndex((each) => each.kind !== kind);
      return since.length - 1 - last;
    };
    const isDown = verdict === "unhealthy";
    const turnsUp = result.kind === "passed" && isDown && run("passed") >= rise;
    const isFatal = result.kind === "failed" && (result.isImmediate || verdict === "waiting");
    const turnsDown = !isDown && (isFatal || run("failed") >= fall);
    if (turnsDown) verdict = "unhealthy";
    else if (result.kind === "passed" && (!isDown || turnsUp)) verdict = result.health;
    if (turnsUp || turnsDown) from = index + 1;
  });
  return verdict;
}

it("say of every history what rise and fall mean, counted by hand", () => {
  const start = fc.constantFrom(UNKNOWN, WAITING, HEALTHY, UNHEALTHY);
  fc.assert(
    fc.property(start, fc.array(RESULT, { maxLength: 40 }), COUNT, COUNT, (state, history, rise, fall) => {
      const stepped = history.reduce(
        (held, result) => stepProbe(held, result, { rise, fall }, NOON),
        frozen(state),
      );
      expect(stepped.verdict).toBe(naiveVerdict(state, history, rise, fall));
    }),
    { numRuns: 2_000 },
  );
});

it("step from every state by every result to a state whose parts go together", () => {
  const state = fc.record({
    verdict: fc.constantFrom(null, "waiting", "healthy", "degraded", "unhealthy"),
    isStopping: fc.boolean(),
    streak: fc.nat({ max: 200 }),
    sinceMs: fc.constant(NOON),
  });
  fc.assert(
    fc.property(state, RESULT, COUNT, COUNT, (from, result, rise, fall) => {
      const to = stepProbe(frozen(from as ProbeState), result, { rise, fall }, after(NOON, 1));
      expect(to.streak).toBeLessThan(Math.max(rise, fall));
      expect(to.verdict).not.toBe("waiting");
      const hasTurned = to.verdict !== from.verdict;
      expect(to.sinceMs).toBe(hasTurned ? NOON + 1 : NOON);
      expect(hasTurned && to.streak > 0).toBe(false);
    }),
  );
});

/** A pool that is probed; what is said of the probe is laid over the defaults. */
function probed(
  backends: Parameters<typeof pool>[0],
  probe: object = {},
): { readonly ring: LiveRing; readonly probe: Probe; readonly task: (id: string) => BegunProbe } {
  const config = v.parse(PoolConfigSchema, { health: { probe: { kind: "http", ...probe } } });
  const ring = pool(backends, config);
  const set = config.health.probe;
  if (set === null) throw new Error("there is no probe");
  return {
    ring: frozen(ring),
    probe: set,
    task: (id) => ({
      id: backendId(id),
      url: `https://${id}.example`,
      via: null,
      probe: set,
      startedMs: NOON,
    }),
  };
}

function observed(probe: Partial<ProbeState>, more: Partial<HeldBackend["observed"]> = {}) {
  const unknown = {
    passive: { kind: "in", times: 0, isolationMs: 0, sinceMs: NOON },
    announced: null,
  } as const;
  return { observed: { ...unknown, ...more, probe: { ...UNKNOWN, ...probe } } };
}

const LATER = after(NOON, 60_000);

describe("the result of a probe", () => {
  it("makes a version, and an event with what was seen, when the verdict turns", () => {
    const { ring, task } = probed({ a: observed({ verdict: "healthy", streak: 2 }), b: 1 });
    const { state, occurrences } = applyProbe(ring, task("a"), FAILED, LATER);
    expect(state.version).toBe(ring.version + 1);
    expect(state.backends.map(healthOf)).toEqual(["unhealthy", "healthy"]);
    const evidence = { seen: "status 500", tookMs: 5, streak: 3 };
    expect(occurrences).toEqual([{ atMs: LATER, backend: "a", kind: "unhealthy", cause: "probe", evidence }]);
  });

  it("begins the slow start of a backend that comes back anew", () => {
    const { ring, task } = probed({ a: observed({ verdict: "unhealthy", streak: 1 }) });
    expect(applyProbe(ring, task("a"), PASSED, LATER).state.backends).toMatchObject([
      { servingSinceMs: LATER },
    ]);
  });

  it("is counted without a version and without an event while it decides nothing", () => {
    const { ring, task } = probed({ a: observed({ verdict: "healthy" }) });
    const { state, occurrences } = applyProbe(ring, task("a"), FAILED, LATER);
    expect(state).toMatchObject({
      version: ring.version,
      backends: [{ observed: { probe: { streak: 1 } } }],
    });
    expect(occurrences).toEqual([]);
  });

  it("changes nothing at all, so that nothing is written, when it says the same again", () => {
    const { ring, task } = probed({
      a: observed({ verdict: "healthy" }),
      b: observed({ verdict: "unhealthy" }),
    });
    expect(applyProbe(ring, task("a"), PASSED, LATER)).toEqual({ state: ring, occurrences: [] });
    expect(applyProbe(ring, task("a"), PASSED, LATER).state).toBe(ring);
    expect(applyProbe(ring, task("b"), FAILED, LATER).state).toBe(ring);
  });

  it.each([
    ["a backend that is gone", (task: BegunProbe) => ({ ...task, id: backendId("z") })],
    ["another URL", (task: BegunProbe) => ({ ...task, url: "https://other.example" })],
    ["another binding", (task: BegunProbe) => ({ ...task, via: "VPC" })],
    ["one removed since, of the same name", (task: BegunProbe) => ({ ...task, startedMs: epochMs(-1) })],
    ["another probe", (task: BegunProbe) => ({ ...task, probe: { ...task.probe, timeoutMs: 1 } })],
  ])("is dropped when it is of %s", (_, change) => {
    const { ring, task } = probed({ a: observed({ verdict: "waiting" }) });
    expect(applyProbe(ring, task("a"), PASSED, LATER).state).not.toBe(ring);
    expect(applyProbe(ring, change(task("a")), PASSED, LATER).state).toBe(ring);
  });

  it.each([
    ["healthy", { verdict: "unhealthy", streak: 1 }, PASSED],
    ["healthy", { verdict: "waiting" }, PASSED],
    ["degraded", { verdict: "healthy" }, DEGRADED],
    ["stopping", { verdict: "healthy" }, STOPPING],
    ["healthy", { verdict: "healthy", isStopping: true }, PASSED],
    ["unhealthy", { verdict: "waiting" }, FAILED],
  ] as const)("is told as %s", (kind, before, result) => {
    const { ring, task } = probed({ a: observed(before) });
    expect(applyProbe(ring, task("a"), result, LATER).occurrences).toMatchObject([{ kind }]);
  });

  it("is not told when it confirms what was assumed", () => {
    const { ring, task } = probed({ a: observed({ verdict: null }) });
    const { state, occurrences } = applyProbe(ring, task("a"), PASSED, LATER);
    expect(state).toMatchObject({ version: ring.version, backends: [{ observed: { probe: HEALTHY_NOW } }] });
    expect(occurrences).toEqual([]);
  });
});

const HEALTHY_NOW = { verdict: "healthy", sinceMs: LATER };

describe("an ejected backend", () => {
  const passive = {
    kind: "ejected",
    cause: "failure_percentage",
    times: 2,
    isolationMs: 0,
    sinceMs: NOON,
    untilMs: after(NOON, 600_000),
  } as const;

  it("returns by a successful probe, and keeps how often it was out", () => {
    const { ring, task } = probed({ a: observed({ verdict: "healthy" }, { passive }) });
    const { state, occurrences } = applyProbe(ring, task("a"), PASSED, LATER);
    expect(state).toMatchObject({
      version: ring.version + 1,
      backends: [
        {
          servingSinceMs: LATER,
          observed: { passive: { kind: "in", times: 2, isolationMs: 0, sinceMs: LATER } },
        },
      ],
    });
    expect(occurrences).toMatchObject([{ kind: "returned", cause: "probe" }]);
  });

  it("stays out by one that was begun before it was ejected, which counts for its verdict alone", () => {
    const { ring, task } = probed({ a: observed({ verdict: "healthy", streak: 1 }, { passive }) });
    const { state, occurrences } = applyProbe(
      ring,
      { ...task("a"), startedMs: after(NOON, -1) },
      PASSED,
      LATER,
    );
    expect(state.backends[0]?.observed).toMatchObject({ passive, probe: { streak: 0 } });
    expect(occurrences).toEqual([]);
  });

  it("stays out by a failed one, and by one that is not yet enough to make it healthy", () => {
    const { ring, task } = probed({
      a: observed({ verdict: "healthy" }, { passive }),
      b: observed({ verdict: "unhealthy" }, { passive }),
    });
    expect(applyProbe(ring, task("a"), FAILED, LATER).state.backends[0]?.observed.passive).toBe(passive);
    expect(applyProbe(ring, task("b"), PASSED, LATER).state.backends[1]?.observed.passive).toBe(passive);
  });

  it("returns together with the verdict of its probes, both told", () => {
    const { ring, task } = probed({ a: observed({ verdict: "unhealthy", streak: 1 }, { passive }) });
    const { occurrences } = applyProbe(ring, task("a"), PASSED, LATER);
    expect(occurrences.map(({ kind }) => kind)).toEqual(["healthy", "returned"]);
  });
});

describe("what probes have said", () => {
  it("is forgotten when there are none any more", () => {
    const { ring } = probed({ a: observed({ verdict: "unhealthy" }), b: observed({ streak: 2 }), c: 1 });
    expect(forgetProbes(ring.backends, null, LATER).map(({ observed: { probe } }) => probe)).toMatchObject([
      { verdict: null, streak: 0, sinceMs: LATER },
      { verdict: null, streak: 0, sinceMs: LATER },
      { verdict: null },
    ]);
  });

  it("stays when the probe becomes another", () => {
    const { ring, probe } = probed({ a: observed({ verdict: "unhealthy", streak: 1 }) });
    expect(forgetProbes(ring.backends, { ...probe, rise: 9 }, LATER)).toEqual(ring.backends);
  });

  it("is forgotten, even that nothing was said yet, of a backend that TCP cannot reach", () => {
    const { ring } = probed({
      a: { via: "VPC", ...observed({ verdict: "waiting" }) },
      b: observed({ verdict: "waiting" }),
    });
    const { health } = v.parse(PoolConfigSchema, { health: { probe: { kind: "tcp" } } });
    expect(forgetProbes(ring.backends, health.probe, LATER).map(healthOf)).toEqual(["healthy", "unhealthy"]);
  });
});

it("a new backend waits for its first probe only where that is configured", () => {
  const startsAs = "unhealthy";
  const { health } = v.parse(PoolConfigSchema, { health: { probe: { kind: "tcp" }, startsAs } });
  expect(unobserved(health, NOON).probe.verdict).toBe("waiting");
  expect(unobserved({ ...health, startsAs: "healthy" }, NOON).probe.verdict).toBeNull();
  expect(unobserved({ ...health, probe: null }, epochMs(0)).probe.verdict).toBeNull();
});
