import type { Versioned } from "../model/snapshot.ts";
import type { SyncReply, SyncRequest } from "../model/sync.ts";
import type { EpochMs } from "../model/time.ts";
import type { Convergence, ConvergenceView } from "../model/view.ts";
import type { LeaseLedger } from "./lease-ledger.ts";
import type { Pace } from "./pacing.ts";

/**
 * Answers one sync: takes note of what the isolate holds, then grants it a lease on the published document, which is
 * sent along only if the isolate does not hold it. `storeLongestLeaseMs` is called before a lease longer than any stored
 * is granted, and must have written it when it returns.
 */
export function answerSync<Document extends Versioned>(
  ledger: LeaseLedger,
  published: Document,
  request: SyncRequest,
  pace: Pace,
  nowMs: EpochMs,
  storeLongestLeaseMs: (leaseMs: number) => void,
): SyncReply<Document> {
  const { incarnation, version } = published;
  const haveVersion = request.incarnation === incarnation ? request.haveVersion : 0;
  const { isolate, seq, inFlight } = request;
  if (!ledger.hear({ isolate, seq, haveVersion, inFlight }, nowMs)) return { kind: "late" };
  const longestMs = ledger.leaseToStoreMs(pace.leaseMs, nowMs);
  if (longestMs !== null) {
    storeLongestLeaseMs(longestMs);
    ledger.stored(longestMs, nowMs);
  }
  ledger.grant(isolate, version, pace.leaseMs, nowMs);
  const document = haveVersion === version ? null : published;
  return { kind: "leased", incarnation, version, document, ...pace };
}

/** How far a version has come. */
export function projectConvergence(ledger: LeaseLedger, version: number, nowMs: EpochMs): Convergence {
  const governsAtMs = ledger.governsAtMs(version, nowMs);
  const isolates = ledger.isolates(nowMs);
  const outstandingIsolates = ledger.outstandingIsolates(version, nowMs);
  const unheardMs = ledger.longestUnheardMs(version, nowMs);
  return {
    isolates,
    acknowledgedIsolates: isolates - outstandingIsolates,
    outstandingIsolates,
    oldestVersion: ledger.oldestVersion(nowMs),
    worstAgeMs: unheardMs === null ? null : nowMs - unheardMs,
    governsAtMs: governsAtMs <= nowMs ? null : governsAtMs,
    longestLeaseMs: ledger.longestLeaseMs,
  };
}

/** How far a version has come, as somebody sees it who waits for it to govern. */
export function lookForConvergence(
  ledger: LeaseLedger,
  version: number,
  nowMs: EpochMs,
): { readonly view: ConvergenceView; readonly isDone: boolean; readonly nextMs: EpochMs | null } {
  const convergence = projectConvergence(ledger, version, nowMs);
  const { governsAtMs } = convergence;
  return { view: { version, convergence }, isDone: governsAtMs === null, nextMs: governsAtMs };
}
