const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];

/** RFC 1321, 3.4: the 64 parts of the sine. */
const SINES = Int32Array.from({ length: 64 }, (_, step) =>
  Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32),
);

/**
 * MD5 (RFC 1321) of an ASCII text, as its four words. Nothing is kept secret by it: it is what ketama makes its points of.
 */
export function md5(text: string): Uint32Array {
  const blocks = padded(text);
  const state = new Uint32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]);
  for (let at = 0; at < blocks.length; at += 16) addBlock(state, blocks, at);
  return state;
}

function padded(text: string): Int32Array {
  const words = new Int32Array((((text.length + 8) >>> 6) + 1) * 16);
  for (let at = 0; at < text.length; at++) setByte(words, at, text.charCodeAt(at));
  setByte(words, text.length, 0x80);
  words[words.length - 2] = text.length * 8;
  return words;
}

function setByte(words: Int32Array, at: number, byte: number): void {
  words[at >>> 2] = (words[at >>> 2] ?? 0) | (byte << ((at & 3) * 8));
}

function addBlock(state: Uint32Array, words: Int32Array, at: number): void {
  let a = (state[0] ?? 0) | 0;
  let b = (state[1] ?? 0) | 0;
  let c = (state[2] ?? 0) | 0;
  let d = (state[3] ?? 0) | 0;
  for (let step = 0; step < 64; step++) {
    const turn = step >>> 4;
    let mixed: number;
    let word: number;
    if (turn === 0) {
      mixed = (b & c) | (~b & d);
      word = step;
    } else if (turn === 1) {
      mixed = (b & d) | (c & ~d);
      word = 5 * step + 1;
    } else if (turn === 2) {
      mixed = b ^ c ^ d;
      word = 3 * step + 5;
    } else {
      mixed = c ^ (b | ~d);
      word = 7 * step;
    }
    const sum = (a + mixed + (SINES[step] ?? 0) + (words[at + (word & 15)] ?? 0)) | 0;
    const shift = SHIFTS[turn * 4 + (step & 3)] ?? 0;
    a = d;
    d = c;
    c = b;
    b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0;
  }
  state[0] = (state[0] ?? 0) + a;
  state[1] = (state[1] ?? 0) + b;
  state[2] = (state[2] ?? 0) + c;
  state[3] = (state[3] ?? 0) + d;
}
