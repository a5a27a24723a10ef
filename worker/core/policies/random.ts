import type { BackendId } from "../../../durable/model/names.ts";
import { AliasTable } from "./alias-table.ts";
import type { Candidate, PickContext, Picker, PoolPreparation } from "./policy.ts";
import { Stretches } from "./stretches.ts";

/**
 * Weighted random, in constant time whatever the number of backends; a draw that falls on one that is excluded is made again
 * among all others. It has no counters.
 */
export class Random implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #table: AliasTable;
  readonly #stretches: Stretches;

  private constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates;
    this.#table = new AliasTable(candidates.map(({ weight }) => weight));
    this.#stretches = new Stretches(candidates);
  }

  static prepare({ candidates }: Pick<PoolPreparation, "candidates">): Random {
    return new Random(candidates);
  }

  pick({ exclude, chance }: PickContext): BackendId | null {
    const drawn = this.#candidates[this.#table.draw(chance)];
    if (drawn === undefined) return null;
    if (exclude.size === 0 || !exclude.has(drawn.id)) return drawn.id;
    const other = this.#stretches.draw(this.#table.rest(chance), exclude);
    return other === null ? null : (this.#candidates[other.index]?.id ?? null);
  }
}
