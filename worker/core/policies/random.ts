import type { BackendId } from "../../../durable/model/names.ts";
import { AliasTable } from "./alias-table.ts";
import type { Candidate, PickContext, Picker, PoolPreparation } from "./policy.ts";

/** Weighted random, in constant time whatever the number of backends. It has no counters. */
export class Random implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #table: AliasTable;

  private constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates;
    this.#table = new AliasTable(candidates.map(({ weight }) => weight));
  }

  static prepare({ candidates }: Pick<PoolPreparation, "candidates">): Random {
    return new Random(candidates);
  }

  pick({ exclude, chance }: PickContext): BackendId | null {
    if (exclude.size > 0) return this.#pickAmongOthers(exclude, chance);
    return this.#candidates[this.#table.draw(chance)]?.id ?? null;
  }

  /** By the weights of those that are left, one after the other. */
  #pickAmongOthers(exclude: ReadonlySet<BackendId>, chance: number): BackendId | null {
    const others = this.#candidates.filter(({ id }) => !exclude.has(id));
    let left = chance * others.reduce((sum, { weight }) => sum + weight, 0);
    for (const { id, weight } of others) {
      left -= weight;
      if (left < 0) return id;
    }
    return others.at(-1)?.id ?? null;
  }
}
