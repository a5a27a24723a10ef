import type { BackendId } from "../model/names.ts";
import type { PoolConfig } from "../model/pool.ts";
import type { Receipt, ReceiptState, ReceiptsRequest, ReceiptsView } from "../model/receipt.ts";
import type { Refusal } from "../model/refusal.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import type { Snapshot } from "../model/snapshot.ts";
import { after, type EpochMs, earliest, later } from "../model/time.ts";
import type { EstimatedSessions } from "../model/view.ts";
import { openDrainUntilMs } from "./agenda.ts";
import { everWithLabel } from "./labels.ts";
import { type LeaseLedger, leaseEndMs } from "./lease-ledger.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";
import type { Stop } from "./stops.ts";

/**
 * A request that has waited longer for its answer is told of by its own context, milliseconds: the longest of header timeouts
 * too short for that, by the isolate's clock, which may be slower than ours. See `worker/edge/header-watch.ts`.
 */
const UNTOLD_MS = 2_100;

/** What receipts are made of. */
export interface Books {
  readonly ring: LiveRing;
  readonly snapshot: Snapshot;
  readonly ledger: LeaseLedger;
  readonly sessionsOf: (id: BackendId) => EstimatedSessions;
  readonly nowMs: EpochMs;
}

/** Receipts as somebody sees them who waits for all of them to be safe. */
interface ReceiptsLook {
  readonly view: Result<ReceiptsView>;
  readonly isDone: boolean;
  readonly nextMs: EpochMs | null;
}

export function lookForReceipts(books: Books, of: ReceiptsRequest["of"]): ReceiptsLook {
  const receipts = findReceipts(books, of);
  if (!receipts.ok) return { view: receipts, isDone: true, nextMs: null };
  const view = sumUp(books.ring.version, receipts.value);
  const times = receipts.value.flatMap(({ safeAtMs, certainAtMs }) => [safeAtMs, certainAtMs]);
  const nextMs = earliest(times.filter((time) => time !== null && time > books.nowMs));
  return { view: ok(view), isDone: view.safe, nextMs };
}

function findReceipts(books: Books, of: ReceiptsRequest["of"]): Result<readonly Receipt[]> {
  const { ring } = books;
  if ("label" in of) {
    const found = everWithLabel(ring, of);
    return found.ok ? ok(receiptsOf(books, found.value)) : found;
  }
  const receipts = receiptsOf(books, [of.id]);
  return receipts.length === 0 ? refuse(noBackend(ring, of.id)) : ok(receipts);
}

/** Of those that are in the pool, or were lately. */
function receiptsOf(books: Books, ids: readonly BackendId[]): readonly Receipt[] {
  const held = new Map(books.ring.backends.map((backend) => [backend.id, backend]));
  const stops = new Map(books.ring.stops.closed.map((stop) => [stop.id, stop]));
  return ids.flatMap((id) => {
    const backend = held.get(id);
    const stop = stops.get(id) ?? null;
    if (backend !== undefined) return [receiptOf(books, backend, stop)];
    return stop === null ? [] : [receiptOfClosed(books, stop, "removed")];
  });
}

function noBackend({ pool }: LiveRing, id: BackendId): Refusal {
  return { kind: "not-found", detail: `pool ${pool} has no backend ${id}, and none was removed lately` };
}

function sumUp(version: number, receipts: readonly Receipt[]): ReceiptsView {
  return {
    version,
    safe: receipts.every(({ safe }) => safe),
    safeAtMs: latest(receipts.map(({ safeAtMs }) => safeAtMs)),
    certainAtMs: latest(receipts.map(({ certainAtMs }) => certainAtMs)),
    inFlight: receipts.reduce((sum, { inFlight }) => sum + inFlight, 0),
    receipts,
  };
}

/** The latest of some times; null where one is not known. */
function latest(times: readonly (EpochMs | null)[]): EpochMs | null {
  return times.reduce((last, time) => (last === null || time === null ? null : later(last, time)));
}

