import * as v from "valibot";
import { integer, oneOf, record } from "./fields.ts";
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
