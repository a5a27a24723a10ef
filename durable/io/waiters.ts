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

/**
 * Callers that wait for something of an object, in the object: woken by what happens there and by the time, so nobody has
 * to ask again and again. They hold nothing up, since the object goes on with other calls meanwhile.
 */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Whether anybody waits. */
  get isAwaited(): boolean {
    return this.#waiting.size > 0;
  }

  /** Something happened: everybody looks again. */
  wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Looks until it is done, `waitMs` have passed, or the caller is gone; what was seen last is the answer. */
  async until<View>(look: () => Look<View>, waitMs: number, gone: AbortSignal): Promise<View> {
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(), waitMs);
    const given = AbortSignal.any([gone, end.signal]);
    try {
      for (;;) {
        const { view, isDone, nextMs } = look();
        if (isDone || waitMs === 0 || given.aborted) return view;
        await this.#news(nextMs, given);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves when something happens, it is so late, or the wait is over. */
  #news(atMs: EpochMs | null, over: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const stop = (): void => {
        clearTimeout(timer);
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
