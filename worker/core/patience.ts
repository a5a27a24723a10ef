import type { RetryRules } from "./retry.ts";

/** How long an attempt waits for its response headers. */
export interface Patience {
  readonly timeoutMs: number;
  /** So short that it says nothing of the backend when there are none. */
  readonly isShortened: boolean;
}

/**
 * How long an attempt waits that has `leftMs` of its request's total time, and of whose request so many attempts are left at
 * most, this one included. Each gets the same share of the time, so that a backend that hangs leaves some for others. Half of
 * what a first attempt gets is enough to hold silence against a backend.
 */
export function patienceFor(
  headerTimeoutMs: number,
  leftMs: number,
  attemptsLeft: number,
  { totalTimeoutMs, maxAttempts }: Pick<RetryRules, "totalTimeoutMs" | "maxAttempts">,
): Patience {
  const timeoutMs = Math.max(1, Math.min(headerTimeoutMs, Math.floor(leftMs / attemptsLeft)));
  return { timeoutMs, isShortened: 2 * timeoutMs < Math.min(headerTimeoutMs, totalTimeoutMs / maxAttempts) };
}
