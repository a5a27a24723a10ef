import type { BackendId } from "../../../durable/model/names.ts";
import { byId } from "./by-id.ts";
import { md5 } from "./md5.ts";
import type { Candidate, PickContext, Picker, PoolPreparation } from "./policy.ts";
import { Random } from "./random.ts";

/** Every MD5 digest makes so many points. */
const POINTS_PER_DIGEST = 4;

/**
 * Consistent hashing on a ring, with the points of ketama (Last.fm 2007): each backend is at the four words of
 * `md5(id-0)`, `md5(id-1)`, …, and a key belongs to the first point at or after it. The same key and candidates give the
 * same backend in every isolate; taking one of equal backends out moves only its own keys. Shares are uneven, by some
 * 10 % with 160 points: that is what other balancers agree with.
 *
 * It has no counters. A request without key is led at random, by weight.
 */
export class RingHash implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #points: Uint32Array;
  /** By point: the index of its candidate. */
  readonly #owners: Uint16Array;
  readonly #keyless: Random;

  private constructor(candidates: readonly Candidate[], ringPoints: number) {
    this.#candidates = candidates;
    const count = candidates.length;
    const placed = pointsOf(candidates, ringPoints);
    this.#points = Uint32Array.from(placed, (number) => Math.floor(number / count));
    this.#owners = Uint16Array.from(placed, (number) => number % count);
    this.#keyless = Random.prepare({ candidates });
  }

  static prepare({ candidates, ringPoints }: Pick<PoolPreparation, "candidates" | "ringPoints">): RingHash {
    return new RingHash(byId(candidates), ringPoints);
  }

  pick(context: PickContext): BackendId | null {
    const { exclude, key } = context;
    if (key === null) return this.#keyless.pick(context);
    const length = this.#points.length;
    const from = this.#indexAtOrAfter(key.high);
    for (let step = 0; step < length; step++) {
      const id = this.#candidates[this.#owners[(from + step) % length] ?? 0]?.id ?? null;
      if (id !== null && !exclude.has(id)) return id;
    }
    return null;
  }

  /** Of the first point that is not before a place; past the last one, one too far. */
  #indexAtOrAfter(place: number): number {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#points[middle] ?? 0) >= place) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** All points in order, each as point × number of candidates + index of its own: numbers sort ten times as fast as objects. */
function pointsOf(candidates: readonly Candidate[], ringPoints: number): Float64Array {
  const sum = candidates.reduce((total, { weight }) => total + weight, 0);
  const digestsOf = ({ weight }: Candidate) =>
    Math.max(1, Math.floor((ringPoints * candidates.length * weight) / (POINTS_PER_DIGEST * sum)));
  const total = candidates.reduce((digests, candidate) => digests + digestsOf(candidate), 0);
  const placed = new Float64Array(total * POINTS_PER_DIGEST);
  let at = 0;
  candidates.forEach((candidate, index) => {
    const digests = digestsOf(candidate);
    for (let digest = 0; digest < digests; digest++) {
      for (const point of md5(`${candidate.id}-${digest}`)) placed[at++] = point * candidates.length + index;
    }
  });
  return placed.toSorted();
}
