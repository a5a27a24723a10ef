import type { BackendId } from "../../../durable/model/names.ts";
import type { EpochMs } from "../../../durable/model/time.ts";
import type { GaugeOf } from "../../../worker/core/policies/policy.ts";

/** Gauges that show what is said of each backend at the moment they are read. */
export function gaugesOf(
  inFlight: (id: BackendId) => number,
  latencyMs: (id: BackendId, nowMs: EpochMs) => number | null = () => null,
): GaugeOf {
  return (id) => ({
    get inFlight() {
      return inFlight(id);
    },
    latencyMs: (nowMs) => latencyMs(id, nowMs),
  });
}
