import type { BackendId } from "../../../durable/model/names.ts";
import type { Hash64 } from "../keyed-hash.ts";
import { byId } from "./by-id.ts";
import { buildMaglevTable, slotOf, TABLE_SIZE } from "./maglev-table.ts";
import type { Candidate, PickContext, Picker, PoolPreparation } from "./policy.ts";
import { Random } from "./random.ts";

/**
 * Maglev hashing: a key leads to a slot of a table of 65,537, and the slot to its backend, in constant time. The same key
 * and candidates give the same backend in every isolate. It is the most even of the hashing policies and not quite
 * minimal: taking a backend out also moves a few keys of others.
 *
 * It has no counters. A request without key is led at random, by weight.
 */
export class Maglev implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #table: Uint16Array;
  readonly #keyless: Random;

  private constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates;
    this.#table = buildMaglevTable(candidates.map(({ id, weight }) => ({ name: id, weight })));
    this.#keyless = Random.prepare({ candidates });
  }

  static prepare({ candidates }: Pick<PoolPreparation, "candidates">): Maglev {
    return new Maglev(byId(candidates));
  }

  pick(context: PickContext): BackendId | null {
    const { exclude, key } = context;
    if (key === null) return this.#keyless.pick(context);
    const slot = slotOf(key);
    return exclude.size === 0 ? this.#at(slot) : this.#atOrAfter(slot, key, exclude);
  }

  #at(slot: number): BackendId | null {
    return this.#candidates[this.#table[slot] ?? 0]?.id ?? null;
  }

  /**
   * A key goes on through the table in strides of its own, so the keys of one that is excluded scatter over all others by
   * weight. The slot next to one does not belong to anybody alike: whose it is depends on whose that one is.
   */
  #atOrAfter(slot: number, { low }: Hash64, exclude: ReadonlySet<BackendId>): BackendId | null {
    if (this.#candidates.every(({ id }) => exclude.has(id))) return null;
    const stride = 1 + (low % (TABLE_SIZE - 1));
    for (let step = 0; step < TABLE_SIZE; step++) {
      const id = this.#at((slot + step * stride) % TABLE_SIZE);
      if (id !== null && !exclude.has(id)) return id;
    }
    return null;
  }
}
