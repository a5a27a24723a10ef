import type { EventKind, Occurrence } from "../model/event.ts";
import { ANNOUNCEMENTS, type Announcement } from "../model/health.ts";
import { type HealthCheck } from "../model/health-check.ts";
import type { BackendId } from "../model/names.ts";
import { type Blame, blameOf, OUTCOMES } from "../model/outcome.ts";
import type { BackendReport, Report } from "../model/sync.ts";
import { after, type EpochMs, epochMs, later } from "../model/time.ts";
import {
  type Attempts,
  addAttempts,
  type BreakerState,
  NEW_BREAKER,
  NO_ATTEMPTS,
  observeAll,
  reset,
  type Verdict,
} from "./breaker.ts";
import { RecentAttempts } from "./recent-attempts.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";
import { SkipClaims, type SkipVerdict } from "./skip-claims.ts";

/** A breaker is told of all reports that came within this time as of one batch, whatever their order. Milliseconds. */
const SLICE_MS = 1_000;

/** Refreshes within which every isolate has said whether a backend serves it; a little more than one, for its way here. */
const PATIENCE_REFRESHES = 1.2;

/** An isolate's clock shows whole milliseconds; what took none is taken for half of one. */
const SHORTEST_MS = 0.5;

/**
 * A word of a backend gives way to a better one when it has not been said for so long, milliseconds. Behind one URL may be
 * several processes that say different things.
 */
const DWELL_MS = 10_000;

/** What a backend said of itself, and when, by the ring's clock. */
export interface Said {
  readonly word: Announcement;
  readonly saidMs: EpochMs;
}

/** What has been seen of a backend since it came into service, or was put on trial. */
class Term {
  readonly sinceMs: EpochMs;
  readonly place: string;
  readonly recent: RecentAttempts;
  readonly skips = new SkipClaims();
  /** Successes since the last report of a failure. */
  successesInRow = 0;
  #failureMs = epochMs(Number.NEGATIVE_INFINITY);
  /** What the breaker holds of all slices but the present one. */
  #breaker: BreakerState;
  #slice = Number.NEGATIVE_INFINITY;
  #inSlice: Attempts = NO_ATTEMPTS;

  constructor(sinceMs: EpochMs, place: string, windowMs: number, breaker: BreakerState) {
    this.sinceMs = sinceMs;
    this.place = place;
    this.recent = new RecentAttempts(windowMs);
    this.#breaker = breaker;
  }

