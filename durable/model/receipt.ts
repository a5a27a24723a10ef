import type { BackendId, PoolName } from "./names.ts";
import type { EpochMs } from "./time.ts";
import type { EstimatedSessions } from "./view.ts";

/**
 * Where a backend is on its way out. `active`: it serves. `ejected`: it gets nothing because of its health, and may come back
 * by itself. `draining`: its sessions stay until the deadline. `expired`: its drain is over, `disabled`, `removed`: it gets
 * nothing by an operator's wish, and it is not certain yet that nothing is left. `safe`: it can be stopped.
 */
export type ReceiptState = "active" | "ejected" | "draining" | "expired" | "disabled" | "removed" | "safe";

/** The answer to "is it safe to stop now?". */
export interface Receipt {
  readonly id: BackendId;
  readonly state: ReceiptState;
  /**
   * The version in which it was closed; while it is not, the present one. Isolates that may still use something older are
   * outstanding.
   */
  readonly version: number;
  /**
   * Nothing more will be sent there by any isolate that reaches the ring in time, and nothing is open there. A backend
   * that is not closed is never safe, however little it gets.
   */
  readonly safe: boolean;
  /**
   * Since when it is safe; or from when on it will be by what is known, sooner if isolates acknowledge. While it drains:
   * if nothing is in flight by then. Null: nobody knows, because something is in flight, or it is not on its way out.
   */
  readonly safeAtMs: EpochMs | null;
  /**
   * From when on it can be stopped whatever isolates did that the ring has not heard of: none sends anything there any more,
   * not even one that is cut off from the ring and serves what it has for `maxStaleMs`, and what it sent has had the time of
   * an ordinary response to end. Never before `safeAtMs`. What is told to be in flight is no part of it: as long as there is
   * any, `safeAtMs` is null. Null: it is not on its way out.
   */
  readonly certainAtMs: EpochMs | null;
  /** Deadline of its drain; null when none runs or it has passed. */
  readonly drainsUntilMs: EpochMs | null;
  /**
   * Requests in flight there, as isolates last told. Once it is closed, what one told that fell silent, and could still
   * serve when that was done, counts until nobody can hold anything older, shortly before `certainAtMs`.
   */
  readonly inFlight: number;
  /** Sessions that came to it lately, and still may. */
  readonly estimatedSessions: EstimatedSessions;
  /** Isolates that may still use something older than `version`. */
  readonly outstandingIsolates: number;
  /** After a restart of the ring: until when there may be isolates that it has not heard of, which hold anything; null: none. */
  readonly unheardUntilMs: EpochMs | null;
}

/** Receipts, and what they come to together. */
export interface ReceiptsView {
  /** Of the pool. */
  readonly version: number;
  /** All of them are. */
  readonly safe: boolean;
  /** When the last of them is; null: nobody knows. */
  readonly safeAtMs: EpochMs | null;
  readonly certainAtMs: EpochMs | null;
  readonly inFlight: number;
  readonly receipts: readonly Receipt[];
}

/** Backends that have a label of this value. */
export interface Labelled {
  readonly label: string;
  readonly value: string;
}

/**
 * Asks for the receipt of one backend, or of all that have a label, or had it when they were drained, closed or removed, and
 * waits for it to be safe.
 */
export interface ReceiptsRequest {
  /** As it was asked for: a ring without a pool does not know its name. */
  readonly pool: PoolName;
  readonly of: { readonly id: BackendId } | Labelled;
  /** Longest wait, milliseconds. 0: the answer comes at once. */
  readonly waitMs: number;
}
