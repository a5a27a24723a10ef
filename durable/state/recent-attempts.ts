import { type EpochMs, epochMs } from "../model/time.ts";

/** The window is this many slots of time long; so much of it, at most, is forgotten too early. */
const SLOTS = 30;

/** What one report says of one backend. */
export interface Batch {
  /** When the first of it happened, by the ring's clock. */
  readonly beganMs: EpochMs;
  readonly heardMs: EpochMs;
  readonly successes: number;
  readonly failures: number;
  /** Gateway failures in a row at its end, and whether it is nothing but those. */
  readonly gatewayRun: { readonly length: number; readonly isWhole: boolean };
}

/** Batches that began in one slot, added up. */
interface Slot {
  readonly successes: number;
  readonly failures: number;
  /** In batches of nothing but gateway failures: how many, and when the first of those batches began. */
  readonly gatewayFailures: number;
  readonly gatewayBeganMs: EpochMs;
}

/** The latest batch that held anything but gateway failures. */
interface LastBroken {
  readonly heardMs: EpochMs;
  readonly beganMs: EpochMs;
  /** Gateway failures in a row at its end. */
  readonly tail: number;
}

/**
 * What isolates have reported of one backend within a window of time, in space that does not grow with their number. Merging
 * is associative and commutative, so reports may come in any order.
 *
 * A batch is as old as the first of it, so that nothing older than the window ever counts, however late it comes. And what
 * is not known is taken in the backend's favour: which of two batches that overlap held the later failure.
 */
export class RecentAttempts {
  readonly #windowMs: number;
  /** By the number of the slot, counted from the epoch. */
  readonly #slots = new Map<number, Slot>();
  #lastBroken: LastBroken | null = null;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  static of(batch: Batch, windowMs: number): RecentAttempts {
    const { beganMs, heardMs, successes, failures, gatewayRun } = batch;
    const { length, isWhole } = gatewayRun;
    const recent = new RecentAttempts(windowMs);
    recent.#slots.set(Math.floor(beganMs / slotMs(windowMs)), {
      successes,
      failures,
      gatewayFailures: isWhole ? length : 0,
      gatewayBeganMs: isWhole && length > 0 ? beganMs : NEVER,
    });
    if (!isWhole) recent.#lastBroken = { heardMs, beganMs, tail: length };
    return recent;
  }

  /** Takes over what another one, of the same window, has seen. */
  merge(other: RecentAttempts): this {
    for (const [number, slot] of other.#slots) {
      const held = this.#slots.get(number);
      this.#slots.set(number, held === undefined ? slot : mergeSlots(held, slot));
    }
    if (other.#lastBroken !== null) this.#lastBroken = laterBroken(this.#lastBroken, other.#lastBroken);
    return this;
  }

  /** Forgets what is older than the window. */
  forget(nowMs: EpochMs): void {
    for (const number of this.#slots.keys()) if (!this.#isRecent(number, nowMs)) this.#slots.delete(number);
  }

  /** Attempts in the window. */
  counts(nowMs: EpochMs): { readonly successes: number; readonly failures: number } {
    const recent = this.#recent(nowMs);
    return {
      successes: recent.reduce((sum, slot) => sum + slot.successes, 0),
      failures: recent.reduce((sum, slot) => sum + slot.failures, 0),
    };
  }

  /** Gateway failures in a row up to now, over all isolates: at least so many. */
  gatewayRun(nowMs: EpochMs): number {
    const broken = this.#lastBroken;
    const sinceThen = this.#recent(nowMs)
      .filter(({ gatewayBeganMs }) => broken === null || gatewayBeganMs > broken.heardMs)
      .reduce((sum, slot) => sum + slot.gatewayFailures, 0);
    return broken !== null && broken.beganMs >= nowMs - this.#windowMs ? sinceThen + broken.tail : sinceThen;
  }

  #recent(nowMs: EpochMs): readonly Slot[] {
    return [...this.#slots].flatMap(([number, slot]) => (this.#isRecent(number, nowMs) ? [slot] : []));
  }

  /** Whether all of a slot is within the window. */
  #isRecent(number: number, nowMs: EpochMs): boolean {
    return number * slotMs(this.#windowMs) >= nowMs - this.#windowMs;
  }
}

/** Beginning of a batch that is not there. */
const NEVER = epochMs(Number.POSITIVE_INFINITY);

function slotMs(windowMs: number): number {
  return windowMs / SLOTS;
}

function mergeSlots(one: Slot, other: Slot): Slot {
  return {
    successes: one.successes + other.successes,
    failures: one.failures + other.failures,
    gatewayFailures: one.gatewayFailures + other.gatewayFailures,
    gatewayBeganMs: epochMs(Math.min(one.gatewayBeganMs, other.gatewayBeganMs)),
  };
}

/** The one heard later; of two heard at the same time, the less of both. */
function laterBroken(one: LastBroken | null, other: LastBroken): LastBroken {
  if (one === null || one.heardMs < other.heardMs) return other;
  if (one.heardMs > other.heardMs) return one;
  return {
    heardMs: one.heardMs,
    beganMs: epochMs(Math.min(one.beganMs, other.beganMs)),
    tail: Math.min(one.tail, other.tail),
  };
}
