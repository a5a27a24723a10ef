import type { SlowStart } from "../../durable/model/pool.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import type { Candidate } from "./policies/policy.ts";

/** A second counts as begun, or the curve would begin at nothing. */
const FIRST_MS = 1_000;

/** Weights are so much finer while some backend is in slow start, so that none rounds to nothing. */
const FINER = 100;

/** In so many steps a backend comes to its full weight: each makes policies prepare anew. */
const STEPS = 50;

/**
 * The part of its weight, 0…1, that a backend gets when it has served for `servedMs`: Envoy's
 * max(minimum, (time / window)^(1 / aggression)).
 */
export function slowStartFactor(
  servedMs: number,
  { windowMs, aggression, minWeightPercent }: SlowStart,
): number {
  if (servedMs >= windowMs) return 1;
  const elapsed = Math.min(1, Math.max(servedMs, FIRST_MS) / windowMs);
  return Math.max(minWeightPercent / 100, elapsed ** (1 / aggression));
}

/** Candidates at the weights they have at one moment. */
export interface Warmed {
  readonly candidates: readonly Candidate[];
  /** When the weights are to be looked at again; null: they are what they are. */
  readonly nextMs: EpochMs | null;
}

/**
 * The weights of backends, of which some may be new. While all of them are new nobody is held back, since somebody has to
 * take the traffic: a pool that has just been made is as it will be. When the first of them has come to its full weight it
 * can take over, and those that came later fall from all of theirs to what their own time allows: the later they came, the
 * deeper, down to the minimum.
 */
export function warm(backends: readonly SnapshotBackend[], slowStart: SlowStart, nowMs: EpochMs): Warmed {
  const factors = backends.map(({ servingSinceMs }) => slowStartFactor(nowMs - servingSinceMs, slowStart));
  if (factors.every((factor) => factor === 1)) return { candidates: backends, nextMs: null };
  const nextMs = after(nowMs, slowStart.windowMs / STEPS);
  if (factors.every((factor) => factor < 1)) return { candidates: backends, nextMs };
  const candidates = backends.map(({ id, weight }, index) => ({
    id,
    weight: Math.max(1, Math.round(FINER * weight * (factors[index] ?? 1))),
  }));
  return { candidates, nextMs };
}
