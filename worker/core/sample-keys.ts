import type { Hash64 } from "./keyed-hash.ts";
import { TABLE_SIZE } from "./policies/maglev-table.ts";

/** Keys that stand for all there are. */
const MOST_KEYS = 20_000;

/** Of a large pool fewer, since where a key leads may take a look at every backend. */
const LEAST_KEYS = 2_000;
const MOST_LOOKS = 2_000_000;

/** How many keys to try on a pool of so many backends. */
export function keyCount(backends: number): number {
  return Math.max(LEAST_KEYS, Math.min(MOST_KEYS, Math.floor(MOST_LOOKS / Math.max(1, backends))));
}

/** So many keys, always the same ones, as evenly spread as hashes are: Weyl's sequence through the finalizer of MurmurHash3. */
export function sampleKeys(count: number): readonly Hash64[] {
  return Array.from({ length: count }, (_, index) => ({
    high: drawn(2 * index + 1),
    low: drawn(2 * index + 2),
  }));
}

/** One key for every slot of a maglev table. */
export function slotKeys(): readonly Hash64[] {
  return Array.from({ length: TABLE_SIZE }, (_, slot) => ({ high: slot, low: 0 }));
}

function drawn(number: number): number {
  let x = Math.imul(number, 0x9e37_79b9);
  x = Math.imul(x ^ (x >>> 16), 0x85eb_ca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
