import { after, type EpochMs, epochMs } from "../../durable/model/time.ts";
import { clock } from "./leased.ts";

/** What a guarded attempt gives when its backend sent no response headers in time. */
export const TOO_LATE = Symbol("too late");

/** How often one isolate looks after its attempts, milliseconds. */
const ROUND_MS = 1_000;

/** An attempt is looked after once it has waited for so long, milliseconds; nearly all are over by then. */
const SLOW_MS = 500;

interface Waiting {
  readonly sinceMs: EpochMs;
  /** Tells the attempt, in the request it belongs to, to set a timer of its own. */
  wake: () => void;
}

/**
 * Holds attempts to their header deadline. A timer for every request costs about 5 % of the throughput, so one a second
 * serves the whole isolate. It is held by whichever request comes first, and wakes those attempts that have been waiting
 * for a while; only they set a timer of their own. Waking resolves a promise of another request, which the runtime then
 * goes on with in that request (compatibility flag `handle_cross_request_promise_resolution`).
 */
export class HeaderWatch {
  readonly #waiting = new Set<Waiting>();
  #roundBeganMs: EpochMs = epochMs(0);

  /** What `work`, begun at `nowMs`, settles to, or `TOO_LATE` after `timeoutMs`. */
  guard<Value>(
    work: Promise<Value>,
    timeoutMs: number,
    nowMs: EpochMs,
    context: ExecutionContext,
  ): Promise<Value | typeof TOO_LATE> {
    if (timeoutMs < 2 * ROUND_MS) return orTooLate(work, timeoutMs);
    this.#keepRounds(nowMs, context);
    const waiting: Waiting = { sinceMs: nowMs, wake: doNothing };
    this.#waiting.add(waiting);
    return new Promise((resolve, reject) => {
      const slow = new Promise<void>((wake) => {
        waiting.wake = wake;
      });
      // Independent of what follows: a runtime that is late with waking must not hold up the answer.
      work.then(
        (value) => {
          this.#waiting.delete(waiting);
          resolve(value);
        },
        (error: unknown) => {
          this.#waiting.delete(waiting);
          reject(error);
        },
      );
      void slow.then(() => orTooLate(work, after(nowMs, timeoutMs) - clock()).then(resolve, reject));
    });
  }

  #keepRounds(nowMs: EpochMs, context: ExecutionContext): void {
    if (nowMs - this.#roundBeganMs < ROUND_MS) return;
    this.#roundBeganMs = nowMs;
    context.waitUntil(this.#goRound());
  }

  /** Twice, since what came late in a round is not slow yet at its end, and perhaps no other request begins the next. */
  async #goRound(): Promise<void> {
    await elapse(ROUND_MS);
    this.#wakeSlow(clock());
    await elapse(SLOW_MS);
    this.#wakeSlow(clock());
  }

  #wakeSlow(nowMs: EpochMs): void {
    for (const waiting of this.#waiting) {
      if (nowMs - waiting.sinceMs < SLOW_MS) continue;
      this.#waiting.delete(waiting);
      waiting.wake();
    }
  }
}

/** What `work` settles to, or `TOO_LATE` after `timeoutMs`. Has to run in the request that `work` belongs to. */
function orTooLate<Value>(work: Promise<Value>, timeoutMs: number): Promise<Value | typeof TOO_LATE> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(TOO_LATE), timeoutMs);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

function elapse(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}

function doNothing(): void {
  // Replaced before anybody can call it.
}
