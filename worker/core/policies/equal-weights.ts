/**
 * Backends of one weight, by their index, in a heap: the one nearest to its turn on top, of equals the one listed first.
 * The same weight raises all their turns alike, so only who has had a turn changes its place, and only downwards.
 */
export class EqualWeights {
  readonly weight: number;
  /** By index: what orders them. It is the caller's, who says when one of them has fallen. */
  readonly #turns: Float64Array;
  readonly #heap: number[];
  /** By index: where in the heap. */
  readonly #places: Uint32Array;

  /**
   * Begins in no order. `turns` and `places` have room for every index there is, and may be shared with other weights.
   */
  constructor(weight: number, indexes: readonly number[], turns: Float64Array, places: Uint32Array) {
    this.weight = weight;
    this.#turns = turns;
    this.#places = places;
    this.#heap = [...indexes];
  }

  /** The one nearest to its turn. */
  get first(): number {
    return this.#at(0);
  }

  /** The one nearest to its turn among those that are not `out`; -1 when all are. Takes a time that grows with `out` only. */
  firstBut(out: ReadonlySet<number>, place = 0): number {
    if (place >= this.#heap.length) return -1;
    const index = this.#at(place);
    if (!out.has(index)) return index;
    const left = this.firstBut(out, 2 * place + 1);
    const right = this.firstBut(out, 2 * place + 2);
    if (left === -1 || right === -1) return Math.max(left, right);
    return this.#isBefore(left, right) ? left : right;
  }

  /** Finds the place of one whose turn has fallen. */
  lower(index: number): void {
    this.#sink(this.#places[index] as number, index);
  }

  /** Finds the places of all, whoever's turn has changed. */
  reorder(): void {
    for (let place = this.#heap.length - 1; place >= 0; place--) this.#sink(place, this.#at(place));
  }

  #sink(from: number, index: number): void {
    const heap = this.#heap;
    let place = from;
    for (let below = 2 * place + 1; below < heap.length; below = 2 * place + 1) {
      if (below + 1 < heap.length && this.#isBefore(this.#at(below + 1), this.#at(below))) below++;
      const raised = this.#at(below);
      if (this.#isBefore(index, raised)) break;
      this.#put(place, raised);
      place = below;
    }
    this.#put(place, index);
  }

  #put(place: number, index: number): void {
    this.#heap[place] = index;
    this.#places[index] = place;
  }

  #at(place: number): number {
    return this.#heap[place] as number;
  }

  #isBefore(one: number, other: number): boolean {
    const turn = this.#turns[one] as number;
    const otherTurn = this.#turns[other] as number;
    return turn > otherTurn || (turn === otherTurn && one < other);
  }
}
