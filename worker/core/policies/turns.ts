import { EqualWeights } from "./equal-weights.ts";
import { Leaders } from "./leaders.ts";

/** Parts of a turn that are told apart. With whole parts all sums are exact, and what is exact repeats. */
export const PARTS = 2 ** 10;

/** Steps after which turns are written out anew, so that their numbers stay small enough to be exact. */
const STEPS_AT_ONCE = 2 ** 20;

/**
 * The turns of smooth weighted round robin, by index: every step raises each turn by its weight, and whoever is served
 * pays the sum of weights.
 *
 * Written down that takes a time that grows with the number of backends. Here a turn is `weight × steps + offset`, so that
 * a step changes only the offset of who pays. And of equal weights only the one that leads can be the next.
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
  readonly #leaders: Leaders;
  #steps = 0;

  /** Begins with the turns given, one for each weight. */
  constructor(weights: readonly number[], turns: Float64Array) {
    this.sum = weights.reduce((sum, weight) => sum + weight, 0);
    this.#weights = Float64Array.from(weights);
    this.#offsets = turns.slice();
    this.#groupOf = new Uint32Array(weights.length);
    const byWeight = Map.groupBy(weights.keys(), (index) => weights[index] ?? 0);
    const ascending = [...byWeight].toSorted(([one], [other]) => one - other);
    const places = new Uint32Array(weights.length);
    this.#groups = ascending.map(([weight, indexes], group) => {
      for (const index of indexes) this.#groupOf[index] = group;
      return new EqualWeights(weight, indexes, this.#offsets, places);
    });
    this.#leaders = new Leaders(ascending.map(([weight]) => weight));
    this.#reorder();
  }

  /** The turn of an index as it stands. */
  at(index: number): number {
    return (this.#weights[index] as number) * this.#steps + (this.#offsets[index] as number);
  }

  /** Who is next, the first of equals, leaving out some; -1 when there is nobody. Nobody's turn moves. */
  next(out: ReadonlySet<number>): number {
    return out.size === 0 ? this.#leaders.largest(this.#steps + 1) : this.#nextBut(out);
  }

  /** Serves an index. The turns of those that are out stay as they are. */
  serve(served: number, out: ReadonlySet<number>): void {
    const steps = this.#stepsWithout(out);
    this.#steps += steps;
    if (this.#steps > STEPS_AT_ONCE) this.#writeOut();
    this.#lower(served, out.size === 0 ? this.sum : this.#holdBack(out, steps));
  }

  /** Serves many, one after the other, at little more than the cost of writing their turns down. */
  serveAll(served: Uint16Array): void {
    for (const index of served) this.#offsets[index] = (this.#offsets[index] as number) - this.sum;
    this.#steps += served.length;
    this.#reorder();
  }

  /** Takes back what steps have raised some by, and returns how much they raised all others. */
  #holdBack(out: ReadonlySet<number>, steps: number): number {
    let raised = this.sum * steps;
    for (const index of out) {
      const rise = (this.#weights[index] as number) * steps;
      raised -= rise;
      this.#lower(index, rise);
    }
    return raised;
  }

  /**
   * How many steps at once those that are left take, in whole parts: so many that together they rise by the sum of all
   * weights. With one step, as in nginx, being owed a turn would mean many of them when a heavy one is out.
   */
  #stepsWithout(out: ReadonlySet<number>): number {
    if (out.size === 0) return 1;
    let left = this.sum;
    for (const index of out) left -= this.#weights[index] as number;
    return Math.round((this.sum / left) * PARTS) / PARTS;
  }

  #nextBut(out: ReadonlySet<number>): number {
    const steps = this.#stepsWithout(out);
    let best = -1;
    let bestTurn = Number.NEGATIVE_INFINITY;
    for (const group of this.#groups) {
      const index = group.firstBut(out);
      if (index === -1) continue;
      const turn = this.at(index) + group.weight * steps;
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
    this.#leaders.set(group, equals.first, this.#offsets[equals.first] as number);
  }

  #writeOut(): void {
    this.#weights.forEach((weight, index) => {
      this.#offsets[index] = (this.#offsets[index] as number) + weight * this.#steps;
    });
    this.#steps = 0;
    this.#reorder();
  }

  #reorder(): void {
    this.#groups.forEach((equals, group) => {
      equals.reorder();
      this.#leaders.set(group, equals.first, this.#offsets[equals.first] as number);
    });
    this.#leaders.forgetBounds();
  }
}
