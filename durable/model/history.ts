import type { Author, Change } from "./command.ts";
import { integer, record } from "./fields.ts";
import { invalid } from "./refusal.ts";
import { ok, type Result, refuse } from "./result.ts";
import type { EpochMs } from "./time.ts";

/**
 * What makes versions that nobody asks for. `time`: a drain, a pin, an ejection or a step of a key rotation was over.
 * `probe`: an active health check. `verdict`: what isolates reported, backends' own words among it. `start`: the object
 * itself, when it was new, or the first time that it ran on newer code.
 */
export type SelfMade = "time" | "probe" | "verdict" | "start";

/** Who made a version, and by what. */
export interface Cause {
  /** An `Author`'s operator, or one of `SelfMade`. */
  readonly actor: string;
  /** Kind of the command; null: nobody asked. */
  readonly command: string | null;
  readonly reason: string | null;
}

/** The cause of a version that somebody asked for. */
export function askedBy({ operator, reason }: Author, command: string): Cause {
  return { actor: operator, command, reason };
}

/** The cause of one that nobody asked for. */
export function selfMade(actor: SelfMade): Cause {
  return { actor, command: null, reason: null };
}

/** One version as it is kept. What it changed in the document is not part of it, since the documents tell. */
export interface HistoryEntry extends Cause {
  readonly version: number;
  readonly atMs: EpochMs;
  /** What else it changed, by path. */
  readonly changes: readonly Change[];
}

/**
 * A part of a document as a version left it: one of its listed things under its id, or everything else, the order of the
 * list included, under the empty name. Null: it was taken away.
 */
export interface Part {
  readonly name: string;
  readonly version: number;
  readonly json: string | null;
}

/** One version as it is shown: `changes` are all differences to the version before. */
export type VersionRecord = HistoryEntry;

export interface VersionsRequest {
  /** Those with a smaller number; null: the newest. */
  readonly before: number | null;
  /** So many of them at most, the newest of them first. */
  readonly limit: number;
}

/** Versions, newest first. Only a bounded number is kept. */
export interface VersionsView {
  readonly versions: readonly VersionRecord[];
  /** The oldest whose document is kept. */
  readonly oldest: number;
  /** The present one. */
  readonly newest: number;
}

/** A document as it was at a version. */
export interface PastDocument {
  readonly version: number;
  readonly document: Readonly<Record<string, unknown>>;
}

/** What is different at one version from another. */
export interface Difference {
  readonly from: number;
  readonly to: number;
  readonly changes: readonly Change[];
}

/** What `POST …/rollback` takes. */
export const RollbackSchema = record({
  /** The version whose document is to hold again. Required. */
  version: integer(1, Number.MAX_SAFE_INTEGER),
});

/** Leases that were lost in one minute. */
export interface LostLeases {
  /** When the minute began. */
  readonly atMs: EpochMs;
  /** Isolates whose lease ended before they had said that they hold the version of that time. */
  readonly unacknowledged: number;
  /** Isolates that had work in flight when they were last heard, and were not heard again while their lease lasted. */
  readonly busy: number;
  /** How much that was, in requests. */
  readonly inFlight: number;
}

/** The minutes in which leases were lost, newest first; at most `LIMITS.lostLeaseMinutes`. */
export interface LostLeasesView {
  readonly minutes: readonly LostLeases[];
}

const REASON = /^[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?$/;

/** Reads the reason for a change, as the header `Ring-Reason` carries it. */
export function parseReason(text: string | undefined): Result<string | null> {
  if (text === undefined || text.trim() === "") return ok(null);
  const reason = text.trim();
  if (REASON.test(reason)) return ok(reason);
  return refuse(
    invalid("Ring-Reason", reason.slice(0, 200), "must be at most 200 printable ASCII characters"),
  );
}
