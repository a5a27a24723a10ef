import type { BackendId } from "./names.ts";
import type { EpochMs } from "./time.ts";

/**
 * What happened to a backend's health. `unhealthy`, `degraded`, `healthy`: what it now is, by its probes or its own word.
 * `stopping`: it takes no new sessions, by its own word. `ejected`, `returned`: taken out by passive observation, and back.
 * `suspected`: would be ejected if that were enforced. `spared`: would be ejected, but too many are already.
 * Of these two there is one for all backends at a time, named for the first of them.
 * `pinned`, `unpinned`: by an operator, or as the pin ran out.
 */
export const EVENT_KINDS = [
  "unhealthy",
  "degraded",
  "healthy",
  "stopping",
  "ejected",
  "returned",
  "suspected",
  "spared",
  "pinned",
  "unpinned",
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** One transition, before it is written down. */
export interface Occurrence {
  readonly atMs: EpochMs;
  readonly backend: BackendId;
  readonly kind: EventKind;
  /** What decided: `probe`, `announcement`, an ejection cause, `operator`, `time`. */
  readonly cause: string;
  /** What it was decided on, for people and programs: counts, thresholds, statuses. */
  readonly evidence: Readonly<Record<string, string | number>>;
}

/** One transition as it is kept and shown. */
export interface HealthEvent extends Occurrence {
  /** Grows by one with every event of the pool. */
  readonly id: number;
  /** Version of the pool that came of it; the present one where nothing changed. */
  readonly version: number;
}

/** Which events are asked for. */
export interface EventsRequest {
  /** Those with a greater id; 0: all that are kept. */
  readonly after: number;
  /** So many of them at most, the oldest of them first. */
  readonly limit: number;
}

/**
 * Events of a pool, oldest first. Only a bounded number is kept: a gap before the first one's id says how many were
 * forgotten.
 */
export interface EventsView {
  readonly events: readonly HealthEvent[];
  /** Id of the last event there ever was; 0 when there was none. More can be asked for until this one has come. */
  readonly lastId: number;
}
