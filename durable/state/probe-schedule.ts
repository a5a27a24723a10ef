import type { BegunProbe, ProbeTask } from "../model/health.ts";
import type { Probe } from "../model/health-check.ts";
import type { BackendId } from "../model/names.ts";
import { after, type EpochMs, earliest, epochMs, later } from "../model/time.ts";
import type { ProbesView } from "../model/view.ts";
import { canProbe } from "./probing.ts";
import type { HeldBackend, RingState } from "./ring-state.ts";

/** Probes that run at once. Six connections may wait for headers in an object, and one is left for other work. */
export const PROBES_AT_ONCE = 5;

/** When one backend is to be probed. */
interface Plan {
  task: ProbeTask;
  periodMs: number;
  dueMs: EpochMs;
  /** When its last probe began; null: none has since the object was loaded. */
  startedMs: EpochMs | null;
  /** The probe that is running; null: none is. */
  running: BegunProbe | null;
  /** How long the last one took; null: none has ended yet. */
  tookMs: number | null;
}

/**
 * Says which backend to probe next. Each has a grid of times of its own, which comes out of its id alone, so that probes
 * spread over the interval and an object that was evicted finds the same times again; how far the grid has been worked off
 * is what the object's alarm is set to. Lives in memory only.
 */
export class ProbeSchedule {
  readonly #plans = new Map<BackendId, Plan>();
  #probe: Probe | null = null;
  #running = 0;
  /** Times from here on are due, for the backends that the object is loaded with; null: it has been. */
  #resumesMs: EpochMs | null;

  /** @param resumesMs what the object's alarm was set to; now, where it was not. */
  constructor(resumesMs: EpochMs) {
    this.#resumesMs = resumesMs;
  }

