import type { Versioned } from "../../durable/model/snapshot.ts";
import type { SyncReply } from "../../durable/model/sync.ts";
import { after, type EpochMs, later } from "../../durable/model/time.ts";

/** A document under lease. */
export interface Held<Document extends Versioned> {
  readonly document: Document;
  /** The latest sync whose reply was installed. */
  readonly seq: number;
  readonly leaseEndsMs: EpochMs;
  /** When to ask again, in the background. */
  readonly refreshAtMs: EpochMs;
}

/**
 * How a document may be used. `fresh`: as it is. `due`: as it is, while changes are asked for behind the request.
 * `expired`: its lease is over; ask first. `missing`: there is none; ask first.
 */
export type Use = "fresh" | "due" | "expired" | "missing";

export function decideUse(held: Held<Versioned> | null, nowMs: EpochMs): Use {
  if (held === null) return "missing";
  if (nowMs >= held.leaseEndsMs) return "expired";
  return nowMs >= held.refreshAtMs ? "due" : "fresh";
}

/** Whether a document past its lease may still serve in need, with the ring out of reach. */
export function mayServeStale(held: Held<Versioned>, maxStaleMs: number, nowMs: EpochMs): boolean {
  return nowMs < after(held.leaseEndsMs, maxStaleMs);
}

/**
 * What is held once a reply has come in. A document is installed only if it is newer within the same incarnation, and
 * one of another incarnation only if its sync was sent later; a reply that comes late changes nothing. The lease counts
 * from before the sync was sent, so the clocks of ring and isolate need not agree.
 */
export function install<Document extends Versioned>(
  held: Held<Document> | null,
  reply: Extract<SyncReply<Document>, { readonly kind: "leased" }>,
  seq: number,
  sentMs: EpochMs,
): Held<Document> | null {
  const lease = {
    seq: Math.max(seq, held?.seq ?? 0),
    leaseEndsMs: after(sentMs, reply.leaseMs),
    refreshAtMs: after(sentMs, reply.nextSyncMs),
  };
  if (held === null) return reply.document === null ? null : { document: reply.document, ...lease };
  if (reply.incarnation !== held.document.incarnation) {
    return seq > held.seq && reply.document !== null ? { document: reply.document, ...lease } : held;
  }
  if (reply.version < held.document.version) return held;
  if (reply.version > held.document.version) {
    return reply.document === null ? held : { document: reply.document, ...lease };
  }
  return {
    document: held.document,
    seq: lease.seq,
    leaseEndsMs: later(held.leaseEndsMs, lease.leaseEndsMs),
    refreshAtMs: later(held.refreshAtMs, lease.refreshAtMs),
  };
}
