import type { BackendId } from "../../../durable/model/names.ts";
import type { Candidate, PickContext, Picker, PoolPreparation } from "./policy.ts";

/** The first in the pool's order; the others only stand by. Weights do not matter, and it has no counters. */
export class First implements Picker {
  readonly #candidates: readonly Candidate[];

  private constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates;
  }

  static prepare({ candidates }: Pick<PoolPreparation, "candidates">): First {
    return new First(candidates);
  }

  pick({ exclude }: PickContext): BackendId | null {
    for (const { id } of this.#candidates) if (!exclude.has(id)) return id;
    return null;
  }
}
