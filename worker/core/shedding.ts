import type { PoolConfig } from "../../durable/model/pool.ts";
import type { KeyedHash } from "./keyed-hash.ts";

/** Which part of a pool's traffic is turned away on purpose. */
export class Shedding {
  readonly #hash: KeyedHash;
  /** Shares, 0…1. */
  readonly #ofNew: number;
  readonly #ofSessions: number;

  constructor({ newPercent, sessionPercent }: PoolConfig["shed"], hash: KeyedHash) {
    this.#hash = hash;
    this.#ofNew = newPercent / 100;
    this.#ofSessions = sessionPercent / 100;
  }

  /** Whether a request that nothing binds is of the part that is turned away, by its chance. */
  takesUnbound(chance: number): boolean {
    return chance < this.#ofNew;
  }

  /** What is left of the chance of one that is not: as random as the whole of it was. */
  rest(chance: number): number {
    return this.#ofNew === 0 ? chance : (chance - this.#ofNew) / (1 - this.#ofNew);
  }

  /** Whether what names a session is of the part that is turned away: always the same sessions. */
  takesSession(name: string): boolean {
    return this.#takes(name, this.#ofSessions);
  }

  /** Whether what names a session that has yet to begin is of the part of new ones, or of that which it would be of later. */
  takesNewSession(name: string): boolean {
    return this.#takes(name, Math.max(this.#ofNew, this.#ofSessions));
  }

  #takes(name: string, share: number): boolean {
    return share > 0 && this.#hash(`shed ${name}`).high < share * 2 ** 32;
  }
}
