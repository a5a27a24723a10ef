import { type Hash64, sipHash24 } from "./sip-hash.ts";

export type { Hash64 } from "./sip-hash.ts";

/** As 16 hexadecimal digits. */
export function toHex({ high, low }: Hash64): string {
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

/** Hashes a text or bytes under a key only we know, so that nobody outside can choose where it leads, or forge it. */
export type KeyedHash = (message: string | Uint8Array) => Hash64;

/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012) under a 128-bit key, of bytes or of a text in UTF-8.
 *
 * @param secret the key's 16 bytes in 32 hexadecimal digits, in the order the paper writes them.
 */
export function createKeyedHash(secret: string): KeyedHash {
  const bytes = Uint8Array.from(secret.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
  const words = new DataView(bytes.buffer);
  const number = (at: number) => ({ high: words.getUint32(at + 4, true), low: words.getUint32(at, true) });
  const key = { k0: number(0), k1: number(8) };
  const encoder = new TextEncoder();
  return (message) => sipHash24(key, typeof message === "string" ? encoder.encode(message) : message);
}
