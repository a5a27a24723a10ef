import type { BackendId } from "../../../durable/model/names.ts";
import { byId } from "./by-id.ts";
import { md5 } from "./md5.ts";
import type { Candidate, PickContext, Picker, PoolPreparation } from "./policy.ts";
import { Random } from "./random.ts";

/** Every MD5 digest makes so many points. */
const POINTS_PER_DIGEST = 4;

/** Places on the ring. */
export const CIRCUMFERENCE = 2 ** 32;

/**
 * Consistent hashing on a ring, with the points of ketama (Last.fm 2007): each backend is at the four words of
 * `md5(id-0)`, `md5(id-1)`, …, and of backends of one weight a key belongs to the first point at or after it, as other
 * balancers agree. The same key and candidates give the same backend in every isolate. Shares are uneven, by some 10 % with
 * 160 points.
 *
 * Where weights differ, a key belongs to the backend whose nearest point is nearest for its weight: at a weight of 2, twice
 * as far is as near (the linear method of Schindelhauer and Schomaker 2005). Ketama itself gives the heavier ones more points,
 * out of a number for all, so that every change of a weight moves keys among all others. Here it moves keys only to or from
 * the backend that it concerns, and one of weight 1 beside one of 1000 gets what it should.
 *
 * A pick looks at as many points as the heaviest weight is times the mean. It has no counters. A request without key is led
 * at random, by weight.
 */
export class RingHash implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #points: Uint32Array;
  /** By point: the index of its candidate. */
  readonly #owners: Uint16Array;
  readonly #heaviest: number;
  readonly #keyless: Random;

  private constructor(candidates: readonly Candidate[], ringPoints: number) {
    this.#candidates = candidates;
    const count = candidates.length;
    const placed = pointsOf(candidates, ringPoints);
    this.#points = Uint32Array.from(placed, (number) => Math.floor(number / count));
    this.#owners = Uint16Array.from(placed, (number) => number % count);
    this.#heaviest = candidates.reduce((most, { weight }) => Math.max(most, weight), 0);
    this.#keyless = Random.prepare({ candidates });
  }

  static prepare({ candidates, ringPoints }: Pick<PoolPreparation, "candidates" | "ringPoints">): RingHash {
    return new RingHash(byId(candidates), ringPoints);
  }

  pick(context: PickContext): BackendId | null {
    const { exclude, key } = context;
    if (key === null) return this.#keyless.pick(context);
    const length = this.#points.length;
    let best: BackendId | null = null;
    let bestCost = Number.POSITIVE_INFINITY;
    let index = this.#indexAtOrAfter(key.high);
    for (let step = 0; step < length; step++, index++) {
      if (index === length) index = 0;
      const distance = this.#distance(key.high, index);
      // From here on not even the heaviest would be nearer.
      if (distance >= bestCost * this.#heaviest) break;
      const { id, weight } = this.#candidates[this.#owners[index] as number] as Candidate;
      if (distance >= bestCost * weight || exclude.has(id)) continue;
      best = id;
      bestCost = distance / weight;
    }
    return best;
  }

  /** How far it is from a place to a point, onwards. */
  #distance(place: number, index: number): number {
    const distance = (this.#points[index] as number) - place;
    return distance < 0 ? distance + CIRCUMFERENCE : distance;
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
  const placed = new Float64Array(candidates.length * ringPoints);
  let at = 0;
  candidates.forEach(({ id }, index) => {
    for (const point of pointsOfBackend(id, ringPoints)) placed[at++] = point * candidates.length + index;
  });
  return placed.toSorted();
}

/** Where on the ring a backend is. */
export function pointsOfBackend(id: BackendId, ringPoints: number): readonly number[] {
  const points: number[] = [];
  for (let digest = 0; digest < ringPoints / POINTS_PER_DIGEST; digest++)
    points.push(...md5(`${id}-${digest}`));
  return points;
}
