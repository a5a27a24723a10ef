import { EqualWeights } from "./equal-weights.ts";

/** Steps after which turns are written out anew, so that their numbers stay small enough to be exact. */
const STEPS_AT_ONCE = 2 ** 20;

/**
 * The turns of smooth weighted round robin, by index: every step raises each turn by its weight, and whoever is served
 * pays the sum of weights.
 *
 * Written down that takes a time that grows with the number of backends. Here a turn is `weight × steps + offset`, so that
 * a step changes only the offset of who pays. Of equal weights only the first in their heap can be the next, so a search
 * looks at one backend per weight. And of weights that are near to each other, a block, the largest turn there was is known;
 * it rises by the largest of the weights at most, so a block that cannot hold the largest turn is not looked into.
 */
export class Turns {
  /** Of all weights. */
  readonly sum: number;
  readonly #weights: Float64Array;
  readonly #offsets: Float64Array;
  /** By weight, the smallest first. */
  readonly #groups: readonly EqualWeights[];
  /** By index: its group. */
  readonly #groupOf: Uint32Array;
  /** By group: the index that is first in it. */
  readonly #leaders: Uint32Array;
  /** Groups to a block. */
  readonly #width: number;
  /** By block: no offset in it, taken for its largest weight, is larger. */
  readonly #bounds: Float64Array;
  #steps = 0;

  /** Begins with the turns given, one for each weight. */
  constructor(weights: readonly number[], turns: Float64Array) {
    this.#weights = Float64Array.from(weights);
    this.sum = weights.reduce((sum, weight) => sum + weight, 0);
    this.#offsets = turns.slice();
    const places = new Uint32Array(weights.length);
    const byWeight = Map.groupBy(weights.keys(), (index) => weights[index] ?? 0);
    this.#groups = Array.from(
      [...byWeight].toSorted(([one], [other]) => one - other),
      ([weight, indexes]) => new EqualWeights(weight, indexes, this.#offsets, places),
    );
    this.#groupOf = new Uint32Array(weights.length);
    this.#leaders = Uint32Array.from(this.#groups, ({ first }) => first);
    this.#groups.forEach(({ weight }, group) => {
      for (const index of byWeight.get(weight) ?? []) this.#groupOf[index] = group;
    });
    this.#width = Math.ceil(Math.sqrt(this.#groups.length));
    this.#bounds = new Float64Array(Math.ceil(this.#groups.length / Math.max(1, this.#width)));
    this.#bounds.fill(Number.POSITIVE_INFINITY);
  }

  /** The turn of an index as it stands. */
  at(index: number): number {
    return (this.#weights[index] as number) * this.#steps + (this.#offsets[index] as number);
  }

  /** Who is next, the first of equals, leaving out some; -1 when there is nobody. Nobody's turn moves. */
  next(out: ReadonlySet<number>): number {
    return out.size === 0 ? this.#next() : this.#nextBut(out);
  }

  /** Serves an index. Those that are out stay as they are: their weights are not in this step. */
  serve(served: number, out: ReadonlySet<number>): void {
    if (++this.#steps > STEPS_AT_ONCE) this.#writeOut();
    this.#lower(served, out.size === 0 ? this.sum : this.sum - this.#holdBack(out));
  }

  /** Serves many, one after the other, at little more than the cost of writing their turns down. */
  serveAll(served: Uint16Array): void {
    for (const index of served) this.#offsets[index] = (this.#offsets[index] as number) - this.sum;
    this.#steps += served.length;
    this.#groups.forEach((group, at) => {
      group.reorder();
      this.#leaders[at] = group.first;
    });
  }

  /** Takes back what a step has raised them by, and returns how much that is in sum. */
  #holdBack(out: ReadonlySet<number>): number {
    let sum = 0;
    for (const index of out) {
      const weight = this.#weights[index] as number;
      sum += weight;
      this.#lower(index, weight);
    }
    return sum;
  }

  #next(): number {
    const at = this.#steps + 1;
    const bounds = this.#bounds;
    let best = -1;
    let bestTurn = Number.NEGATIVE_INFINITY;
    for (let block = 0; block < bounds.length; block++) {
      const begin = block * this.#width;
      const end = Math.min(begin + this.#width, this.#leaders.length);
      const largest = (this.#weights[this.#leaders[end - 1] as number] as number) * at;
      if ((bounds[block] as number) + largest < bestTurn) continue;
      let blockTurn = Number.NEGATIVE_INFINITY;
      for (let group = begin; group < end; group++) {
        const index = this.#leaders[group] as number;
        const turn = (this.#weights[index] as number) * at + (this.#offsets[index] as number);
        if (turn > blockTurn) blockTurn = turn;
        if (turn > bestTurn || (turn === bestTurn && index < best)) {
          best = index;
          bestTurn = turn;
        }
      }
      bounds[block] = blockTurn - largest;
    }
    return best;
  }

  #nextBut(out: ReadonlySet<number>): number {
    let best = -1;
    let bestTurn = Number.NEGATIVE_INFINITY;
    for (const group of this.#groups) {
      const index = group.firstBut(out);
      if (index === -1) continue;
      const turn = this.at(index) + group.weight;
      if (turn > bestTurn || (turn === bestTurn && index < best)) {
        best = index;
        bestTurn = turn;
      }
    }
    return best;
  }

  #lower(index: number, by: number): void {
    const group = this.#groupOf[index] as number;
    const equals = this.#groups[group] as EqualWeights;
    this.#offsets[index] = (this.#offsets[index] as number) - by;
    equals.lower(index);
    this.#leaders[group] = equals.first;
  }

  /** All of one weight rise alike, so their order stays. */
  #writeOut(): void {
    this.#weights.forEach((weight, index) => {
      this.#offsets[index] = (this.#offsets[index] as number) + weight * this.#steps;
    });
    this.#steps = 0;
    this.#bounds.fill(Number.POSITIVE_INFINITY);
  }
}
