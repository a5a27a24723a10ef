/**
 * Draws an index by weight in constant time: the alias method (Walker 1977, built as Vose 1991 does). Every index has a cell
 * of the same width, which it shares with at most one other, its alias.
 */
export class AliasTable {
  /** How much of its cell belongs to the index itself, 0…1. */
  readonly #shares: Float64Array;
  readonly #aliases: Uint32Array;

  constructor(weights: readonly number[]) {
    const sum = weights.reduce((total, weight) => total + weight, 0);
    this.#shares = Float64Array.from(weights, (weight) => (weight * weights.length) / sum);
    this.#aliases = Uint32Array.from(weights, (_, index) => index);
    this.#fill();
  }

  /** The index that a random number, 0 ≤ chance < 1, leads to; -1 when there is none. It gives both the cell and the place in it. */
  draw(chance: number): number {
    const place = chance * this.#shares.length;
    const cell = Math.floor(place);
    const share = this.#shares[cell];
    if (share === undefined) return -1;
    return place - cell < share ? cell : (this.#aliases[cell] ?? cell);
  }

  /** What is left of a random number when `draw` has taken its share: another, that is independent of what was drawn. */
  rest(chance: number): number {
    const place = chance * this.#shares.length;
    const cell = Math.floor(place);
    const share = this.#shares[cell] ?? 1;
    const within = place - cell;
    return within < share ? within / share : (within - share) / (1 - share);
  }

  /** Fills each cell that its index does not fill with one that has too much. What rounding leaves over keeps its cell. */
  #fill(): void {
    const shares = this.#shares;
    const small: number[] = [];
    const large: number[] = [];
    shares.forEach((share, index) => (share < 1 ? small : large).push(index));
    while (small.length > 0 && large.length > 0) {
      const poor = small.pop() ?? 0;
      const rich = large.at(-1) ?? 0;
      this.#aliases[poor] = rich;
      const left = (shares[rich] ?? 0) + (shares[poor] ?? 0) - 1;
      shares[rich] = left;
      if (left < 1) {
        large.pop();
        small.push(rich);
      }
    }
    for (const index of [...small, ...large]) shares[index] = 1;
  }
}
