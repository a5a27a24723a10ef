import type { BackendId } from "../../durable/model/names.ts";
import type { Hash64 } from "./keyed-hash.ts";
import { TABLE_SIZE } from "./policies/maglev-table.ts";
import { CIRCUMFERENCE, pointsOfBackend } from "./policies/ring-hash.ts";

/** Keys that stand for all there are. */
const MOST_KEYS = 20_000;

/** Of a large pool fewer, since where a key leads may take a look at every backend. */
const LEAST_KEYS = 2_000;
const MOST_LOOKS = 2_000_000;

/** How many keys to try on a pool of so many backends. */
export function keyCount(backends: number): number {
  return Math.max(LEAST_KEYS, Math.min(MOST_KEYS, Math.floor(MOST_LOOKS / Math.max(1, backends))));
}

/** Keys that stand for all there are, and for how many each. */
export interface KeySample {
  readonly keys: readonly Hash64[];
  /** Sizes of the parts of the hash space that the keys stand for, in the same order. */
  readonly sizes: readonly number[];
  /** Size of the hash space. */
  readonly whole: number;
  /** All of a part leads where its key does. */
  readonly isExact: boolean;
}

/** So many keys, always the same ones, as evenly spread as hashes are: Weyl's sequence through the finalizer of MurmurHash3. */
export function sampleKeys(count: number): KeySample {
  const keys = Array.from({ length: count }, (_, index) => ({
    high: drawn(2 * index + 1),
    low: drawn(2 * index + 2),
  }));
  return { keys, sizes: ones(count), whole: count, isExact: false };
}

/** One key for every slot of a maglev table. */
export function slotKeys(): KeySample {
  const keys = Array.from({ length: TABLE_SIZE }, (_, slot) => ({ high: slot, low: 0 }));
  return { keys, sizes: ones(TABLE_SIZE), whole: TABLE_SIZE, isExact: true };
}

/** One key for every arc between two points of any of these backends on a ring. */
export function arcKeys(ids: ReadonlySet<BackendId>, ringPoints: ReadonlySet<number>): KeySample {
  const points = new Set<number>();
  for (const id of ids)
    for (const count of ringPoints) for (const point of pointsOfBackend(id, count)) points.add(point);
  const ends = [...points].toSorted((one, other) => one - other);
  const last = (ends.at(-1) ?? 0) - CIRCUMFERENCE;
  return {
    keys: ends.map((end) => ({ high: end, low: 0 })),
    sizes: ends.map((end, index) => end - (ends[index - 1] ?? last)),
    whole: CIRCUMFERENCE,
    isExact: true,
  };
}

/** Of a share that was counted. Two more on either side (Agresti and Coull 1998), or of none it would be none. */
export function standardError(counted: number, of: number): number {
  const share = (counted + 2) / (of + 4);
  return Math.sqrt((share * (1 - share)) / (of + 4));
}

function ones(count: number): readonly number[] {
  return Array<number>(count).fill(1);
}

function drawn(number: number): number {
  let x = Math.imul(number, 0x9e37_79b9);
  x = Math.imul(x ^ (x >>> 16), 0x85eb_ca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
