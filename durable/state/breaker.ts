import type { HealthCheck } from "../model/health-check.ts";

type BreakerRules = HealthCheck["breaker"];

/** What an average still holds, after a whole window, of what it began with. */
const EPSILON = 0.02;

/** A failure costs at most so many times what a success takes. */
const MAX_COST_RATIO = 2;

/** Less than this is no error at all, milliseconds. */
const MIN_ERROR_MS = 0.5;

/** What became of one attempt. */
export interface Sample {
  readonly isFailure: boolean;
  /** Until the response headers or the failure, milliseconds. */
  readonly latencyMs: number;
}

/** Attempts at one backend, added up: how many, and the milliseconds they took together. */
export interface Attempts {
  readonly successes: number;
  readonly failures: number;
  readonly successMs: number;
  readonly failureMs: number;
}

export const NO_ATTEMPTS: Attempts = { successes: 0, failures: 0, successMs: 0, failureMs: 0 };

export function addAttempts(one: Attempts, other: Attempts): Attempts {
  return {
    successes: one.successes + other.successes,
    failures: one.failures + other.failures,
    successMs: one.successMs + other.successMs,
    failureMs: one.failureMs + other.failureMs,
  };
}

/** One of the two averages of a breaker. */
interface Average {
  /** Attempts seen, up to the size of the window. Until it is reached, failures are counted instead of weighed. */
  readonly samples: number;
  /** Failures of that time. */
  readonly failures: number;
  /** What a success takes; 0: none was seen. */
  readonly latencyMs: number;
  /** What failures have cost. */
  readonly errorMs: number;
}

interface Size {
  readonly window: number;
  readonly percent: number;
}

/** What the breaker of one backend remembers. */
export interface BreakerState {
  readonly short: Average;
  readonly long: Average;
}

/** What a breaker remembers now, and whether what it was told made it trip. */
export interface Verdict {
  readonly breaker: BreakerState;
  readonly isTripped: boolean;
}

const EMPTY: Average = { samples: 0, failures: 0, latencyMs: 0, errorMs: 0 };

export const NEW_BREAKER: BreakerState = { short: EMPTY, long: EMPTY };

/**
 * brpc's circuit breaker: exponential averages over two windows of attempts, in which a failure costs the time it took, up
 * to twice that of a success, and every success lets the cost of the failures fade. It trips when the cost in either window
 * is more than that share of it which it stands. Until as many attempts were seen as a window is long, a failure trips it
 * when there were `window × percent` before it.
 *
 * Both windows are told of every attempt; after it has tripped brpc's are told of none until they are reset.
 */
export function observe({ short, long }: BreakerState, sample: Sample, rules: BreakerRules): Verdict {
  const next = {
    short: observeOne(short, sample, shortOf(rules)),
    long: observeOne(long, sample, longOf(rules)),
  };
  return {
    breaker: { short: next.short.average, long: next.long.average },
    isTripped: next.short.isTripped || next.long.isTripped,
  };
}

/**
 * As if the attempts had been observed one by one, each with the average time of its kind, and the failures spread evenly
 * among the successes, the last of them at the end. What comes after it has tripped is ignored.
 */
export function observeAll(before: BreakerState, attempts: Attempts, rules: BreakerRules): Verdict {
  const { successes, failures } = attempts;
  const successMs = attempts.successMs / successes;
  const latencyMs = attempts.failureMs / failures;
  let breaker = before;
  let told = 0;
  for (let failure = 1; failure <= failures; failure++) {
    const due = Math.floor((failure * successes) / failures);
    const verdict = observe(
      observeSuccesses(breaker, due - told, successMs, rules),
      { isFailure: true, latencyMs },
      rules,
    );
    if (verdict.isTripped) return verdict;
    breaker = verdict.breaker;
    told = due;
  }
  return { breaker: observeSuccesses(breaker, successes - told, successMs, rules), isTripped: false };
}

/** What is left after an isolation: what a success takes, once that is known well; no errors. */
export function reset({ short, long }: BreakerState, rules: BreakerRules): BreakerState {
  return { short: resetOne(short, shortOf(rules)), long: resetOne(long, longOf(rules)) };
}

/**
 * How long the next isolation lasts, milliseconds: twice the last one if it comes soon after that, else the shortest.
 * `lastMs`: how long the last one was, 0 for none; `heldMs`: how long ago it ended.
 */
export function nextIsolationMs(lastMs: number, heldMs: number, rules: BreakerRules): number {
  const { minIsolationMs, maxIsolationMs } = rules;
  if (heldMs >= maxIsolationMs) return minIsolationMs;
  return Math.min(maxIsolationMs, Math.max(minIsolationMs, 2 * lastMs));
}

function shortOf({ shortWindow, shortPercent }: BreakerRules): Size {
  return { window: shortWindow, percent: shortPercent };
}

function longOf({ longWindow, longPercent }: BreakerRules): Size {
  return { window: longWindow, percent: longPercent };
}

function observeOne(
  average: Average,
  { isFailure, latencyMs }: Sample,
  size: Size,
): { readonly average: Average; readonly isTripped: boolean } {
  if (!isFailure) return { average: succeed(average, 1, latencyMs, size), isTripped: false };
  const { samples, failures } = average;
  const usualMs = average.latencyMs;
  const costMs = usualMs === 0 ? latencyMs : Math.min(latencyMs, MAX_COST_RATIO * usualMs);
  const errorMs = average.errorMs + costMs;
  if (samples < size.window) {
    const next = { ...average, samples: samples + 1, failures: failures + 1, errorMs };
    return { average: next, isTripped: failures >= Math.floor((size.window * size.percent) / 100) };
  }
  const mostMs = usualMs * size.window * (size.percent / 100) * (1 + EPSILON);
  return { average: { ...average, errorMs }, isTripped: errorMs > mostMs };
}

function observeSuccesses(
  { short, long }: BreakerState,
  count: number,
  latencyMs: number,
  rules: BreakerRules,
): BreakerState {
  return {
    short: succeed(short, count, latencyMs, shortOf(rules)),
    long: succeed(long, count, latencyMs, longOf(rules)),
  };
}

/** So many successes that took equally long. Errors fade with each, and are gone when they began it below `MIN_ERROR_MS`. */
function succeed(average: Average, count: number, latencyMs: number, { window }: Size): Average {
  if (count === 0) return average;
  const keeps = EPSILON ** (count / window);
  const beforeLastMs = average.errorMs * EPSILON ** ((count - 1) / window);
  return {
    samples: Math.min(window, average.samples + count),
    failures: average.failures,
    latencyMs: average.latencyMs === 0 ? latencyMs : average.latencyMs * keeps + latencyMs * (1 - keeps),
    errorMs: beforeLastMs < MIN_ERROR_MS ? 0 : average.errorMs * keeps,
  };
}

function resetOne(average: Average, { window }: Size): Average {
  return average.samples < window ? EMPTY : { ...average, failures: 0, errorMs: 0 };
}
