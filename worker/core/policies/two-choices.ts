import type { BackendId } from "../../../durable/model/names.ts";
import type { EpochMs } from "../../../durable/model/time.ts";
import { AliasTable } from "./alias-table.ts";
import type { Gauged } from "./gauged.ts";
import type { Gauge, PickContext, Picker } from "./policy.ts";
import { Stretches } from "./stretches.ts";

/** What a request costs at a backend of weight 1, by what its gauge says; at one of weight 2 it costs half as much. */
type Cost = (gauge: Gauge, nowMs: EpochMs) => number;

/**
 * Two choices (Mitzenmacher 1996): two different candidates are drawn by weight, and the one where the request costs less
 * for its weight gets it; of equals the one drawn first. It has no counters.
 *
 * A draw that falls on one that cannot be chosen is made again among those that can. Three draws at most are made of one
 * chance, so its 53 bits suffice.
 */
export class TwoChoices implements Picker {
  readonly #candidates: readonly Gauged[];
  readonly #cost: Cost;
  readonly #table: AliasTable;
  readonly #stretches: Stretches;

  protected constructor(candidates: readonly Gauged[], cost: Cost) {
    this.#candidates = candidates;
    this.#cost = cost;
    this.#table = new AliasTable(candidates.map(({ weight }) => weight));
    this.#stretches = new Stretches(candidates);
  }

  pick(context: PickContext): BackendId | null {
    const { exclude, chance } = context;
    const drawn = this.#table.draw(chance);
    const one = this.#candidates[drawn];
    if (one === undefined) return null;
    const rest = this.#table.rest(chance);
    if (exclude.size > 0 && exclude.has(one.id)) return this.#pickAmongOthers(rest, context);
    const again = this.#table.draw(rest);
    const other = this.#candidates[again];
    return again !== drawn && other !== undefined && (exclude.size === 0 || !exclude.has(other.id))
      ? this.#cheaper(one, other, context)
      : this.#pickWith(drawn, this.#table.rest(rest), context);
  }

  #pickAmongOthers(chance: number, context: PickContext): BackendId | null {
    const drawn = this.#stretches.draw(chance, context.exclude);
    return drawn === null ? null : this.#pickWith(drawn.index, drawn.rest, context);
  }

  /** This one or another; this one when there is no other. */
  #pickWith(index: number, chance: number, context: PickContext): BackendId | null {
    const one = this.#candidates[index];
    const drawn = this.#stretches.draw(chance, context.exclude, index);
    const other = drawn === null ? one : this.#candidates[drawn.index];
    return one === undefined || other === undefined ? null : this.#cheaper(one, other, context);
  }

  #cheaper(one: Gauged, other: Gauged, { nowMs, reads }: PickContext): BackendId {
    const cost = this.#cost;
    reads?.gauge(one.id, one.gauge, nowMs);
    reads?.gauge(other.id, other.gauge, nowMs);
    return cost(other.gauge, nowMs) * one.weight < cost(one.gauge, nowMs) * other.weight ? other.id : one.id;
  }
}
