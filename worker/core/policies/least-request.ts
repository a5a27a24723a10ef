import type { BackendId } from "../../../durable/model/names.ts";
import { AliasTable } from "./alias-table.ts";
import type { Candidate, Load, PickContext, Picker, PoolPreparation } from "./policy.ts";

/**
 * Two choices (Mitzenmacher 1996): two different candidates are drawn by weight, and the one with fewer requests in flight
 * for its weight, this one included, gets it; of equals the one drawn first. It has no counters.
 */
export class LeastRequest implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #load: Load;
  readonly #table: AliasTable;
  /** The sum of weights up to and with each candidate. */
  readonly #ends: Float64Array;
  readonly #sum: number;

  private constructor(candidates: readonly Candidate[], load: Load) {
    this.#candidates = candidates;
    this.#load = load;
    this.#table = new AliasTable(candidates.map(({ weight }) => weight));
    this.#ends = new Float64Array(candidates.length);
    let sum = 0;
    candidates.forEach(({ weight }, index) => {
      sum += weight;
      this.#ends[index] = sum;
    });
    this.#sum = sum;
  }

  static prepare({ candidates, load }: Pick<PoolPreparation, "candidates" | "load">): LeastRequest {
    return new LeastRequest(candidates, load);
  }

  pick({ exclude, chance }: PickContext): BackendId | null {
    if (exclude.size > 0) return this.#pickAmongOthers(exclude, chance);
    const drawn = this.#table.draw(chance);
    const one = this.#candidates[drawn];
    if (one === undefined) return null;
    const rest = this.#table.rest(chance);
    const again = this.#table.draw(rest);
    const other =
      this.#candidates[again === drawn ? this.#otherThan(drawn, one, this.#table.rest(rest)) : again];
    if (other === undefined) return one.id;
    const load = this.#load;
    return (load(other.id) + 1) * one.weight < (load(one.id) + 1) * other.weight ? other.id : one.id;
  }

  /** By weight among all others, which takes a search; past the last one when there are none. */
  #otherThan(drawn: number, { weight }: Candidate, chance: number): number {
    const begin = (this.#ends[drawn] ?? 0) - weight;
    const place = chance * (this.#sum - weight);
    return this.#indexAt(place < begin ? place : place + weight);
  }

  #pickAmongOthers(exclude: ReadonlySet<BackendId>, chance: number): BackendId | null {
    const others = this.#candidates.filter(({ id }) => !exclude.has(id));
    return new LeastRequest(others, this.#load).pick({ exclude: NOTHING, key: null, chance });
  }

  /** The candidate in whose stretch of the weights a place falls; past all of them, none. */
  #indexAt(place: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) > place) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const NOTHING: ReadonlySet<BackendId> = new Set();
