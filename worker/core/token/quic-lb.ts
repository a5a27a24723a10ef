import { type AesBlock, BLOCK_BYTES } from "./aes-block.ts";
import { decryptFourPasses, encryptFourPasses } from "./four-passes.ts";

/** Octets in which the first one is not counted. */
const FIRST_OCTET = 1;

/** The codepoint of a connection id that names no server: whoever made it had no configuration. */
export const UNROUTABLE = 0b111;

/** How connection ids of one configuration are laid out. */
export interface CidLayout {
  /** The config rotation codepoint, 0…6. */
  readonly configId: number;
  readonly serverIdBytes: number;
  readonly nonceBytes: number;
}

/**
 * What a connection id says. `server`: which server it was made by. `unroutable`: that it names none. `unknown`: that it
 * is of another configuration. `short`: nothing, as it has fewer octets than the configuration needs.
 */
export type CidReading =
  | { readonly kind: "server"; readonly serverId: Uint8Array }
  | { readonly kind: "unroutable" | "unknown" | "short" };

/** The configuration that a first octet names. */
export function configIdOf(firstOctet: number): number {
  return firstOctet >>> 5;
}

/**
 * Connection ids of draft-ietf-quic-load-balancers: three bits for the configuration, five for the number of octets that
 * follow, then server id and nonce: in clear without a key, else as one AES block if they fill it exactly, else in four
 * passes. Encryption hides the server id and does not prove who made it.
 */
export class QuicLbCodec {
  /** Octets of a connection id, the first included. */
  readonly length: number;
  readonly #layout: CidLayout;
  readonly #aes: AesBlock | null;
  readonly #firstOctet: number;

  /** @param aes null: plaintext. */
  constructor(layout: CidLayout, aes: AesBlock | null) {
    this.length = FIRST_OCTET + layout.serverIdBytes + layout.nonceBytes;
    this.#layout = layout;
    this.#aes = aes;
    this.#firstOctet = (layout.configId << 5) | (layout.serverIdBytes + layout.nonceBytes);
  }

  /** The connection id of a server under a nonce, which must never come twice under one key. */
  encode(serverId: Uint8Array, nonce: Uint8Array): Uint8Array {
    const { serverIdBytes, nonceBytes } = this.#layout;
    if (serverId.length !== serverIdBytes || nonce.length !== nonceBytes)
      throw new RangeError(
        `server id and nonce of ${serverId.length} and ${nonce.length} bytes must have ${serverIdBytes} and ${nonceBytes}`,
      );
    const plaintext = new Uint8Array(serverIdBytes + nonceBytes);
    plaintext.set(serverId);
    plaintext.set(nonce, serverIdBytes);
    const cid = new Uint8Array(this.length);
    cid[0] = this.#firstOctet;
    cid.set(this.#encrypt(plaintext), FIRST_OCTET);
    return cid;
  }

  /**
   * Reads a connection id, which octets of something else may follow, as they do in a packet of QUIC. The five bits for the
   * length say nothing here: a server may fill them at random.
   */
  decode(octets: Uint8Array): CidReading {
    const firstOctet = octets[0];
    if (firstOctet === undefined) return { kind: "short" };
    const configId = configIdOf(firstOctet);
    if (configId === UNROUTABLE) return { kind: "unroutable" };
    if (configId !== this.#layout.configId) return { kind: "unknown" };
    if (octets.length < this.length) return { kind: "short" };
    const plaintext = this.#decrypt(octets.subarray(FIRST_OCTET, this.length));
    return { kind: "server", serverId: plaintext.subarray(0, this.#layout.serverIdBytes) };
  }

  /** The server id in a connection id exactly as `encode` makes it; null for anything else. */
  decodeOwn(cid: Uint8Array): Uint8Array | null {
    if (cid.length !== this.length || cid[0] !== this.#firstOctet) return null;
    const reading = this.decode(cid);
    return reading.kind === "server" ? reading.serverId : null;
  }

  #encrypt(plaintext: Uint8Array): Uint8Array {
    if (this.#aes === null) return plaintext;
    if (plaintext.length === BLOCK_BYTES) return this.#aes.encrypt(plaintext);
    return encryptFourPasses(this.#aes, plaintext);
  }

  #decrypt(ciphertext: Uint8Array): Uint8Array {
    if (this.#aes === null) return ciphertext;
    if (ciphertext.length === BLOCK_BYTES) return this.#aes.decrypt(ciphertext.slice());
    const { serverIdBytes, nonceBytes } = this.#layout;
    return decryptFourPasses(this.#aes, ciphertext, serverIdBytes <= nonceBytes ? "left" : "all");
  }
}
