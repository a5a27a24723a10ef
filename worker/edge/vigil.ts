import type { EpochMs } from "../../durable/model/time.ts";
import { clock } from "./leased.ts";
import { createPledge } from "./pledge.ts";
import type { Enrolled, Roll } from "./roll.ts";

/** The part of a request that is needed here. */
export interface Keeper {
  /** Keeps it alive until `work` is done, its client there or not. */
  waitUntil(work: Promise<unknown>): void;
}

/** The pool in this isolate, as the request sees it. */
export interface Watched {
  /** Asks its ring if it is time to; in how many milliseconds it is time again. */
  keepUp(nowMs: EpochMs): number;
  /** The vigils that want to be called when there is news of the pool. */
  readonly vigils: Roll<Vigil>;
}

/** Looks after what is open, and says in how many milliseconds it wants to again. Infinite: it does not. */
export type Look = (nowMs: EpochMs) => number;

/**
 * Stays up in a request that has something open at a backend, or waits long for it: looks after that, and keeps the isolate
 * reporting to the pool's ring when no other request comes by, so that the ring sees what is in flight. Each has a timer of its own,
 * since a timer dies with the request that made it; the one that wakes first does the work, and the others find it done.
 */
export class Vigil implements Enrolled {
  place = 0;
  readonly #pool: Watched;
  readonly #look: Look;
  #isOver = false;
  #wake: () => void = doNothing;

  constructor(keeper: Keeper, pool: Watched, look: Look) {
    this.#pool = pool;
    this.#look = look;
    pool.vigils.add(this);
    keeper.waitUntil(this.#keep());
  }

  /** There is news of the pool. Works from any request: it keeps a pledge of the one that keeps the vigil. */
  call(): void {
    this.#wake();
  }

  /** Nothing is open any more. */
  end(): void {
    this.#isOver = true;
    this.#pool.vigils.remove(this);
    this.#wake();
  }

  async #keep(): Promise<void> {
    // Whoever begins it is not done with that yet.
    await Promise.resolve();
    while (!this.#isOver) {
      const nowMs = clock();
      const lookMs = this.#look(nowMs);
      const syncMs = this.#pool.keepUp(nowMs);
      await this.#rest(Math.min(lookMs, syncMs));
    }
  }

  async #rest(durationMs: number): Promise<void> {
    // The look may have ended it.
    if (this.#isOver) return;
    const { promise, resolve: wake } = createPledge();
    const timer = setTimeout(wake, durationMs);
    this.#wake = wake;
    await promise;
    // Here, since only the request that has set it can.
    clearTimeout(timer);
  }
}

function doNothing(): void {
  // Replaced before it matters.
}
