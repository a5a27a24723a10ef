import type { EpochMs } from "../model/time.ts";
import { later } from "../model/time.ts";

/** A version an isolate may be using, and until when by the ring's clock. */
interface Use {
  readonly version: number;
  readonly untilMs: EpochMs;
}

/** What is known of an isolate. */
interface Holder {
  readonly heardMs: EpochMs;
  readonly grants: readonly Use[];
}

interface Users {
  readonly isolates: number;
  /** When that one of them was heard which has been silent for the longest. */
  readonly unheardMs: EpochMs;
}

/**
 * Who may be using what at a moment, from one pass over all isolates: a question then costs as many steps as there are
 * versions in use, and not one for every isolate.
 */
export class LeaseCensus {
  readonly atMs: EpochMs;
  /** Isolates by the oldest version that they may be using. */
  readonly #users = new Map<number, Users>();
  /** When each version falls out of use, or fell; by what it was granted until. */
  readonly #untilMs = new Map<number, EpochMs>();

  constructor(holders: Iterable<Holder>, atMs: EpochMs) {
    this.atMs = atMs;
    for (const { heardMs, grants } of holders) {
      let oldest: number | null = null;
      for (const { version, untilMs } of grants) {
        const knownMs = this.#untilMs.get(version);
        if (knownMs === undefined || knownMs < untilMs) this.#untilMs.set(version, untilMs);
        if (untilMs > atMs && (oldest === null || version < oldest)) oldest = version;
      }
      if (oldest !== null) this.#count(oldest, heardMs);
    }
  }

  /** How many hold a lease. */
  get isolates(): number {
    let sum = 0;
    for (const { isolates } of this.#users.values()) sum += isolates;
    return sum;
  }

  /** The oldest version that anybody may use; null: nobody holds a lease. */
  get oldestVersion(): number | null {
    return this.#users.size === 0 ? null : Math.min(...this.#users.keys());
  }

  /** How many may use something older than `version`. */
  outstandingIsolates(version: number): number {
    let sum = 0;
    for (const [oldest, { isolates }] of this.#users) if (oldest < version) sum += isolates;
    return sum;
  }

  /** When that one of them was heard which has been silent for the longest; null: there is none. */
  longestUnheardMs(version: number): EpochMs | null {
    let longestMs: EpochMs | null = null;
    for (const [oldest, { unheardMs }] of this.#users)
      if (oldest < version && (longestMs === null || unheardMs < longestMs)) longestMs = unheardMs;
    return longestMs;
  }

  /** When the last grant of anything older than `version` ends, or ended; null: there is none. */
  olderUntilMs(version: number): EpochMs | null {
    let lastMs: EpochMs | null = null;
    for (const [granted, untilMs] of this.#untilMs)
      if (granted < version) lastMs = later(lastMs ?? untilMs, untilMs);
    return lastMs;
  }

  #count(oldest: number, heardMs: EpochMs): void {
    const { isolates, unheardMs } = this.#users.get(oldest) ?? { isolates: 0, unheardMs: heardMs };
    this.#users.set(oldest, {
      isolates: isolates + 1,
      unheardMs: heardMs < unheardMs ? heardMs : unheardMs,
    });
  }
}
