import { unsafe } from "@noble/ciphers/aes.js";

/** Bytes that AES takes at a time, and bytes of an AES-128 key. */
export const BLOCK_BYTES = 16;

/**
 * AES-128 of one block at a time, its key expanded once. Synchronous, which Web Crypto is not; and Web Crypto has no ECB,
 * which QUIC-LB is made of.
 */
export class AesBlock {
  readonly #encryptKey: Uint32Array;
  readonly #decryptKey: Uint32Array;
  /** A block that stays, since making a view of words costs as much as AES itself. */
  readonly #octets = new Uint8Array(BLOCK_BYTES);
  readonly #words = new DataView(this.#octets.buffer);

  /** @param key the key's 16 bytes in 32 hexadecimal digits. */
  constructor(key: string) {
    const bytes = Uint8Array.from(key.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
    if (bytes.length !== BLOCK_BYTES)
      throw new Error(`a key of ${bytes.length} bytes must have ${BLOCK_BYTES}`);
    this.#encryptKey = unsafe.expandKeyLE(bytes);
    this.#decryptKey = unsafe.expandKeyDecLE(bytes);
  }

  /** Encrypts 16 bytes in place, and gives them back. */
  encrypt(block: Uint8Array): Uint8Array {
    return this.#apply(unsafe.encrypt, this.#encryptKey, block);
  }

  /** Decrypts 16 bytes in place, and gives them back. */
  decrypt(block: Uint8Array): Uint8Array {
    return this.#apply(unsafe.decrypt, this.#decryptKey, block);
  }

  #apply(cipher: typeof unsafe.encrypt, key: Uint32Array, block: Uint8Array): Uint8Array {
    const words = this.#words;
    this.#octets.set(block);
    const { s0, s1, s2, s3 } = cipher(
      key,
      words.getUint32(0, true),
      words.getUint32(4, true),
      words.getUint32(8, true),
      words.getUint32(12, true),
    );
    words.setUint32(0, s0, true);
    words.setUint32(4, s1, true);
    words.setUint32(8, s2, true);
    words.setUint32(12, s3, true);
    block.set(this.#octets);
    return block;
  }
}
