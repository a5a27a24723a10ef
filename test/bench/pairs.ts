/** What was measured of the floor and of a variant, one right after the other. */
export interface Pair<Run> {
  readonly floor: Run;
  readonly variant: Run;
}

/**
 * Measures floor and variant in turns, `count` times each, and the other way round in every second pair: what drifts, or
 * favours whoever comes first, falls on both.
 */
export async function measurePairs<Run>(
  count: number,
  measureFloor: () => Promise<Run>,
  measureVariant: () => Promise<Run>,
  onPair: (pair: Pair<Run>, index: number) => void,
): Promise<readonly Pair<Run>[]> {
  const pairs: Pair<Run>[] = [];
  for (let index = 0; index < count; index++) {
    const early = index % 2 === 0 ? await measureFloor() : await measureVariant();
    const late = index % 2 === 0 ? await measureVariant() : await measureFloor();
    const pair = index % 2 === 0 ? { floor: early, variant: late } : { floor: late, variant: early };
    pairs.push(pair);
    onPair(pair, index);
  }
  return pairs;
}
