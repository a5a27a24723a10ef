import type { Outcome } from "../../durable/model/outcome.ts";
import { type EpochMs, epochMs } from "../../durable/model/time.ts";

/** In so long an estimate that learns nothing falls to 1/e, milliseconds: 10 s in Finagle and brpc. */
const DECAY_MS = 10_000;

/** No estimate is lower, milliseconds: shorter times an isolate's clock cannot tell apart. */
const MIN_LATENCY_MS = 1;

/** No estimate is higher, milliseconds: the longest that brpc punishes with. */
export const MAX_LATENCY_MS = 30_000;

/**
 * A backend's latency as Finagle's Peak EWMA estimates it: worse news counts at once, better news by and by, and with no news
 * the estimate decays as it is read, so that whoever was passed over is tried again.
 */
export class LatencyEstimate {
  /** As it was when there was news last; 0: never. */
  #estimateMs = 0;
  #sinceMs = epochMs(0);

  /** The estimate, 1…30000 milliseconds; null before there was any news. */
  read(nowMs: EpochMs): number | null {
    if (this.#estimateMs === 0) return null;
    return Math.max(MIN_LATENCY_MS, this.#estimateMs * decay(this.#sinceMs, nowMs));
  }

  /** News: a latency was seen. */
  observe(latencyMs: number, nowMs: EpochMs): void {
    const seenMs = Math.min(Math.max(latencyMs, MIN_LATENCY_MS), MAX_LATENCY_MS);
    const keptMs = this.#estimateMs;
    const share = seenMs >= keptMs ? 0 : decay(this.#sinceMs, nowMs);
    this.#estimateMs = keptMs * share + seenMs * (1 - share);
    this.#sinceMs = nowMs;
  }
}

/** What is left of an estimate after a time, 0…1. The clock of an isolate may stand still, or step back a little. */
function decay(sinceMs: EpochMs, nowMs: EpochMs): number {
  return Math.exp(-Math.max(0, nowMs - sinceMs) / DECAY_MS);
}

/** How long an attempt waited for the response headers. */
export interface Wait {
  readonly waitedMs: number;
  /** The most it would have waited. */
  readonly timeoutMs: number;
  /** Whether the backend had no body to wait for, and the request had not failed elsewhere. */
  readonly isUnhindered: boolean;
  /** When it is told. */
  readonly nowMs: EpochMs;
}

/**
 * The latency that an attempt is news of; null: of none. A failure counts as no better than twice what was known, however
 * quick it was, or backends that fail would attract traffic; that of a connection or a gateway as no better than the time it
 * could have taken. Of one that was given up, because its client left or another backend was quicker, we know that it waited so
 * long in vain: news only of a backend that was thought to be quicker.
 */
export function latencyOf(outcome: Outcome, wait: Wait, known: Pick<LatencyEstimate, "read">): number | null {
  const { waitedMs, timeoutMs, nowMs } = wait;
  switch (outcome) {
    case "answered":
    case "deliberate_error":
      return waitedMs;
    case "server_error":
      return Math.max(waitedMs, 2 * (known.read(nowMs) ?? 0));
    case "gateway_error":
    case "unreachable":
    case "timed_out":
    case "cut":
      return Math.max(waitedMs, timeoutMs, 2 * (known.read(nowMs) ?? 0));
    case "client_gone":
    case "outrun":
      return waitedMs > (known.read(nowMs) ?? 0) ? waitedMs : null;
  }
}
