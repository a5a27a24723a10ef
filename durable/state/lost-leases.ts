import type { LostLeases } from "../model/history.ts";
import { type EpochMs, epochMs } from "../model/time.ts";

/** An isolate whose every lease has ended. */
export interface Gone {
  /** The oldest version that it may have used to the end; null: it never got a lease. */
  readonly version: number | null;
  /** Requests in flight, as last told. */
  readonly inFlight: number;
}

const MINUTE_MS = 60_000;

/**
 * The leases that were lost, of isolates that are gone while `version` was the present one, and in which minute; null: none
 * was. Most isolates go in peace: idle, and with the present version.
 */
export function countLost(gone: readonly Gone[], version: number, nowMs: EpochMs): LostLeases | null {
  const unacknowledged = gone.filter((each) => each.version !== null && each.version < version).length;
  const busy = gone.filter(({ inFlight }) => inFlight > 0);
  if (unacknowledged === 0 && busy.length === 0) return null;
  const atMs = epochMs(nowMs - (nowMs % MINUTE_MS));
  const inFlight = busy.reduce((sum, each) => sum + each.inFlight, 0);
  return { atMs, unacknowledged, busy: busy.length, inFlight };
}
