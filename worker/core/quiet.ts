import type { ObjectFailure } from "./object-unavailable.ts";

/** What is known when an object could not be reached. */
interface Failing {
  readonly failure: ObjectFailure;
  /** In a row, the latest included. */
  readonly failures: number;
  /** Whether requests can be served all the same. */
  readonly canServe: boolean;
}

/** First quiet time, and longest with a document to serve from, and without one. Milliseconds. */
const QUIET = { minMs: 500, maxMs: 8_000, maxEmptyMs: 2_000 };

/** The same for an object that has too much to do: every call makes it worse, so it is left alone for longer. */
const QUIET_OVERLOADED = { minMs: 2_000, maxMs: 16_000, maxEmptyMs: 8_000 };

/** Share of the quiet time that chance takes off at most, so that isolates that failed together do not come back together. */
const JITTER = 0.5;

/** How long an object that could not be reached is not asked again: twice as long each time. `chance`: 0…1. Milliseconds. */
export function quietMs({ failure, failures, canServe }: Failing, chance: number): number {
  const { minMs, maxMs, maxEmptyMs } = failure === "overloaded" ? QUIET_OVERLOADED : QUIET;
  const longestMs = Math.min(minMs * 2 ** (failures - 1), canServe ? maxMs : maxEmptyMs);
  return Math.round(longestMs * (1 - JITTER * chance));
}
