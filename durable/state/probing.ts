import type { EventKind, Occurrence } from "../model/event.ts";
import type { BegunProbe, Health, ProbeResult, ProbeState } from "../model/health.ts";
import type { HealthCheck, Probe } from "../model/health-check.ts";
import type { EpochMs } from "../model/time.ts";
import { stepPassive } from "./ejection.ts";
import { withObserved } from "./health.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";

/** A pool of which something was observed, and what became of its backends by that. */
export interface Observation {
  /** The pool itself when nothing changed, not even a count. */
  readonly state: LiveRing;
  readonly occurrences: readonly Occurrence[];
}

/**
 * What probes say of a backend after one more of them. The verdict turns when as many results in a row as `rise` or `fall`
 * say speak against it. The first result of a backend that waited decides at once, and so does the first success of one
 * that nothing is known of. Between healthy, degraded and stopping every success decides. Returns the state itself when
 * nothing changes.
 */
export function stepProbe(
  state: ProbeState,
  result: ProbeResult,
  probe: Pick<Probe, "rise" | "fall">,
  nowMs: EpochMs,
): ProbeState {
  const streak = speaksAgainst(state, result) ? state.streak + 1 : 0;
  return streak > 0 && streak < neededBy(result, probe)
    ? { ...state, streak }
    : decided(state, result, nowMs);
}

function neededBy(result: ProbeResult, { rise, fall }: Pick<Probe, "rise" | "fall">): number {
  if (result.kind === "passed") return rise;
  return result.isImmediate ? 1 : fall;
}

/** Whether a result is one of those that are counted before the verdict turns. */
function speaksAgainst({ verdict }: ProbeState, { kind }: ProbeResult): boolean {
  return kind === "passed" ? verdict === "unhealthy" : verdict !== "unhealthy" && verdict !== "waiting";
}

function decided(state: ProbeState, result: ProbeResult, nowMs: EpochMs): ProbeState {
  const verdict = result.kind === "passed" ? result.health : "unhealthy";
  const isStopping = result.kind === "passed" && result.isStopping;
  const isSame = verdict === state.verdict;
  if (isSame && isStopping === state.isStopping && state.streak === 0) return state;
  return { verdict, isStopping, streak: 0, sinceMs: isSame ? state.sinceMs : nowMs };
}

/**
 * Takes over the result of a probe, unless the backend or its probe is another by now. A success that leaves a backend well
 * brings it back if it was ejected before the probe began. The version grows, and something is said, only if the backend's state turns.
 */
export function applyProbe(
  ring: LiveRing,
  task: BegunProbe,
  result: ProbeResult,
  nowMs: EpochMs,
): Observation {
  const before = ring.backends.find((backend) => backend.id === task.id);
  if (before === undefined || !isAsProbed(before, ring.config.health.probe, task)) {
    return { state: ring, occurrences: [] };
  }
  const after = observe(before, task, result, ring.config.health, nowMs);
  if (after === before) return { state: ring, occurrences: [] };
  const backends = ring.backends.map((backend) => (backend === before ? after : backend));
  return {
    state: withObserved(ring, backends, nowMs),
    occurrences: kindsOf(before, after).map((kind) => ({
      atMs: nowMs,
      backend: task.id,
      kind,
      cause: "probe",
      evidence: evidenceOf(before.observed.probe, result),
    })),
  };
}

function isAsProbed(backend: HeldBackend, probe: Probe | null, task: BegunProbe): boolean {
  return (
    backend.addedMs <= task.startedMs &&
    backend.url === task.url &&
    backend.via === task.via &&
    JSON.stringify(probe) === JSON.stringify(task.probe)
  );
}

function observe(
  backend: HeldBackend,
  task: BegunProbe,
  result: ProbeResult,
  health: HealthCheck,
  nowMs: EpochMs,
): HeldBackend {
  const { observed } = backend;
  const probe = stepProbe(observed.probe, result, task.probe, nowMs);
  const isNews = observed.passive.sinceMs <= task.startedMs;
  const hasPassed = isNews && result.kind === "passed" && probe.verdict !== "unhealthy";
  const passive = hasPassed
    ? stepPassive(observed.passive, { kind: "probe_passed" }, health, nowMs)
    : observed.passive;
  if (probe === observed.probe && passive === observed.passive) return backend;
  return { ...backend, observed: { ...observed, probe, passive } };
}

function kindsOf(before: HeldBackend, after: HeldBackend): readonly EventKind[] {
  const said = wordOf(after.observed.probe);
  const kinds: EventKind[] = [];
  if (said !== "waiting" && said !== wordOf(before.observed.probe)) kinds.push(said);
  if (after.observed.passive.kind !== before.observed.passive.kind) kinds.push("returned");
  return kinds;
}

/** What a state is called in events; that nothing is known of a healthy backend makes no difference there. */
function wordOf({ verdict, isStopping }: ProbeState): Health | "stopping" | "waiting" {
  return isStopping ? "stopping" : (verdict ?? "healthy");
}

function evidenceOf(before: ProbeState, result: ProbeResult): Occurrence["evidence"] {
  const streak = speaksAgainst(before, result) ? before.streak + 1 : 1;
  return { seen: result.evidence, tookMs: result.tookMs, streak };
}

/** Whether a backend can be probed at all: TCP goes to an address, and what a binding leads to has none. */
export function canProbe({ via }: Pick<HeldBackend, "via">, probe: Probe): boolean {
  return probe.kind === "http" || via === null;
}

/** Backends of which those that are probed no more keep nothing of what probes once said: they have the benefit of the doubt. */
export function forgetProbes<Probed extends Pick<HeldBackend, "via" | "observed">>(
  backends: readonly Probed[],
  probe: Probe | null,
  nowMs: EpochMs,
): readonly Probed[] {
  return backends.map((backend) => {
    const { observed } = backend;
    const isKnown = observed.probe.verdict !== null || observed.probe.streak > 0;
    if (!isKnown || (probe !== null && canProbe(backend, probe))) return backend;
    const unknown: ProbeState = { verdict: null, isStopping: false, streak: 0, sinceMs: nowMs };
    return { ...backend, observed: { ...observed, probe: unknown } };
  });
}
