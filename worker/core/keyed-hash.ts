import SipHash from "siphash";

/** 64 bits of a keyed hash, in two unsigned halves because JavaScript's bit operations take 32. */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

/** Hashes a text under a key only we know, so that nobody outside can choose where it leads. */
export type KeyedHash = (text: string) => Hash64;

/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012) under a 128-bit key.
 *
 * @param secret 32 hexadecimal digits.
 */
export function createKeyedHash(secret: string): KeyedHash {
  const key = [0, 8, 16, 24].map((at) => Number.parseInt(secret.slice(at, at + 8), 16));
  return (text) => {
    const { h, l } = SipHash.hash(key, text);
    return { high: h >>> 0, low: l >>> 0 };
  };
}
