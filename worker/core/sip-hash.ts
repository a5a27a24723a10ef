/** 64 bits in two unsigned halves, because JavaScript's bit operations take 32. */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

/** A 128-bit key as the two little-endian numbers that the paper calls k0 and k1. */
export interface SipKey {
  readonly k0: Hash64;
  readonly k1: Hash64;
}

/** What the low half of a sum may be before one is carried. */
const MAX_UINT32 = 0xffff_ffff;

/** Bytes taken at a time. */
const WORD_BYTES = 8;

/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012) of bytes. The package of that name takes five times as long, which for a
 * token would be a quarter of all: it keeps every number of 64 bits in an object. Here they are pairs of variables, `h`
 * and `l`, in one loop, so that none is on the heap.
 */
export function sipHash24({ k0, k1 }: SipKey, message: Uint8Array): Hash64 {
  let v0h = k0.high ^ 0x736f6d65;
  let v0l = k0.low ^ 0x70736575;
  let v1h = k1.high ^ 0x646f7261;
  let v1l = k1.low ^ 0x6e646f6d;
  let v2h = k0.high ^ 0x6c796765;
  let v2l = k0.low ^ 0x6e657261;
  let v3h = k1.high ^ 0x74656462;
  let v3l = k1.low ^ 0x79746573;

  // One word more than whole ones, for the rest and the length; and after that the finalisation, in which there is none.
  const wordCount = Math.floor(message.length / WORD_BYTES) + 1;
  for (let word = 0; word <= wordCount; word++) {
    const isFinal = word === wordCount;
    const at = word * WORD_BYTES;
    const ml = isFinal ? 0 : uint32(message, at);
    const mh = isFinal ? 0 : uint32(message, at + 4) | (word === wordCount - 1 ? message.length << 24 : 0);
    v3h ^= mh;
    v3l ^= ml;
    if (isFinal) v2l ^= 0xff;
    for (let round = isFinal ? 4 : 2; round > 0; round--) {
      let sum = (v0l >>> 0) + (v1l >>> 0);
      let sumHigh = (v0h + v1h + (sum > MAX_UINT32 ? 1 : 0)) | 0;
      let turned = (v1h << 13) | (v1l >>> 19);
      v1l = ((v1l << 13) | (v1h >>> 19)) ^ sum;
      v1h = turned ^ sumHigh;
      v0h = sum | 0;
      v0l = sumHigh;

      sum = (v2l >>> 0) + (v3l >>> 0);
      v2h = (v2h + v3h + (sum > MAX_UINT32 ? 1 : 0)) | 0;
      v2l = sum | 0;
      turned = (v3h << 16) | (v3l >>> 16);
      v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l;
      v3h = turned ^ v2h;

      sum = (v0l >>> 0) + (v3l >>> 0);
      v0h = (v0h + v3h + (sum > MAX_UINT32 ? 1 : 0)) | 0;
      v0l = sum | 0;
      turned = (v3h << 21) | (v3l >>> 11);
      v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l;
      v3h = turned ^ v0h;

      sum = (v2l >>> 0) + (v1l >>> 0);
      sumHigh = (v2h + v1h + (sum > MAX_UINT32 ? 1 : 0)) | 0;
      turned = (v1h << 17) | (v1l >>> 15);
      v1l = ((v1l << 17) | (v1h >>> 15)) ^ sum;
      v1h = turned ^ sumHigh;
      v2h = sum | 0;
      v2l = sumHigh;
    }
    v0h ^= mh;
    v0l ^= ml;
  }
  return { high: (v0h ^ v1h ^ v2h ^ v3h) >>> 0, low: (v0l ^ v1l ^ v2l ^ v3l) >>> 0 };
}

/** A little-endian number; what is missing at the end counts as zeros. */
function uint32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}
