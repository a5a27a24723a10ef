import type { BackendId } from "../../../durable/model/names.ts";
import type { Hash64 } from "../keyed-hash.ts";
import type { Candidate, PickContext, Picker, Preparation } from "./policy.ts";

const TWO_53 = 2 ** 53;

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998, weights after Schindelhauer and Schomaker 2005): every
 * backend draws a number u from the key and its own name, and the largest weight / −ln u wins. The same key and
 * candidates give the same backend in every isolate; taking a backend out moves only its own keys, and changing a weight
 * moves only that share.
 *
 * It has no counters. A request without key gets a random one.
 */
export class Rendezvous implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #names: readonly Hash64[];

  private constructor(candidates: readonly Candidate[], names: readonly Hash64[]) {
    this.#candidates = candidates;
    this.#names = names;
  }

  static prepare({ candidates, hash }: Preparation<Rendezvous>): Rendezvous {
    return new Rendezvous(
      candidates,
      candidates.map(({ id }) => hash(`backend ${id}`)),
    );
  }

  pick({ exclude, key, chance }: Omit<PickContext, "nowMs">): BackendId | null {
    const drawn = key ?? { high: chance * 2 ** 32, low: mix(chance * 2 ** 32) };
    let best: BackendId | null = null;
    let bestCost = Number.POSITIVE_INFINITY;
    for (let index = 0; index < this.#candidates.length; index++) {
      const { id, weight } = this.#candidates[index] as Candidate;
      if (exclude.size > 0 && exclude.has(id)) continue;
      const number = draw(drawn, this.#names[index] as Hash64);
      // −ln u is at least 1 − u, and a logarithm takes longer than all the rest.
      if (1 - number > bestCost * weight) continue;
      const itsCost = -Math.log(number) / weight;
      if (itsCost < bestCost) {
        best = id;
        bestCost = itsCost;
      }
    }
    return best;
  }
}

/** What a name of a weight costs for a key; the cheapest of all names is where the key belongs. */
export function cost(key: Hash64, name: Hash64, weight: number): number {
  return -Math.log(draw(key, name)) / weight;
}

/** A number strictly between 0 and 1, of 53 bits, that a key and a name always draw again. */
function draw(key: Hash64, name: Hash64): number {
  const high = mix(key.high ^ name.high ^ mix(key.low + name.low));
  const low = mix(high ^ key.low ^ name.low);
  return ((high >>> 5) * 0x4000000 + (low >>> 6) + 0.5) / TWO_53;
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the result. */
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
