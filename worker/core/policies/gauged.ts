import type { Candidate, Gauge, GaugeOf } from "./policy.ts";

/** A candidate with its gauge at hand, so that a pick need not look for it. */
export interface Gauged extends Candidate {
  readonly gauge: Gauge;
}

/** What a policy that reads gauges is prepared from. */
export interface GaugedPreparation {
  readonly candidates: readonly Candidate[];
  readonly gauge: GaugeOf;
}

/** The candidates with their gauges. One of which nothing is known is idle. */
export function gauged({ candidates, gauge }: GaugedPreparation): readonly Gauged[] {
  return candidates.map(({ id, weight }) => ({ id, weight, gauge: gauge(id) ?? IDLE }));
}

const IDLE: Gauge = { inFlight: 0, latencyMs: () => null };
