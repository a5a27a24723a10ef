/**
 * Of each weight, the backend that is nearest to its turn: its index, and the offset that makes `weight × steps + offset`
 * its turn. Finds the largest turn among them without a look at most.
 *
 * Weights that are near to each other form a block, of which the largest turn there was is known. It rises by the largest
 * of these weights at most, and otherwise turns only fall, so a block that cannot hold the largest turn need not be
 * looked into.
 */
export class Leaders {
  /** By group, which is all of one weight, the smallest weight first. */
  readonly #weights: Float64Array;
  readonly #indexes: Uint32Array;
  readonly #offsets: Float64Array;
  /** Groups to a block. */
  readonly #width: number;
  /** By block: its largest weight. */
  readonly #steepest: Float64Array;
  /** By block: what no offset exceeds, taken for the largest weight. */
  readonly #bounds: Float64Array;

  /** Begins with weights in ascending order, the leader of none of them known. */
  constructor(weights: readonly number[]) {
    this.#weights = Float64Array.from(weights);
    this.#indexes = new Uint32Array(weights.length);
    this.#offsets = new Float64Array(weights.length);
    const width = Math.max(1, Math.ceil(Math.sqrt(weights.length)));
    const blocks = Array.from({ length: Math.ceil(weights.length / width) }, (_, block) => block);
    this.#width = width;
    this.#steepest = Float64Array.from(
      blocks,
      (block) => weights[(block + 1) * width - 1] ?? weights.at(-1) ?? 0,
    );
    this.#bounds = new Float64Array(blocks.length);
    this.forgetBounds();
  }

  /** Sets who leads a weight. Unless bounds are forgotten, it must not be ahead of who led before. */
  set(group: number, index: number, offset: number): void {
    this.#indexes[group] = index;
    this.#offsets[group] = offset;
  }

  /** What was known of blocks holds no longer. */
  forgetBounds(): void {
    this.#bounds.fill(Number.POSITIVE_INFINITY);
  }

  /** The index whose turn is the largest after so many steps, of equals the first; -1 when there is none. */
  largest(steps: number): number {
    const bounds = this.#bounds;
    const steepest = this.#steepest;
    if (bounds.length === 0) return -1;
    // With the most promising one first, hardly any other is looked into.
    const first = this.#mostPromising(steps);
    let best = this.#bestOf(first, steps);
    let bestTurn = this.#turn(best, steps);
    for (let block = 0; block < bounds.length; block++) {
      if (block === first || (steepest[block] as number) * steps + (bounds[block] as number) < bestTurn)
        continue;
      const other = this.#bestOf(block, steps);
      const turn = this.#turn(other, steps);
      if (turn > bestTurn || (turn === bestTurn && this.#isBefore(other, best))) {
        best = other;
        bestTurn = turn;
      }
    }
    return this.#indexes[best] as number;
  }

  #mostPromising(steps: number): number {
    const bounds = this.#bounds;
    const steepest = this.#steepest;
    let first = 0;
    let largest = Number.NEGATIVE_INFINITY;
    for (let block = 0; block < bounds.length; block++) {
      const bound = (steepest[block] as number) * steps + (bounds[block] as number);
      if (bound > largest) {
        first = block;
        largest = bound;
      }
    }
    return first;
  }

  /** The group in a block whose leader is first, down to which the bound is brought. */
  #bestOf(block: number, steps: number): number {
    const begin = block * this.#width;
    const weights = this.#weights;
    const offsets = this.#offsets;
    const indexes = this.#indexes;
    const end = Math.min(begin + this.#width, weights.length);
    let best = begin;
    let bestTurn = Number.NEGATIVE_INFINITY;
    for (let group = begin; group < end; group++) {
      const turn = (weights[group] as number) * steps + (offsets[group] as number);
      if (turn > bestTurn || (turn === bestTurn && (indexes[group] as number) < (indexes[best] as number))) {
        best = group;
        bestTurn = turn;
      }
    }
    this.#bounds[block] = bestTurn - (this.#steepest[block] as number) * steps;
    return best;
  }

  #turn(group: number, steps: number): number {
    return (this.#weights[group] as number) * steps + (this.#offsets[group] as number);
  }

  #isBefore(group: number, other: number): boolean {
    return (this.#indexes[group] as number) < (this.#indexes[other] as number);
  }
}
