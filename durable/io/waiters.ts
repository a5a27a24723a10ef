import type { EpochMs } from "../model/time.ts";
import { now } from "./clock.ts";

/** What somebody who waits sees. */
export interface Look<View> {
  readonly view: View;
  /** What was waited for is so. */
  readonly isDone: boolean;
  /** When it may be so though nothing happens; null: not by itself. */
  readonly nextMs: EpochMs | null;
}

/** Somebody who looks at something until it is so. */
export interface Watch<View> {
  /** Names what is looked at: looks of the same name see the same. */
  readonly name: string;
  readonly look: (nowMs: EpochMs) => Look<View>;
  /** Longest wait, milliseconds. 0: one look. */
  readonly waitMs: number;
  /** Aborted when the caller has gone. */
  readonly gone: AbortSignal;
}

/** From one round of looks to the next, milliseconds at least: isolates sync all the time, and a look at thousands takes some. */
const ROUND_MS = 250;

/** So many may wait; whoever comes then is told at once how things are. */
const MAX_WAITING = 100;

/**
 * Callers that wait for something of an object, in the object: woken by what happens there and by the time, so nobody has
 * to ask again and again. They hold nothing up, since the object goes on with other calls meanwhile. However much happens
 * and however many wait, they look at most four times a second, and together where they look at the same.
 */
export class Waiters<View> {
  readonly #waiting = new Set<() => void>();
  /** What was seen at a moment, by name; nothing has happened since. */
  #seen: { readonly atMs: EpochMs; readonly looks: Map<string, Look<View>> } | null = null;
  /** A round was made a moment ago. */
  #isResting = false;
  /** Something has happened since that round. */
  #hasNews = false;

  /** Whether anybody waits. */
  get isAwaited(): boolean {
    return this.#waiting.size > 0;
  }

  /** Something happened: everybody looks again, at once or when the next round is due. */
  wake(): void {
    this.#seen = null;
    this.#hasNews = this.isAwaited;
    if (!this.#isResting) this.#round();
  }

  /** Looks until it is done, `waitMs` have passed, or the caller is gone; what was seen last is the answer. */
  async until({ name, look, waitMs, gone }: Watch<View>): Promise<View> {
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(), waitMs);
    const given = AbortSignal.any([gone, end.signal]);
    const isOneTooMany = this.#waiting.size >= MAX_WAITING;
    try {
      for (;;) {
        const { view, isDone, nextMs } = this.#see(name, look);
        if (isDone || waitMs === 0 || isOneTooMany || given.aborted) return view;
        await this.#news(nextMs, given);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** What there is to see now; seen by somebody else already, if nothing has happened since and no time has passed. */
  #see(name: string, look: Watch<View>["look"]): Look<View> {
    const nowMs = now();
    const known = this.#seen?.atMs === nowMs ? this.#seen.looks.get(name) : undefined;
    if (known !== undefined) return known;
    const seen = look(nowMs);
    // Only now, since the look may itself make something happen.
    if (this.#seen?.atMs !== nowMs) this.#seen = { atMs: nowMs, looks: new Map() };
    this.#seen.looks.set(name, seen);
    return seen;
  }

  #round(): void {
    if (!this.#hasNews) return;
    this.#hasNews = false;
    this.#isResting = true;
    setTimeout(() => {
      this.#isResting = false;
      this.#round();
    }, ROUND_MS);
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when something happens, it is so late, or the wait is over. */
  #news(atMs: EpochMs | null, over: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const stop = (): void => {
        if (timer !== null) clearTimeout(timer);
        over.removeEventListener("abort", stop);
        this.#waiting.delete(stop);
        resolve();
      };
      const timer = atMs === null ? null : setTimeout(stop, Math.max(1, atMs - now()));
      over.addEventListener("abort", stop);
      this.#waiting.add(stop);
    });
  }
}
