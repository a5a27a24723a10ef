const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** What stands for a character that is no digit: the first number that six bits cannot hold. */
const NO_DIGIT = ALPHABET.length;

const CODES = Array.from(ALPHABET, (character) => character.charCodeAt(0));
const DIGITS = new Uint8Array(128).fill(NO_DIGIT);
for (const [digit, code] of CODES.entries()) DIGITS[code] = digit;

/** Bytes as base64url without padding (RFC 4648 §5). Meant for a few hundred bytes at most. */
export function encodeBase64url(bytes: Uint8Array): string {
  const codes: number[] = [];
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 6) {
      bits -= 6;
      codes.push(CODES[(held >>> bits) & 63] ?? 0);
    }
    held &= 63;
  }
  if (bits > 0) codes.push(CODES[(held << (6 - bits)) & 63] ?? 0);
  return String.fromCharCode(...codes);
}

/**
 * Bytes out of base64url without padding; null for anything else. Only the one text that encoding gives is accepted, which
 * neither `atob` nor `Buffer` sees to: padding, the other alphabet, spaces and left-over bits that are not zero are refused.
 */
export function decodeBase64url(text: string): Uint8Array | null {
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let held = 0;
  let bits = 0;
  let length = 0;
  let seen = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = DIGITS[text.charCodeAt(at)] ?? NO_DIGIT;
    seen |= digit;
    held = (held << 6) | digit;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[length++] = held >>> bits;
      held &= (1 << bits) - 1;
    }
  }
  // One character more than whole bytes leaves six bits, and says nothing.
  return seen >= NO_DIGIT || bits === 6 || held !== 0 ? null : bytes;
}
