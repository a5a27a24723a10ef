import type { PoolName } from "../../../durable/model/names.ts";
import { createKeyedHash, type KeyedHash, toHex } from "../keyed-hash.ts";

/** Octets after the connection id: expiry 4, session start 4, session id 8, MAC 8. All numbers are big-endian. */
const STARTED_AT = 4;
const SESSION_AT = 8;
const MAC_AT = 16;
export const ENVELOPE_BYTES = 24;

/** Keeps apart what else might ever be signed under the same key. */
const DOMAIN = "ring-token";

const SESSION_ID = /^[0-9a-f]{16}$/;

/** The most that 32 bits hold: the year 2106. */
const MAX_SECONDS = 0xffff_ffff;

/** What a token says beside the connection id. */
export interface Claims {
  /** Seconds since the epoch; from then on it is no longer good. */
  readonly expiresS: number;
  /** When the session began, seconds since the epoch. */
  readonly startedS: number;
  /** 16 hexadecimal digits. */
  readonly sessionId: string;
}

/**
 * Binds a connection id to its claims, its pool and its configuration: connection id, expiry, session start, session id,
 * and a MAC over all of it. The MAC is SipHash-2-4 of 64 bits: one in 2^64 guesses is right, and each costs a request.
 */
export class Envelope {
  readonly #cidBytes: number;
  readonly #hash: KeyedHash;
  /** What is signed: domain, pool and configuration, the pool's length before it so that no two read the same; the token. */
  readonly #message: Uint8Array;
  readonly #prefixBytes: number;

  constructor(pool: PoolName, config: { readonly id: number; readonly macKey: string }, cidBytes: number) {
    const name = new TextEncoder().encode(pool);
    const prefix = [...new TextEncoder().encode(DOMAIN), name.length, ...name, config.id];
    this.#cidBytes = cidBytes;
    this.#hash = createKeyedHash(config.macKey);
    this.#message = new Uint8Array(prefix.length + cidBytes + MAC_AT);
    this.#message.set(prefix);
    this.#prefixBytes = prefix.length;
  }

  /** The bytes of a token. */
  seal(cid: Uint8Array, { expiresS, startedS, sessionId }: Claims): Uint8Array {
    if (cid.length !== this.#cidBytes || !SESSION_ID.test(sessionId))
      throw new RangeError(
        `connection id of ${cid.length} bytes and session id ${sessionId} must have ${this.#cidBytes} bytes and 16 hexadecimal digits`,
      );
    const bytes = new Uint8Array(this.#cidBytes + ENVELOPE_BYTES);
    bytes.set(cid);
    const fields = new DataView(bytes.buffer, this.#cidBytes);
    fields.setUint32(0, clampSeconds(expiresS));
    fields.setUint32(STARTED_AT, clampSeconds(startedS));
    fields.setUint32(SESSION_AT, Number.parseInt(sessionId.slice(0, 8), 16));
    fields.setUint32(SESSION_AT + 4, Number.parseInt(sessionId.slice(8), 16));
    const { high, low } = this.#sign(bytes);
    fields.setUint32(MAC_AT, high);
    fields.setUint32(MAC_AT + 4, low);
    return bytes;
  }

  /** What a token claims; null when it was altered, or is not of this pool and configuration. */
  open(bytes: Uint8Array): Claims | null {
    if (bytes.length !== this.#cidBytes + ENVELOPE_BYTES) return null;
    const fields = new DataView(bytes.buffer, bytes.byteOffset + this.#cidBytes);
    const { high, low } = this.#sign(bytes);
    // Both halves in one step, so that the time it takes does not tell how much of a guess was right.
    if (((fields.getUint32(MAC_AT) ^ high) | (fields.getUint32(MAC_AT + 4) ^ low)) !== 0) return null;
    return {
      expiresS: fields.getUint32(0),
      startedS: fields.getUint32(STARTED_AT),
      sessionId: toHex({ high: fields.getUint32(SESSION_AT), low: fields.getUint32(SESSION_AT + 4) }),
    };
  }

  #sign(bytes: Uint8Array) {
    this.#message.set(bytes.subarray(0, this.#cidBytes + MAC_AT), this.#prefixBytes);
    return this.#hash(this.#message);
  }
}

function clampSeconds(seconds: number): number {
  return Math.min(MAX_SECONDS, Math.max(0, seconds));
}
