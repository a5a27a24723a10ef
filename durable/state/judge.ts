import type { EventKind, Occurrence } from "../model/event.ts";
import type { Announced, EjectionCause } from "../model/health.ts";
import type { HealthCheck } from "../model/health-check.ts";
import type { BackendId } from "../model/names.ts";
import { after, type EpochMs } from "../model/time.ts";
import { mayEject, stepPassive } from "./ejection.ts";
import type { Evidence, Said } from "./evidence.ts";
import { isWanted, withObserved } from "./health.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";

/**
 * A word of a backend about itself holds so long, milliseconds. Said again while more than half of that is left, it is not
 * put off, so after it was last said it holds for at least half of this.
 */
const ANNOUNCED_MS = 60_000;

/** Kinds of events that lead to nothing. */
const NOTES = ["suspected", "spared"] as const;
type NoteKind = (typeof NOTES)[number];

/** So many backends are named where many are told of together. */
const NAMED_BACKENDS = 5;

/** A pool after it was looked at, and what happened. The state is the old one where nothing changed. */
export interface Judged {
  readonly state: LiveRing;
  readonly occurrences: readonly Occurrence[];
}

type Facts = Occurrence["evidence"];

/** A limit that a backend has passed. */
interface Suspicion {
  readonly cause: EjectionCause;
  readonly isEnforced: boolean;
  readonly facts: Facts;
}

/** When it is judged. */
interface Sitting {
  readonly nowMs: EpochMs;
  /** How often each isolate reports, milliseconds. */
  readonly refreshMs: number;
}

/**
 * What the evidence means for some of a pool's backends, by its rules: who is ejected, whose trial is over, and what
 * backends say of themselves. Only those are ejected that an operator wants to take new traffic and that are not pinned,
 * each while `mayEject` allows for one more.
 */
export function judge(
  ring: LiveRing,
  evidence: Evidence,
  suspects: readonly BackendId[],
  { nowMs, refreshMs }: Sitting,
): Judged {
  const asked = new Set(suspects);
  const occurrences: Occurrence[] = [];
  let { backends } = ring;
  let isFull = false;
  const mayEjectOne = (): boolean => {
    // Once it says no, it goes on to: from here on nobody comes into service. The backends of a large pool may all fail.
    isFull ||= !mayEject(backends, ring.config.health.ejection);
    return !isFull;
  };
  const matter = { evidence, health: ring.config.health, nowMs, refreshMs, mayEjectOne };
  // All are heard first, since one that asks for no traffic leaves the guard less room.
  for (const step of [hear, tryOne]) {
    backends.forEach((backend, index) => {
      if (!asked.has(backend.id)) return;
      const { backend: next, occurrence } = step(backend, matter);
      if (next !== backend) backends = backends.with(index, next);
      if (occurrence !== null) occurrences.push(occurrence);
    });
  }
  return {
    state: backends === ring.backends ? ring : withObserved(ring, backends, nowMs),
    occurrences: gathered(occurrences, matter),
  };
}

interface Matter extends Sitting {
  readonly evidence: Evidence;
  readonly health: HealthCheck;
  /** Whether the guard allows for one more ejection. */
  readonly mayEjectOne: () => boolean;
}

interface Finding {
  readonly backend: HeldBackend;
  readonly occurrence: Occurrence | null;
}

/** Takes a backend at its word. */
function hear(backend: HeldBackend, { evidence, health, nowMs }: Matter): Finding {
  const said = health.trustAnnouncements ? evidence.said(backend.id, nowMs) : null;
  const held = backend.observed.announced;
  const announced = said === null ? held : announcedAfter(held, said, nowMs);
  if (announced === held) return { backend, occurrence: null };
  const next = { ...backend, observed: { ...backend.observed, announced } };
  if (announced?.word === held?.word) return { backend: next, occurrence: null };
  const kind = announced === null ? "healthy" : announced.word === "draining" ? "stopping" : "degraded";
  const facts: Facts = announced === null ? {} : { untilMs: announced.untilMs };
  return {
    backend: next,
    occurrence: { atMs: nowMs, backend: backend.id, kind, cause: "announcement", evidence: facts },
  };
}

/**
 * What counts of a backend's own word after it spoke. Said again, a word is put off only once less than half of its time is
 * left, because every change is written to storage.
 */
function announcedAfter(held: Announced | null, { word, saidMs }: Said, nowMs: EpochMs): Announced | null {
  const untilMs = after(saidMs, ANNOUNCED_MS);
  if (untilMs <= nowMs || (held !== null && untilMs < held.untilMs)) return held;
  if (word === "healthy") return null;
  const isFresh = held?.word === word && held.untilMs - nowMs >= ANNOUNCED_MS / 2;
  return isFresh ? held : { word, untilMs };
}

function tryOne(backend: HeldBackend, matter: Matter): Finding {
  const { passive } = backend.observed;
  if (passive.kind === "ejected" || backend.pin !== null || !isWanted(backend))
    return { backend, occurrence: null };
  const suspicions = passive.kind === "in" ? suspect(backend.id, matter) : suspectOnTrial(backend.id, matter);
  const enforced = suspicions.find(({ isEnforced }) => isEnforced);
  if (enforced !== undefined) return eject(backend, enforced, matter);
  const [first] = suspicions;
  if (first !== undefined) return { backend, occurrence: note("suspected", backend.id, first, matter) };
  return { backend: endTrial(backend, matter), occurrence: null };
}

