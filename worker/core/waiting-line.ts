import type { PoolConfig } from "../../durable/model/pool.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Choice, Choosing, Chosen } from "./choice.ts";
import type { SubChannel } from "./sub-channel.ts";

/** Who has been called and does not come within so long is dead, milliseconds: the runtime has dropped that request. */
const CALL_MS = 1_000;

const FULL: Choice = { kind: "full" };

/** A request that waits for room. */
export interface Waiting {
  readonly choosing: Choosing;
  /** From then on it waits no more. */
  readonly untilMs: EpochMs;
  /** Tells it that something was found. Only a request that lives hears it. */
  readonly call: () => void;
  /** Tells it that there may be room, but the pool's ring has to be asked before anybody is served. */
  readonly wake: () => void;
}

/** What a line gives away. */
export interface Places {
  /** Whether anything may be chosen now. If not, the ring has to be asked first. */
  mayChoose(nowMs: EpochMs): boolean;
  /** Finds a backend, and counts the request as in flight there. */
  choose(choosing: Choosing): Choice;
}

/** What was found for a request that was called and has not come yet. */
interface Called {
  readonly choice: Chosen;
  readonly calledMs: EpochMs;
}

/**
 * The requests of one pool that found every backend busy, in the order they came. A place that gets free is given away in the
 * same step, to the first in line that it is any good to, so nobody who comes later can be quicker. One that is given to
 * somebody who turns out to be dead goes on to the next. Past the snapshot's lease nothing is given away: its backends may be
 * closed by now.
 */
export class WaitingLine {
  readonly #places: Places;
  readonly #line = new Set<Waiting>();
  readonly #called = new Map<Waiting, Called>();

  constructor(places: Places) {
    this.#places = places;
  }

  /** Puts a request at the end. False when so many wait that it is refused at once. */
  join(waiting: Waiting, { maxRequests }: PoolConfig["waiting"], nowMs: EpochMs): boolean {
    this.#passOnUnclaimed(nowMs);
    if (this.#line.size >= maxRequests) return false;
    this.#line.add(waiting);
    return true;
  }

  /** There may be room, for a place that `freed` has or whatever else has changed: calls everybody that it is enough for. */
  serve(freed: SubChannel | null, nowMs: EpochMs): void {
    this.#passOnUnclaimed(nowMs);
    if (!this.#places.mayChoose(nowMs)) {
      for (const waiting of this.#line) waiting.wake();
      return;
    }
    for (const waiting of this.#line) {
      if (freed?.isFull === true) return;
      if (nowMs >= waiting.untilMs) continue;
      const choice = this.#ask(waiting, nowMs);
      if (choice.kind !== "backend") continue;
      this.#line.delete(waiting);
      this.#called.set(waiting, { choice, calledMs: nowMs });
      waiting.call();
    }
  }

  /** Ends a wait: what was found, or what there is now. Null: nobody may choose, and what was found goes to the next. */
  claim(waiting: Waiting, nowMs: EpochMs): Choice | null {
    if (!this.#places.mayChoose(nowMs)) {
      this.leave(waiting);
      return null;
    }
    const called = this.#called.get(waiting);
    this.#called.delete(waiting);
    if (called !== undefined) return called.choice;
    return this.#line.delete(waiting) ? this.#ask(waiting, nowMs) : FULL;
  }

  /** Ends a wait for nothing: a place that was found goes to the next. */
  leave(waiting: Waiting): void {
    this.#line.delete(waiting);
    const called = this.#called.get(waiting);
    this.#called.delete(waiting);
    called?.choice.channel.callOff();
  }

  #ask({ choosing }: Waiting, nowMs: EpochMs): Choice {
    return this.#places.choose({ ...choosing, nowMs, hasWaited: true });
  }

  /** Those who do not come when they are called would keep their places for good. */
  #passOnUnclaimed(nowMs: EpochMs): void {
    for (const [waiting, { calledMs }] of this.#called) if (nowMs - calledMs >= CALL_MS) this.leave(waiting);
    for (const waiting of this.#line) if (nowMs - waiting.untilMs >= CALL_MS) this.#line.delete(waiting);
  }
}
