import type { EpochMs } from "../../../durable/model/time.ts";
import { MAX_LATENCY_MS } from "../latency.ts";
import { type GaugedPreparation, gauged } from "./gauged.ts";
import type { Gauge } from "./policy.ts";
import { TwoChoices } from "./two-choices.ts";

/**
 * Of two choices the one that will have worked off its requests first, this one included, if it works at as many at a time
 * as its weight says: latency × requests in flight (Finagle's Peak EWMA).
 */
export class PeakEwma extends TwoChoices {
  static prepare(preparation: GaugedPreparation): PeakEwma {
    return new PeakEwma(gauged(preparation), workMs);
  }
}

/** One that nobody knows is tried for nothing, but by one request at a time: until it answers, it may be the slowest. */
function workMs(gauge: Gauge, nowMs: EpochMs): number {
  const { inFlight } = gauge;
  const latencyMs = gauge.latencyMs(nowMs) ?? (inFlight === 0 ? 0 : MAX_LATENCY_MS);
  return latencyMs * (inFlight + 1);
}