function suspect(backend: BackendId, { evidence, health, nowMs, refreshMs }: Matter): readonly Suspicion[] {
  const { failurePercentage, breaker, consecutiveGatewayFailures, skipped } = health;
  const found: Suspicion[] = [];
  const { successes, failures } = evidence.counts(backend, nowMs);
  const { minAttempts, thresholdPercent, windowMs } = failurePercentage;
  const attempts = successes + failures;
  if (attempts >= minAttempts && 100 * failures >= thresholdPercent * attempts) {
    const percent = Math.floor((100 * failures) / attempts);
    found.push({
      cause: "failure_percentage",
      isEnforced: failurePercentage.enforce,
      facts: { attempts, failures, percent, thresholdPercent, windowMs },
    });
  }
  const verdict = evidence.breaker(backend, breaker, nowMs);
  if (verdict.isTripped) {
    const { short, long } = verdict.breaker;
    found.push({
      cause: "breaker",
      isEnforced: breaker.enforce,
      facts: {
        samples: long.samples,
        latencyMs: Math.round(long.latencyMs),
        shortErrorMs: Math.round(short.errorMs),
        shortPercent: breaker.shortPercent,
        longErrorMs: Math.round(long.errorMs),
        longPercent: breaker.longPercent,
      },
    });
  }
  const run = evidence.gatewayRun(backend, nowMs);
  if (run >= consecutiveGatewayFailures.failures) {
    const { enforce, failures: threshold } = consecutiveGatewayFailures;
    found.push({ cause: "consecutive_gateway", isEnforced: enforce, facts: { failures: run, threshold } });
  }
  const { sinceMs, isSkipped, isDoubted } = evidence.skips(backend, refreshMs, nowMs);
  if (sinceMs !== null && isSkipped) {
    const facts = { attempts, failures, windowMs, skippedForMs: nowMs - sinceMs };
    found.push({ cause: "skipped", isEnforced: skipped.enforce, facts });
  } else if (isDoubted) {
    // It may be that one isolate cannot reach what another one can.
    found.push({ cause: "skipped", isEnforced: false, facts: { attempts, failures, windowMs } });
  }
  return found;
}

/** On trial, one failure is enough, unless it was spared until it is too old, or as many successes came after it as it takes. */
function suspectOnTrial(backend: BackendId, { evidence, health, nowMs }: Matter): readonly Suspicion[] {
  const { successes, failures } = evidence.counts(backend, nowMs);
  const { enforce, halfOpenSuccesses } = health.breaker;
  if (failures === 0 || !enforce || evidence.successesInRow(backend) >= halfOpenSuccesses) return [];
  return [{ cause: "breaker", isEnforced: enforce, facts: { successes, failures, halfOpenSuccesses } }];
}

function endTrial(backend: HeldBackend, { evidence, health, nowMs }: Matter): HeldBackend {
  const { enforce, halfOpenSuccesses } = health.breaker;
  if (enforce && evidence.successesInRow(backend.id) < halfOpenSuccesses) return backend;
  const passive = stepPassive(backend.observed.passive, { kind: "trial_passed" }, health, nowMs);
  return passive === backend.observed.passive
    ? backend
    : { ...backend, observed: { ...backend.observed, passive } };
}

function eject(backend: HeldBackend, suspicion: Suspicion, matter: Matter): Finding {
  const { health, nowMs, mayEjectOne } = matter;
  const { maxPercent, minAvailablePercent } = health.ejection;
  if (!mayEjectOne()) {
    const facts = { ...suspicion.facts, maxPercent, minAvailablePercent };
    return { backend, occurrence: note("spared", backend.id, { ...suspicion, facts }, matter) };
  }
  const { cause, facts } = suspicion;
  const passive = stepPassive(backend.observed.passive, { kind: "eject", cause }, health, nowMs);
  const until: Facts =
    passive.kind === "ejected"
      ? { times: passive.times, forMs: passive.untilMs - nowMs, untilMs: passive.untilMs }
      : {};
  return {
    backend: { ...backend, observed: { ...backend.observed, passive } },
    occurrence: {
      atMs: nowMs,
      backend: backend.id,
      kind: "ejected",
      cause,
      evidence: { ...facts, ...until },
    },
  };
}

/** What did not lead to anything. */
function note(
  kind: NoteKind,
  backend: BackendId,
  { cause, facts }: Suspicion,
  { nowMs }: Matter,
): Occurrence {
  return { atMs: nowMs, backend, kind, cause, evidence: facts };
}

/**
 * Occurrences of which those that did not lead to anything are told as one, in the words of the first backend, and at most
 * once in `ejection.baseMs`: the backends of a large pool may all fail.
 */
function gathered(
  occurrences: readonly Occurrence[],
  { evidence, health, nowMs }: Matter,
): readonly Occurrence[] {
  const notes = NOTES.flatMap((kind): readonly Occurrence[] => {
    const [first, ...others] = occurrences.filter((occurrence) => occurrence.kind === kind);
    const toldMs = evidence.lastToldMs(kind);
    if (first === undefined || (toldMs !== null && nowMs - toldMs < health.ejection.baseMs)) return [];
    return others.length === 0 ? [first] : [together(first, others)];
  });
  return [...occurrences.filter(({ kind }) => !isNote(kind)), ...notes];
}

function isNote(kind: EventKind): boolean {
  return NOTES.some((each) => each === kind);
}

function together(first: Occurrence, others: readonly Occurrence[]): Occurrence {
  const ids = [first, ...others].map(({ backend }) => backend);
  const among = ids.slice(0, NAMED_BACKENDS).join(", ");
  return { ...first, evidence: { ...first.evidence, backends: ids.length, among } };
}
