import type { BackendId } from "../../../durable/model/names.ts";
import type { Candidate } from "./policy.ts";

/** Where more than one of so many is excluded, going through all takes less time than looking each up and sorting. */
const FEW_OF = 16;

/** What was drawn. */
interface Drawn {
  readonly index: number;
  /** What is left of the random number, 0 ≤ rest < 1: as random as the whole of it was, by as many digits fewer as it took. */
  readonly rest: number;
}

/**
 * Draws by weight among those that are left: the weights lie one after the other as stretches of a line, and those that are
 * out are stepped over. Takes a time that grows with how many are out, and hardly with how many there are.
 */
export class Stretches {
  readonly #candidates: readonly Candidate[];
  readonly #indexes: ReadonlyMap<BackendId, number>;
  /** Where each stretch ends. */
  readonly #ends: Float64Array;

  constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates;
    this.#indexes = new Map(candidates.map(({ id }, index) => [id, index]));
    let end = 0;
    this.#ends = Float64Array.from(candidates, ({ weight }) => {
      end += weight;
      return end;
    });
  }

  /** By a random number, 0 ≤ chance < 1, leaving out what is excluded and the index `but`; null when nothing is left. */
  draw(chance: number, exclude: ReadonlySet<BackendId>, but = -1): Drawn | null {
    const out = this.#outOf(exclude, but);
    if (out.length === this.#ends.length) return null;
    const sum = this.#ends.at(-1) ?? 0;
    let left = sum;
    for (const index of out) left -= this.#weightAt(index);
    let place = chance * left;
    for (const index of out) {
      const weight = this.#weightAt(index);
      if (place < this.#endAt(index) - weight) break;
      place += weight;
    }
    // Rounding may have led past all.
    const index = place < sum ? this.#indexAt(place) : lastBut(out, this.#ends.length);
    const weight = this.#weightAt(index);
    const rest = (place - (this.#endAt(index) - weight)) / weight;
    return { index, rest: rest < 1 ? rest : 0 };
  }

  /** Indexes in ascending order. What is excluded and no candidate does not count. */
  #outOf(exclude: ReadonlySet<BackendId>, but: number): readonly number[] {
    const out: number[] = [];
    if (exclude.size * FEW_OF > this.#candidates.length) {
      for (let index = 0; index < this.#candidates.length; index++)
        if (index === but || exclude.has((this.#candidates[index] as Candidate).id)) out.push(index);
      return out;
    }
    if (but !== -1) out.push(but);
    for (const id of exclude) {
      const index = this.#indexes.get(id) ?? but;
      if (index !== but) out.push(index);
    }
    return out.length > 1 ? out.toSorted((one, other) => one - other) : out;
  }

  /** In whose stretch a place is. */
  #indexAt(place: number): number {
    let low = 0;
    let high = this.#ends.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#endAt(middle) > place) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #weightAt(index: number): number {
    return (this.#candidates[index] as Candidate).weight;
  }

  #endAt(index: number): number {
    return this.#ends[index] as number;
  }
}

/** The last of so many that is not out. */
function lastBut(out: readonly number[], count: number): number {
  let last = count - 1;
  for (let at = out.length - 1; out[at] === last; at--) last--;
  return last;
}
