import { Turns } from "./turns.ts";

/** Cycles up to this many picks are kept, in two bytes each: an isolate may have a rotation for every pool, tier and subset. */
const MAX_KEPT = 2 ** 16;

/**
 * Takes turns among indexes, and remembers how. After a cycle of Σw/gcd picks in which each came as often as its weight says,
 * all turns are where they were before it, so the next cycle is the same: from then on it is read from memory, in the
 * same time whatever the number of backends. That ends when anything but an ordinary pick moves the turns.
 */
export class Rotation {
  readonly #weights: readonly number[];
  readonly #turns: Turns;
  /** The picks of the cycle now, or of every cycle; of no length when a cycle is too long to be kept. */
  readonly #order: Uint16Array;
  /** Where in it the next pick is. */
  #place = 0;
  #isRepeating = false;
  /** Up to where in it the turns have been brought, while it repeats. */
  #settled = 0;

  /** Begins with the turns given, one for each weight. */
  constructor(weights: readonly number[], turns: Float64Array) {
    this.#weights = weights;
    this.#turns = new Turns(weights, turns);
    this.#order = new Uint16Array(this.cycle <= MAX_KEPT ? this.cycle : 0);
  }

  /** The sum of weights. */
  get sum(): number {
    return this.#turns.sum;
  }

  /** Picks until everybody has had as many turns as its weight says. */
  get cycle(): number {
    const divisor = this.#weights.reduce(greatestCommonDivisor, 0);
    return divisor === 0 ? 0 : this.#turns.sum / divisor;
  }

  /** The turn of an index as it stands. */
  at(index: number): number {
    this.#settle();
    return this.#turns.at(index);
  }

  /** Serves the next one among those that are not `out`; -1 when all are. */
  take(out: ReadonlySet<number>): number {
    if (out.size === 0) return this.#isRepeating ? this.#repeat() : this.#record();
    const next = this.peek(out);
    if (next !== -1) this.#disturb(next, out);
    return next;
  }

  /** Who would be served next among those that are not `out`; nobody is. */
  peek(out: ReadonlySet<number>): number {
    this.#settle();
    return this.#turns.next(out);
  }

  /** Serves an index, whoever is next. */
  serve(index: number): void {
    this.#settle();
    this.#disturb(index, NOBODY);
  }

  #repeat(): number {
    const place = this.#place;
    this.#place = place + 1 === this.#order.length ? 0 : place + 1;
    return this.#order[place] as number;
  }

  #record(): number {
    const next = this.#turns.next(NOBODY);
    if (next === -1) return next;
    this.#turns.serve(next, NOBODY);
    if (this.#order.length > 0) this.#note(next);
    return next;
  }

  #note(served: number): void {
    this.#order[this.#place++] = served;
    if (this.#place < this.#order.length) return;
    this.#place = 0;
    this.#settled = 0;
    this.#isRepeating = this.#isExact();
  }

  /** Whether the cycle has served each as often as its weight says. In the first ones after a change it may not have. */
  #isExact(): boolean {
    const counts = new Uint32Array(this.#weights.length);
    for (const index of this.#order) counts[index] = (counts[index] ?? 0) + 1;
    const scale = this.#order.length / this.sum;
    return this.#weights.every((weight, index) => counts[index] === Math.round(weight * scale));
  }

  #disturb(served: number, out: ReadonlySet<number>): void {
    this.#turns.serve(served, out);
    this.#isRepeating = false;
    this.#place = 0;
  }

  /** Makes the turns those that stand. Whole cycles changed nothing. */
  #settle(): void {
    if (!this.#isRepeating || this.#settled === this.#place) return;
    if (this.#place < this.#settled) {
      this.#turns.serveAll(this.#order.subarray(this.#settled));
      this.#settled = 0;
    }
    this.#turns.serveAll(this.#order.subarray(this.#settled, this.#place));
    this.#settled = this.#place;
  }
}

const NOBODY: ReadonlySet<number> = new Set();

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
