import SipHash from "siphash";

/** 64 bits of a keyed hash, in two unsigned halves because JavaScript's bit operations take 32. */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

/** Hashes a text under a key only we know, so that nobody outside can choose where it leads. */
export type KeyedHash = (text: string) => Hash64;

/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012) under a 128-bit key, of a text in UTF-8.
 *
 * @param secret the key's 16 bytes in 32 hexadecimal digits, in the order the paper writes them.
 */
export function createKeyedHash(secret: string): KeyedHash {
  const bytes = Uint8Array.from(secret.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
  const words = new DataView(bytes.buffer);
  const key = [0, 4, 8, 12].map((at) => words.getUint32(at, true));
  return (text) => {
    const { h, l } = SipHash.hash(key, text);
    return { high: h >>> 0, low: l >>> 0 };
  };
}
