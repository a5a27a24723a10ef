import type { BackendId } from "./names.ts";
import type { EpochMs } from "./time.ts";

/**
 * What happened to a backend's health. `unhealthy`, `degraded`, `healthy`: what it now is, by its probes or its own word.
 * `stopping`: it takes no new sessions, by its own word. `ejected`, `returned`: taken out by passive observation, and back.
 * `suspected`: would be ejected if that were enforced. `spared`: would be ejected, but too many are already.
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

/** Events of a pool, oldest first, and how many of the pool's were forgotten since it keeps a bounded number. */
export interface EventsView {
  readonly events: readonly HealthEvent[];
  /** To ask for what comes after: the id of the last event there is; 0 when there is none. */
  readonly lastId: number;
}
