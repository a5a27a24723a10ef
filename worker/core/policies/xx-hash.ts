import type { Hash64 } from "../keyed-hash.ts";

const PRIME_1: Hash64 = { high: 0x9e3779b1, low: 0x85ebca87 };
const PRIME_2: Hash64 = { high: 0xc2b2ae3d, low: 0x27d4eb4f };
const PRIME_3: Hash64 = { high: 0x165667b1, low: 0x9e3779f9 };
const PRIME_4: Hash64 = { high: 0x85ebca77, low: 0xc2b2ae63 };
const PRIME_5: Hash64 = { high: 0x27d4eb2f, low: 0x165667c5 };
const ZERO: Hash64 = { high: 0, low: 0 };

/** Bytes taken at a time while there are so many. */
const STRIPE_BYTES = 32;

/**
 * XXH64 (Collet, xxHash specification 0.1.1) of bytes. It tells nobody's secret: it is what Envoy makes Maglev's tables of.
 * Big integers would take four times as long, and a snapshot brings a thousand names.
 *
 * @param seed below 2^32.
 */
export function xxHash64(bytes: Uint8Array, seed = 0): Hash64 {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const striped = bytes.length - (bytes.length % STRIPE_BYTES);
  const begun = striped === 0 ? add(number(seed), PRIME_5) : hashStripes(view, number(seed), striped);
  let hash = add(begun, number(bytes.length));
  let at = striped;
  for (; at + 8 <= bytes.length; at += 8) {
    hash = add(multiply(turn(xor(hash, round(ZERO, word(view, at))), 27), PRIME_1), PRIME_4);
  }
  if (at + 4 <= bytes.length) {
    const half = multiply(number(view.getUint32(at, true)), PRIME_1);
    hash = add(multiply(turn(xor(hash, half), 23), PRIME_2), PRIME_3);
    at += 4;
  }
  for (; at < bytes.length; at++) {
    hash = multiply(turn(xor(hash, multiply(number(view.getUint8(at)), PRIME_5)), 11), PRIME_1);
  }
  hash = multiply(xor(hash, number(hash.high >>> 1)), PRIME_2);
  hash = multiply(xor(hash, { high: hash.high >>> 29, low: (hash.high << 3) | (hash.low >>> 29) }), PRIME_3);
  return xor(hash, number(hash.high));
}

/** Four lanes side by side, each of which takes every fourth word. */
function hashStripes(view: DataView, seed: Hash64, end: number): Hash64 {
  let a = add(add(seed, PRIME_1), PRIME_2);
  let b = add(seed, PRIME_2);
  let c = seed;
  let d = add(seed, { high: ~PRIME_1.high, low: ~PRIME_1.low + 1 });
  for (let at = 0; at < end; at += STRIPE_BYTES) {
    a = round(a, word(view, at));
    b = round(b, word(view, at + 8));
    c = round(c, word(view, at + 16));
    d = round(d, word(view, at + 24));
  }
  const joined = add(add(turn(a, 1), turn(b, 7)), add(turn(c, 12), turn(d, 18)));
  return [a, b, c, d].reduce(
    (hash, lane) => add(multiply(xor(hash, round(ZERO, lane)), PRIME_1), PRIME_4),
    joined,
  );
}

function round(lane: Hash64, input: Hash64): Hash64 {
  return multiply(turn(add(lane, multiply(input, PRIME_2)), 31), PRIME_1);
}

function word(view: DataView, at: number): Hash64 {
  return { high: view.getUint32(at + 4, true), low: view.getUint32(at, true) };
}

function number(low: number): Hash64 {
  return { high: 0, low };
}

function xor(a: Hash64, b: Hash64): Hash64 {
  return { high: (a.high ^ b.high) >>> 0, low: (a.low ^ b.low) >>> 0 };
}

function add(a: Hash64, b: Hash64): Hash64 {
  const low = (a.low >>> 0) + (b.low >>> 0);
  return { high: (a.high + b.high + (low > 0xffff_ffff ? 1 : 0)) >>> 0, low: low >>> 0 };
}

/** To the left, 1…31 bits. */
function turn({ high, low }: Hash64, bits: number): Hash64 {
  return {
    high: ((high << bits) | (low >>> (32 - bits))) >>> 0,
    low: ((low << bits) | (high >>> (32 - bits))) >>> 0,
  };
}

/** The lower half of the product. Of what the low halves make, the upper part is put together from products of 16 bits. */
function multiply(a: Hash64, b: Hash64): Hash64 {
  const aLow = a.low & 0xffff;
  const aHigh = a.low >>> 16;
  const bLow = b.low & 0xffff;
  const bHigh = b.low >>> 16;
  const middle = aHigh * bLow + (((aLow * bLow) / 65_536) >>> 0);
  const upper =
    aHigh * bHigh + Math.floor(middle / 65_536) + Math.floor((aLow * bHigh + (middle % 65_536)) / 65_536);
  return {
    high: (upper + Math.imul(a.high, b.low) + Math.imul(a.low, b.high)) >>> 0,
    low: Math.imul(a.low, b.low) >>> 0,
  };
}