  /**
   * Takes over which backends are probed, and how often: all that are not disabled. What comes to a pool that is in memory
   * already is due at once.
   */
  follow(ring: RingState, nowMs: EpochMs): void {
    const probe = ring.kind === "live" ? ring.config.health.probe : null;
    const backends = ring.kind === "live" && probe !== null ? ring.backends : [];
    const resumesMs = this.#resumesMs;
    this.#resumesMs = null;
    this.#probe = probe;
    const left = new Set(this.#plans.keys());
    for (const backend of backends) {
      if (probe === null || backend.admin.kind === "disabled" || !canProbe(backend, probe)) continue;
      left.delete(backend.id);
      const { id, url, via } = backend;
      const task: ProbeTask = { id, url, via, probe };
      const periodMs = periodOf(backend, probe);
      const plan = this.#plans.get(id);
      if (plan === undefined) {
        const dueMs = resumesMs === null ? nowMs : resumeMs(task, periodMs, resumesMs, nowMs);
        this.#plans.set(id, { task, periodMs, dueMs, startedMs: null, running: null, tookMs: null });
        continue;
      }
      plan.task = task;
      if (plan.periodMs === periodMs) continue;
      plan.periodMs = periodMs;
      plan.dueMs =
        plan.startedMs === null
          ? (earliest([plan.dueMs, gridTime(task, periodMs, nowMs)]) ?? plan.dueMs)
          : nextTime(plan, plan.startedMs);
    }
    for (const id of left) this.#plans.delete(id);
  }

  /** An alarm that was set to `resumesMs` woke the object: what was due from then on and has not been probed since is due. */
  catchUp(resumesMs: EpochMs, nowMs: EpochMs): void {
    for (const plan of this.#plans.values()) {
      if (plan.startedMs !== null) continue;
      const dueMs = resumeMs(plan.task, plan.periodMs, resumesMs, nowMs);
      if (dueMs < plan.dueMs) plan.dueMs = dueMs;
    }
  }

  /** Begins the probe that has been due for longest; null when none is, or as many run as may. */
  begin(nowMs: EpochMs): BegunProbe | null {
    const plan = this.#nextPlan();
    if (plan === null || plan.dueMs > nowMs) return null;
    this.#running += 1;
    const begun: BegunProbe = { ...plan.task, startedMs: nowMs };
    plan.running = begun;
    plan.startedMs = nowMs;
    plan.dueMs = nextTime(plan, nowMs);
    return begun;
  }

  /** A probe that was begun is over. Every one must be ended, also of a backend that is gone. */
  end(task: BegunProbe, tookMs: number, nowMs: EpochMs): void {
    this.#running -= 1;
    const plan = this.#plans.get(task.id);
    if (plan === undefined || plan.running !== task) return;
    plan.running = null;
    plan.tookMs = tookMs;
    plan.dueMs = nextTime(plan, nowMs);
  }

  /** When a probe can begin next; null: no sooner than another ends. */
  nextBeginMs(): EpochMs | null {
    return this.#nextPlan()?.dueMs ?? null;
  }

  /** When a probe is due next, whether or not it could begin then; null: never. */
  nextDueMs(): EpochMs | null {
    return earliest([...this.#plans.values()].map(({ dueMs }) => dueMs));
  }

  /** Null: the pool has no probe. */
  view(): ProbesView | null {
    if (this.#probe === null) return null;
    const { intervalMs } = this.#probe;
    const took = [...this.#plans.values()].flatMap(({ tookMs }) => (tookMs === null ? [] : [tookMs]));
    const meanMs = took.reduce((sum, each) => sum + each, 0) / Math.max(1, took.length);
    const neededMs = Math.ceil((meanMs * this.#plans.size) / PROBES_AT_ONCE);
    // No backend is probed twice at once, however few there are.
    const longestMs = took.reduce((longest, each) => Math.max(longest, each), 0);
    return { intervalMs, heldIntervalMs: Math.max(intervalMs, longestMs, neededMs) };
  }

  #nextPlan(): Plan | null {
    if (this.#running >= PROBES_AT_ONCE) return null;
    let next: Plan | null = null;
    for (const plan of this.#plans.values()) {
      if (plan.running === null && (next === null || plan.dueMs < next.dueMs)) next = plan;
    }
    return next;
  }
}

/** How often a backend is probed: more often while its verdict is about to turn, or is still to come. */
function periodOf({ observed }: HeldBackend, { intervalMs, changingIntervalMs }: Probe): number {
  const { verdict, streak } = observed.probe;
  const isChanging = streak > 0 || verdict === null || verdict === "waiting";
  return isChanging ? Math.min(intervalMs, changingIntervalMs) : intervalMs;
}

/** The next time of a grid after a probe began; half a period later at least, so that a late one brings no pair. */
function nextTime({ task, periodMs, startedMs }: Plan, nowMs: EpochMs): EpochMs {
  const soonestMs = startedMs === null ? nowMs : later(nowMs, after(startedMs, periodMs / 2));
  return gridTime(task, periodMs, soonestMs);
}

/** The first time since `resumesMs`; of a pause longer than the period only its end counts, or a backend would be due twice. */
function resumeMs(task: ProbeTask, periodMs: number, resumesMs: EpochMs, nowMs: EpochMs): EpochMs {
  return gridTime(task, periodMs, later(resumesMs, after(nowMs, -periodMs)));
}

/** The first time of a backend's grid that is not before `fromMs`. */
function gridTime({ id, probe }: ProbeTask, periodMs: number, fromMs: EpochMs): EpochMs {
  const phase = chance(id);
  const timeOf = (turn: number): number =>
    Math.round((turn + phase + (chance(`${id} ${turn}`) * probe.jitterPercent) / 100) * periodMs);
  // Two turns back, since phase and jitter each may move a time by a whole period.
  let turn = Math.floor(fromMs / periodMs) - 2;
  while (timeOf(turn) < fromMs) turn += 1;
  return epochMs(timeOf(turn));
}

/** A number 0…1 that is always the same for a text, and has nothing to do with that of a similar one. */
function chance(text: string): number {
  // FNV-1a, and the last step of MurmurHash3 (fmix32), without which texts with another last letter stay neighbours.
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