  /** Of what was heard in one moment failures come last, whatever the order, since which were first nobody knows. */
  countRow({ successes, failures }: Attempts, nowMs: EpochMs): void {
    if (failures > 0) {
      this.successesInRow = 0;
      this.#failureMs = nowMs;
    } else if (nowMs > this.#failureMs) this.successesInRow += successes;
  }

  tellBreaker(attempts: Attempts, rules: HealthCheck["breaker"], nowMs: EpochMs): void {
    const slice = Math.floor(nowMs / SLICE_MS);
    if (slice > this.#slice) {
      this.#breaker = this.askBreaker(rules, nowMs).breaker;
      this.#inSlice = NO_ATTEMPTS;
      this.#slice = slice;
    }
    this.#inSlice = addAttempts(this.#inSlice, attempts);
  }

  /** A trip of an earlier slice is no news: what came of it is what could. */
  askBreaker(rules: HealthCheck["breaker"], nowMs: EpochMs): Verdict {
    const { breaker, isTripped } = observeAll(this.#breaker, this.#inSlice, rules);
    return { breaker, isTripped: isTripped && Math.floor(nowMs / SLICE_MS) <= this.#slice };
  }
}

/**
 * What all isolates have reported of each backend of a pool, for passive verdicts. It lives in memory, bounded by the number
 * of backends; a restart of the object begins it anew. Batches that came twice must not be added twice.
 *
 * Nothing counts that may have happened before the backend came into service, nor while it was ejected.
 */
export class Evidence {
  #backends: ReadonlyMap<BackendId, HeldBackend> = new Map();
  #health: HealthCheck | null = null;
  #terms: ReadonlyMap<BackendId, Term> = new Map();
  /** When each word was last said. */
  readonly #said = new Map<BackendId, ReadonlyMap<Announcement, EpochMs>>();
  /** When something was last told of the pool. */
  readonly #toldMs = new Map<EventKind, EpochMs>();

  /** Goes by this state of the pool from now on; null: there is no pool. */
  adopt(ring: LiveRing | null): void {
    const before = this.#health?.failurePercentage.windowMs;
    const places = new Map([...this.#backends.values()].map((backend) => [backend.id, placeOf(backend)]));
    this.#health = ring?.config.health ?? null;
    this.#backends = new Map(ring?.backends.map((backend) => [backend.id, backend]));
    const held = before === this.#health?.failurePercentage.windowMs ? this.#terms : new Map();
    this.#terms = new Map(
      ring?.backends.map((backend) => [
        backend.id,
        termOf(backend, ring.config.health, held.get(backend.id)),
      ]),
    );
    for (const id of this.#said.keys()) {
      const backend = this.#backends.get(id);
      if (backend === undefined || placeOf(backend) !== places.get(id)) this.#said.delete(id);
    }
    if (ring === null) this.#toldMs.clear();
  }

  /** Adds a report that has just come. */
  add(report: Report, nowMs: EpochMs): void {
    const beganMs = after(nowMs, -report.ageMs);
    for (const told of report.backends) {
      this.#hear(told, beganMs);
      // Each by itself: what was slow at one backend makes nothing older that was seen of another.
      this.#count(told, after(nowMs, -(told.ageMs ?? report.ageMs)), nowMs);
    }
  }

  /** Attempts at a backend within the window. */
  counts(backend: BackendId, nowMs: EpochMs): { readonly successes: number; readonly failures: number } {
    return this.#terms.get(backend)?.recent.counts(nowMs) ?? NO_ATTEMPTS;
  }

  /** Successes in a row, over all isolates, since a backend came into service, or on trial. */
  successesInRow(backend: BackendId): number {
    return this.#terms.get(backend)?.successesInRow ?? 0;
  }

  /** Gateway failures in a row, over all isolates. */
  gatewayRun(backend: BackendId, nowMs: EpochMs): number {
    return this.#terms.get(backend)?.recent.gatewayRun(nowMs) ?? 0;
  }

  /** Whether isolates skip a backend by themselves, and nobody is served by it. `refreshMs`: how often each reports. */
  skips(backend: BackendId, refreshMs: number, nowMs: EpochMs): SkipVerdict {
    return this.#skips(this.#terms.get(backend), refreshMs, nowMs);
  }

  /** Whether it would be good to hear from all isolates soon: some skip a backend, and others may not have said yet how it is. */
  isWaiting(refreshMs: number, nowMs: EpochMs): boolean {
    return [...this.#terms.values()].some((term) => {
      const { sinceMs, isSkipped } = this.#skips(term, refreshMs, nowMs);
      return sinceMs !== null && !isSkipped;
    });
  }

  /** What the breaker of a backend says. */
  breaker(backend: BackendId, rules: HealthCheck["breaker"], nowMs: EpochMs): Verdict {
    return this.#terms.get(backend)?.askBreaker(rules, nowMs) ?? { breaker: NEW_BREAKER, isTripped: false };
  }

  /** The worst that a backend has said of itself for some time, or else the last; null: nothing. */
  said(backend: BackendId, nowMs: EpochMs): Said | null {
    const said = [...(this.#said.get(backend) ?? [])].map(([word, saidMs]): Said => ({ word, saidMs }));
    const lately = said.filter(({ saidMs }) => nowMs - saidMs < DWELL_MS);
    return lately.toSorted(byBadness)[0] ?? said.toSorted(byTime)[0] ?? null;
  }

  /** Remembers what was written down, so that it need not be told again soon. */
  told(occurrences: readonly Occurrence[]): void {
    for (const { kind, atMs } of occurrences) this.#toldMs.set(kind, atMs);
  }

  /** When this was last told of any backend of the pool; null: never. */
  lastToldMs(kind: EventKind): EpochMs | null {
    return this.#toldMs.get(kind) ?? null;
  }

  #skips(term: Term | undefined, refreshMs: number, nowMs: EpochMs): SkipVerdict {
    if (term === undefined || this.#health === null) return NOT_SKIPPED;
    const { windowMs } = this.#health.failurePercentage;
    return term.skips.verdict(nowMs, { patienceMs: PATIENCE_REFRESHES * refreshMs, windowMs });
  }

  #hear({ id, announced, announcedAfterMs }: BackendReport, beganMs: EpochMs): void {
    if (announced === null || !this.#backends.has(id)) return;
    const saidMs = after(beganMs, announcedAfterMs);
    const held = this.#said.get(id) ?? new Map<Announcement, EpochMs>();
    this.#said.set(id, new Map([...held, [announced, later(saidMs, held.get(announced) ?? saidMs)]]));
  }

  #count(told: BackendReport, beganMs: EpochMs, nowMs: EpochMs): void {
    const term = this.#terms.get(told.id);
    if (this.#health === null || term === undefined || beganMs < term.sinceMs) return;
    const { failurePercentage, breaker } = this.#health;
    const { windowMs } = failurePercentage;
    if (this.#backends.get(told.id)?.observed.passive.kind === "ejected" || nowMs - beganMs > windowMs)
      return;
    const attempts = attemptsOf(told);
    const { successes, failures } = attempts;
    const batch = { beganMs, heardMs: nowMs, successes, failures, gatewayRun: told.gatewayRun };
    term.recent.merge(RecentAttempts.of(batch, windowMs)).forget(nowMs);
    const isSkipping = told.skipping === true;
    term.skips.hear({ beganMs, heardMs: nowMs, successes, failures, isSkipping });
    term.countRow(attempts, nowMs);
    term.tellBreaker(attempts, breaker, nowMs);
  }
}

const NOT_SKIPPED: SkipVerdict = { sinceMs: null, isSkipped: false, isDoubted: false };

/** The term of a backend as it goes on, or a new one since the backend went out, or came in. */
function termOf(backend: HeldBackend, health: HealthCheck, held: Term | undefined): Term {
  const { sinceMs } = backend.observed.passive;
  const place = placeOf(backend);
  if (held?.sinceMs === sinceMs && held.place === place) return held;
  const breaker =
    held === undefined || held.place !== place
      ? NEW_BREAKER
      : reset(held.askBreaker(health.breaker, sinceMs).breaker, health.breaker);
  return new Term(sinceMs, place, health.failurePercentage.windowMs, breaker);
}

/** Where a backend is. What was seen of it elsewhere says nothing. */
function placeOf({ url, via }: Pick<HeldBackend, "url" | "via">): string {
  return JSON.stringify([url, via]);
}

/** The word first that asks for the least traffic. */
function byBadness(one: Said, other: Said): number {
  return ANNOUNCEMENTS.indexOf(other.word) - ANNOUNCEMENTS.indexOf(one.word);
}

/** The latest word first; of two of the same moment, the one that asks for less traffic. */
function byTime(one: Said, other: Said): number {
  return other.saidMs - one.saidMs || byBadness(one, other);
}

function attemptsOf({ outcomes, latencyMs }: BackendReport): Attempts {
  const count = (blame: Blame): number =>
    OUTCOMES.reduce((sum, outcome) => (blameOf(outcome) === blame ? sum + outcomes[outcome] : sum), 0);
  const [successes, failures] = [count("success"), count("failure")];
  return {
    successes,
    failures,
    successMs: Math.max(latencyMs.success, successes * SHORTEST_MS),
    failureMs: Math.max(latencyMs.failure, failures * SHORTEST_MS),
  };
}
