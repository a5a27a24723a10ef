import * as v from "valibot";
import { integer, oneOf, record } from "./fields.ts";
import type { Probe } from "./health-check.ts";
import type { BackendId } from "./names.ts";
import type { EpochMs } from "./time.ts";

/**
 * How a backend is. `healthy`: as it should be. `degraded`: it works, and gets traffic only when healthy ones are too few.
 * `unhealthy`: it gets none, unless so few are better that the pool panics.
 */
export const HealthSchema = oneOf(["healthy", "degraded", "unhealthy"]);
export type Health = v.InferOutput<typeof HealthSchema>;

const MAX_PIN_MS = 30 * 24 * 3_600_000;
const REASON_RANGE = "must be a string of 1…200 characters";

/** What an operator says of a backend's health, over everything that is observed. */
export const PinInputSchema = record({
  health: HealthSchema,
  /** For whoever wonders later. Required. */
  reason: v.pipe(
    v.string(REASON_RANGE),
    v.trim(),
    v.minLength(1, REASON_RANGE),
    v.maxLength(200, REASON_RANGE),
  ),
  /** How long it holds, milliseconds. Default 1 hour; at most 30 days, so that no pin is forgotten. */
  forMs: v.optional(integer(1_000, MAX_PIN_MS), 3_600_000),
});
export type PinInput = v.InferOutput<typeof PinInputSchema>;

/** A pin as the ring holds it. */
export interface Pin {
  readonly health: Health;
  readonly reason: string;
  readonly untilMs: EpochMs;
}

/** What a backend says of itself in `Ring-Health`. */
export const ANNOUNCEMENTS = ["healthy", "degraded", "draining"] as const;
export type Announcement = (typeof ANNOUNCEMENTS)[number];

/** Why passive observation takes a backend out. */
export const EJECTION_CAUSES = ["failure_percentage", "breaker", "consecutive_gateway", "skipped"] as const;
export type EjectionCause = (typeof EJECTION_CAUSES)[number];

/** What its probes say of a backend. */
export interface ProbeState {
  /**
   * `waiting`: unhealthy until its first probe, which then decides at once. Null: no probe has decided, and until one does
   * it counts as healthy.
   */
  readonly verdict: Health | "waiting" | null;
  /** It takes no new sessions, by a 404. */
  readonly isStopping: boolean;
  /** Results in a row that speak against the verdict; it changes when they are `rise` or `fall`. */
  readonly streak: number;
  /** Since when the verdict holds. */
  readonly sinceMs: EpochMs;
}

/** What passive observation, merged over all isolates, says of a backend. Only wanted and unpinned ones are judged. */
export type PassiveState =
  | (Ejections & { readonly kind: "in" })
  | (Ejections & {
      readonly kind: "ejected";
      readonly cause: EjectionCause;
      readonly untilMs: EpochMs;
    })
  /** Back on trial after the breaker's isolation. */
  | (Ejections & { readonly kind: "half_open" });

/** What is remembered of ejections, so that the next one is longer. */
export interface Ejections {
  /** Those by anything but the breaker, less one for every `ejection.baseMs` in service up to the last ejection. */
  readonly times: number;
  /** How long the breaker's last isolation was, milliseconds; 0: there was none. */
  readonly isolationMs: number;
  /** Since when the backend is out, or in, or back. Nothing that was seen before counts. */
  readonly sinceMs: EpochMs;
}

/** What a backend has said of itself, and how long that counts. */
export interface Announced {
  readonly word: Exclude<Announcement, "healthy">;
  readonly untilMs: EpochMs;
}

/** All that is observed of a backend. */
export interface Observed {
  readonly probe: ProbeState;
  readonly passive: PassiveState;
  /** Null: nothing that counts. */
  readonly announced: Announced | null;
}

/** A probe to be made of a backend. */
export interface ProbeTask {
  readonly id: BackendId;
  readonly url: string;
  readonly via: string | null;
  readonly probe: Probe;
}

/** A probe that is being made. What it says is no newer than this. */
export interface BegunProbe extends ProbeTask {
  readonly startedMs: EpochMs;
}

/** What a probe says. `evidence`: what was seen, for people: status or error, and nothing a secret may be in. */
export type ProbeVerdict = { readonly evidence: string } & (
  | { readonly kind: "passed"; readonly health: "healthy" | "degraded"; readonly isStopping: boolean }
  /** `isImmediate`: no second failure is waited for. */
  | { readonly kind: "failed"; readonly isImmediate: boolean }
);

/** What became of one probe. */
export type ProbeResult = ProbeVerdict & { readonly tookMs: number };