function receiptOf(books: Books, backend: HeldBackend, stop: Stop | null): Receipt {
  if (stop !== null)
    return receiptOfClosed(books, stop, backend.admin.kind === "disabled" ? "disabled" : "expired");
  const { ring, snapshot, ledger, nowMs } = books;
  const { id } = backend;
  const untilMs = openDrainUntilMs(backend);
  const isEjected = snapshot.backends.some((each) => each.id === id && each.isEjected);
  return {
    id,
    state: untilMs !== null ? "draining" : isEjected ? "ejected" : "active",
    version: ring.version,
    safe: false,
    ...(untilMs === null ? { safeAtMs: null, certainAtMs: null } : forecast(books, untilMs)),
    drainsUntilMs: untilMs,
    inFlight: ledger.inFlight(id, nowMs),
    estimatedSessions: books.sessionsOf(id),
    outstandingIsolates: ledger.outstandingIsolates(ring.version, nowMs),
    unheardUntilMs: unheardUntilMs(books),
  };
}

/** What can be said of a backend that is going to be closed at `untilMs`. */
function forecast({ ring, ledger }: Books, untilMs: EpochMs): Pick<Receipt, "safeAtMs" | "certainAtMs"> {
  const { config, stops } = ring;
  const safeAtMs = settledMs(
    config,
    later(leaseEndMs(untilMs, ledger.longestLeaseMs), ledger.unheardUntilMs),
  );
  const endMs = leaseEndMs(untilMs, ledger.longestLeaseMs + config.sync.maxStaleMs);
  return { safeAtMs, certainAtMs: later(safeAtMs, settledMs(config, later(endMs, stops.staleUntilMs))) };
}

function receiptOfClosed(books: Books, stop: Stop, state: ReceiptState): Receipt {
  const { ring, ledger, nowMs } = books;
  const work = ledger.workAt(stop.id, stop, nowMs);
  const governedMs = settledMs(
    ring.config,
    later(ledger.governsSinceMs(stop.version), ledger.unheardUntilMs),
  );
  // Where no isolate could use it any more it was safe long before, and is so from its closing on.
  const closedMs = later(governedMs, stop.atMs);
  // What was told of may have been an ordinary response, of which only the headers are waited for.
  const idleMs = work.lastMs === null ? closedMs : later(closedMs, after(work.lastMs, ring.config.settleMs));
  const safe = work.count === 0 && idleMs <= nowMs;
  return {
    id: stop.id,
    state: safe ? "safe" : state,
    version: stop.version,
    safe,
    safeAtMs: work.count === 0 ? idleMs : null,
    certainAtMs: later(idleMs, settledMs(ring.config, stop.certainAtMs)),
    drainsUntilMs: null,
    inFlight: work.count,
    estimatedSessions: books.sessionsOf(stop.id),
    outstandingIsolates: ledger.outstandingIsolates(stop.version, nowMs),
    unheardUntilMs: unheardUntilMs(books),
  };
}

/**
 * When nothing can be left of what was sent before `sinceMs`, when a version governed or no older one could be held. Whatever the ring does not hear of is over by then:
 * an isolate that acknowledged told what it had in flight, and its ordinary responses had their headers, so `settleMs` is
 * enough. One that fell silent, and whose lease ran out, may have sent something at the last moment; if that waits for its
 * answer for longer than `UNTOLD_MS`, its context tells, and `waitMs` is what that may take; if not, it has its headers by
 * then, and `settleMs` begins.
 */
function settledMs({ settleMs, sync }: PoolConfig, sinceMs: EpochMs): EpochMs {
  return after(sinceMs, UNTOLD_MS + Math.max(settleMs, sync.waitMs));
}

function unheardUntilMs({ ledger, nowMs }: Books): EpochMs | null {
  return ledger.unheardUntilMs > nowMs ? ledger.unheardUntilMs : null;
}
