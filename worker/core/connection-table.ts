import type { BackendId } from "../../durable/model/names.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Connection } from "./identify.ts";

/** A connection that is remembered. */
export interface Remembered {
  readonly backend: BackendId;
  /** Where it last came from. */
  from: string;
}

interface Entry extends Remembered {
  usedMs: EpochMs;
}

/**
 * The connections one isolate remembers, and the backend each is bound to. Bounded: the least recently used is forgotten
 * first, and one unused for longer than `idleMs` is as good as forgotten. A forgotten connection is placed by hashing.
 */
export class ConnectionTable {
  /** By age of last use, oldest first: a `Map` keeps the order in which keys were set. */
  readonly #entries = new Map<string, Entry>();
  #maxEntries: number;
  #idleMs: number;

  constructor(limits: { readonly maxEntries: number; readonly idleMs: number }) {
    this.#maxEntries = limits.maxEntries;
    this.#idleMs = limits.idleMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Other limits from now on; what no longer fits is forgotten. */
  resize(limits: { readonly maxEntries: number; readonly idleMs: number }): void {
    this.#maxEntries = limits.maxEntries;
    this.#idleMs = limits.idleMs;
    this.#forgetOldest();
  }

  /** What is remembered of a connection; null for one that is not. */
  find(identity: string, nowMs: EpochMs): Remembered | null {
    const entry = this.#entries.get(identity);
    if (entry === undefined) return null;
    this.#entries.delete(identity);
    if (nowMs - entry.usedMs > this.#idleMs) return null;
    entry.usedMs = nowMs;
    this.#entries.set(identity, entry);
    return entry;
  }

  /** Binds a connection to a backend. */
  bind({ identity, from }: Pick<Connection, "identity" | "from">, backend: BackendId, nowMs: EpochMs): void {
    this.#entries.delete(identity);
    this.#entries.set(identity, { backend, from, usedMs: nowMs });
    this.#forgetOldest();
  }

  #forgetOldest(): void {
    if (this.#entries.size <= this.#maxEntries) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      if (this.#entries.size <= this.#maxEntries) return;
    }
  }
}
