import type { BackendId } from "../../../durable/model/names.ts";
import type { EpochMs } from "../../../durable/model/time.ts";
import { byId } from "./by-id.ts";
import { type Gauged, type GaugedPreparation, gauged } from "./gauged.ts";
import type { GaugeReads, PickContext, Picker } from "./policy.ts";

/** What a bound is made from. */
interface BoundedPreparation extends GaugedPreparation {
  readonly hashBalanceFactor: number;
}

/**
 * Hashing with bounded load (Mirrokni, Thorup and Zadimoghaddam 2016): a backend takes a key only while that leaves it with
 * at most `hashBalanceFactor` percent of its share of everything in flight in the isolate, rounded up as Envoy does. Past
 * that the key tries the others in an order of its own (Chen, Coleman and Shrivastava 2019, so that one's overflow does not
 * become its neighbour's), and when none has room, which only exclusions can bring about, takes the least overloaded.
 *
 * A pick reads what is in flight everywhere, so it takes a time that grows with the number of backends.
 */
export class BoundedLoad implements Picker {
  readonly #picker: Picker;
  readonly #candidates: readonly Gauged[];
  readonly #indexes: ReadonlyMap<BackendId, number>;
  readonly #factor: number;
  readonly #sum: number;

  private constructor(picker: Picker, { candidates, gauge, hashBalanceFactor }: BoundedPreparation) {
    this.#picker = picker;
    this.#candidates = gauged({ candidates: byId(candidates), gauge });
    this.#indexes = new Map(this.#candidates.map(({ id }, index) => [id, index]));
    this.#factor = hashBalanceFactor;
    this.#sum = candidates.reduce((sum, { weight }) => sum + weight, 0);
  }

  /** Puts a bound on a picker that is ready. */
  static prepare(picker: Picker, preparation: BoundedPreparation): BoundedLoad {
    return new BoundedLoad(picker, preparation);
  }

  pick(context: PickContext): BackendId | null {
    const picked = this.#picker.pick(context);
    const home = picked === null ? undefined : this.#candidates[this.#indexes.get(picked) ?? -1];
    if (home === undefined) return null;
    if (context.reads !== undefined) this.#tell(context.reads, context.nowMs);
    const slots = this.#slots();
    const fill = this.#fill(home, slots);
    return fill <= 1 ? home.id : this.#walk({ candidate: home, fill }, slots, context);
  }

  /** The first with room, in the key's order; if none has any, the one that is fullest by least. */
  #walk(home: Filled, slots: number, { exclude, key, chance }: PickContext): BackendId {
    const order = this.#candidates.filter(({ id }) => id !== home.candidate.id && !exclude.has(id));
    const next = createDraws(key === null ? chance * 2 ** 32 : key.low);
    let least = home;
    for (let left = order.length; left > 0; left--) {
      const drawn = Math.floor(next() * left);
      const candidate = order[drawn];
      const last = order[left - 1];
      if (candidate === undefined || last === undefined) break;
      const fill = this.#fill(candidate, slots);
      if (fill <= 1) return candidate.id;
      if (fill < least.fill) least = { candidate, fill };
      order[drawn] = last;
    }
    return least.candidate.id;
  }

  #tell(reads: GaugeReads, nowMs: EpochMs): void {
    for (const { id, gauge } of this.#candidates) reads.gauge(id, gauge, nowMs);
  }

  /** Requests that may be in flight in all, this one included. */
  #slots(): number {
    let inFlight = 1;
    for (const { gauge } of this.#candidates) inFlight += gauge.inFlight;
    return Math.floor((inFlight * this.#factor + 99) / 100);
  }

  /** How full a candidate would be with this request; up to 1 it may have it. */
  #fill({ weight, gauge }: Gauged, slots: number): number {
    return (gauge.inFlight + 1) / Math.max(1, Math.ceil((slots * weight) / this.#sum));
  }
}

interface Filled {
  readonly candidate: Gauged;
  readonly fill: number;
}

/** Numbers 0 ≤ x < 1 that a seed always draws again: Weyl's sequence through the finalizer of MurmurHash3. */
function createDraws(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e37_79b9) | 0;
    let x = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  };
}
