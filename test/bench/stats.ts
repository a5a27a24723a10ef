/** A median, and where the true one lies. */
export interface MedianInterval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Which order statistics bound the median of a sample, and how sure that is. */
export interface IntervalRanks {
  /** The smallest value counts as rank 1; the upper bound is as far from the other end. */
  readonly lowRank: number;
  readonly highRank: number;
  /** Probability that the interval covers the true median, 0…1. */
  readonly coverage: number;
}

/**
 * The narrowest ranks k and n + 1 − k between which the true median lies with at least 95 % probability, whatever the
 * distribution: it falls outside only if fewer than k of n fair coins show the same side. Below six values no two ranks
 * are that far apart, and the whole range with its lesser coverage is all there is.
 */
export function intervalRanks(count: number): IntervalRanks {
  let lowRank = 0;
  // Probability of at most `lowRank` heads, and of exactly that many.
  let term = 0.5 ** count;
  let tail = term;
  while (tail <= 0.025) {
    lowRank++;
    term *= (count - lowRank + 1) / lowRank;
    tail += term;
  }
  if (lowRank === 0) return { lowRank: 1, highRank: count, coverage: 1 - 2 * tail };
  return { lowRank, highRank: count + 1 - lowRank, coverage: 1 - 2 * (tail - term) };
}

/** The median with its interval, by order statistics. */
export function medianInterval(values: readonly number[]): MedianInterval {
  const sorted = ascending(values);
  const { lowRank, highRank } = intervalRanks(sorted.length);
  return { median: median(sorted), low: at(sorted, lowRank - 1), high: at(sorted, highRank - 1) };
}

/** The middle value, or the mean of the two. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const half = sorted.length / 2;
  return (at(sorted, Math.ceil(half) - 1) + at(sorted, Math.floor(half))) / 2;
}

/** The smallest value that at least this share (0…1) of all do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  return at(ascending(values), Math.max(0, Math.ceil(share * values.length) - 1));
}

function ascending(values: readonly number[]): readonly number[] {
  return values.toSorted((a, b) => a - b);
}

function at(sorted: readonly number[], index: number): number {
  const value = sorted[index];
  if (value === undefined) throw new Error(`no value at ${index} of ${sorted.length}`);
  return value;
}
