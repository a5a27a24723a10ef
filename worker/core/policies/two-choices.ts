import type { BackendId } from "../../../durable/model/names.ts";
import type { EpochMs } from "../../../durable/model/time.ts";
import { AliasTable } from "./alias-table.ts";
import type { Gauged } from "./gauged.ts";
import type { Gauge, PickContext, Picker } from "./policy.ts";

/** What a request costs at a backend of weight 1, by what its gauge says; at one of weight 2 it costs half as much. */
type Cost = (gauge: Gauge, nowMs: EpochMs) => number;

/**
 * Two choices (Mitzenmacher 1996): two different candidates are drawn by weight, and the one where the request costs less
 * for its weight gets it; of equals the one drawn first. It has no counters.
 */
export class TwoChoices implements Picker {
  readonly #candidates: readonly Gauged[];
  readonly #cost: Cost;
  readonly #table: AliasTable;
  /** The sum of weights up to and with each candidate. */
  readonly #ends: Float64Array;
  readonly #sum: number;

  protected constructor(candidates: readonly Gauged[], cost: Cost) {
    this.#candidates = candidates;
    this.#cost = cost;
    this.#table = new AliasTable(candidates.map(({ weight }) => weight));
    this.#ends = new Float64Array(candidates.length);
    let sum = 0;
    candidates.forEach(({ weight }, index) => {
      sum += weight;
      this.#ends[index] = sum;
    });
    this.#sum = sum;
  }

  pick(context: PickContext): BackendId | null {
    const { exclude, chance, nowMs } = context;
    if (exclude.size > 0) return this.#pickAmongOthers(context);
    const drawn = this.#table.draw(chance);
    const one = this.#candidates[drawn];
    if (one === undefined) return null;
    const rest = this.#table.rest(chance);
    const again = this.#table.draw(rest);
    const other =
      this.#candidates[again === drawn ? this.#otherThan(drawn, one, this.#table.rest(rest)) : again];
    if (other === undefined) return one.id;
    const cost = this.#cost;
    return cost(other.gauge, nowMs) * one.weight < cost(one.gauge, nowMs) * other.weight ? other.id : one.id;
  }

  /** By weight among all others, which takes a search; itself when there are none. */
  #otherThan(drawn: number, { weight }: Gauged, chance: number): number {
    const begin = (this.#ends[drawn] ?? 0) - weight;
    const place = chance * (this.#sum - weight);
    return this.#indexAt(place < begin ? place : place + weight);
  }

  #pickAmongOthers(context: PickContext): BackendId | null {
    const others = this.#candidates.filter(({ id }) => !context.exclude.has(id));
    return new TwoChoices(others, this.#cost).pick({ ...context, exclude: NOTHING });
  }

  /** The candidate in whose stretch of the weights a place falls; the last one when rounding has led past all. */
  #indexAt(place: number): number {
    let low = 0;
    let high = this.#ends.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) > place) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const NOTHING: ReadonlySet<BackendId> = new Set();
