import { type AesBlock, BLOCK_BYTES } from "./aes-block.ts";

/** The two halves of what is encrypted; of an odd number of octets each has four bits of the middle one. */
export interface Halves {
  readonly left: Uint8Array;
  readonly right: Uint8Array;
}

/** Encrypts any 5…19 octets: a Feistel network of four rounds of AES (draft-ietf-quic-load-balancers §4.4.2). */
export function encryptFourPasses(aes: AesBlock, plaintext: Uint8Array): Uint8Array {
  const halves = split(plaintext);
  for (let pass = 1; pass <= 4; pass++) applyPass(aes, plaintext.length, pass, halves);
  return join(halves, plaintext.length);
}

/** Which octets are wanted: the left half alone takes a pass less. */
export type Wanted = "all" | "left";

/** Undoes it. Of the left half alone, the octets that are not wholly in it are not decrypted. */
export function decryptFourPasses(aes: AesBlock, ciphertext: Uint8Array, wanted: Wanted): Uint8Array {
  const halves = split(ciphertext);
  const lastPass = wanted === "all" ? 1 : 2;
  for (let pass = 4; pass >= lastPass; pass--) applyPass(aes, ciphertext.length, pass, halves);
  return join(halves, ciphertext.length);
}

/** One pass, the same in both directions: odd ones change the right half by the left, even ones the left by the right. */
export function applyPass(aes: AesBlock, length: number, pass: number, halves: Halves): void {
  const isRightChanged = pass % 2 === 1;
  const changed = isRightChanged ? halves.right : halves.left;
  const mask = aes.encrypt(expand(length, pass, isRightChanged ? halves.left : halves.right));
  for (let at = 0; at < changed.length; at++) changed[at] = (changed[at] ?? 0) ^ (mask[at] ?? 0);
  if (length % 2 === 1) clearMiddle(halves);
}

/** What AES is given in one pass: a half, zeros, the length of both and the number of the pass. */
export function expand(length: number, pass: number, half: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  block.set(half);
  block[BLOCK_BYTES - 2] = length;
  block[BLOCK_BYTES - 1] = pass;
  return block;
}

/** Takes octets apart into copies of their halves. */
export function split(octets: Uint8Array): Halves {
  const half = Math.ceil(octets.length / 2);
  const halves = { left: octets.slice(0, half), right: octets.slice(octets.length - half) };
  if (octets.length % 2 === 1) clearMiddle(halves);
  return halves;
}

/** Puts halves together into so many octets. */
function join({ left, right }: Halves, length: number): Uint8Array {
  const octets = new Uint8Array(length);
  octets.set(right, length - right.length);
  const middle = octets[left.length - 1] ?? 0;
  octets.set(left);
  if (length % 2 === 1) octets[left.length - 1] = (left[left.length - 1] ?? 0) | middle;
  return octets;
}

/** Of the octet in the middle, the left half keeps the high four bits and the right half the low ones. */
function clearMiddle({ left, right }: Halves): void {
  left[left.length - 1] = (left[left.length - 1] ?? 0) & 0xf0;
  right[0] = (right[0] ?? 0) & 0x0f;
}
