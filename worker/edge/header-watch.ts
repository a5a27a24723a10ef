import { after, type EpochMs, epochMs } from "../../durable/model/time.ts";
import { elapse } from "./elapse.ts";
import { clock } from "./leased.ts";
import { createPledge } from "./pledge.ts";
import { type Enrolled, Roll } from "./roll.ts";

/** How often a round of looks begins, milliseconds. */
const ROUND_MS = 1_000;

/**
 * How long an attempt is left alone, how long its request then has to show that it lives, and what lies between the looks
 * of one round; milliseconds.
 */
const LOOK_MS = 500;

/** A request that has not ended its attempt so long after the deadline never will, milliseconds. */
const GRACE_MS = 5_000;

/** A request that an attempt belongs to. */
export interface Living {
  /** Aborted when its client leaves. */
  readonly gone: AbortSignal;
  /** Whether the client is known to have left. */
  readonly isAbandoned: boolean;
  /** Keeps it alive until `work` is done, its client there or not. */
  waitUntil(work: Promise<unknown>): void;
}

/** An attempt under guard. One of `receive`, `fail` and `giveUp` is called, once, if its request lives to see it. */
export interface Guarded {
  readonly passage: Living;
  /** The backend's response headers are here. */
  receive(response: Response): Response | Promise<Response>;
  /** They are here too late: the wait was over. */
  discard(response: Response): void;
  /** There will be none. */
  fail(): Response | Promise<Response>;
  /**
   * The deadline is here: how long it has to be put off, milliseconds, because the backend was owed something itself. Null: not at
   * all.
   */
  putOffMs(nowMs: EpochMs): number | null;
  /** There are none at the deadline. */
  giveUp(): Response | Promise<Response>;
  /**
   * The client has left, as far as can be seen: an answer may still be asked for after that. What the backend was waited
   * for until `lastSeenMs`, no later than now, was waited for in earnest.
   */
  abandon(lastSeenMs: EpochMs): void;
  /** The wait is a long one: keeps the isolate reporting until what is returned is called. */
  keepVigil(): () => void;
}

/**
 * Holds attempts to their header deadline, and ends those whose client has left.
 *
 * A timer for every request costs about 5 % of the throughput, and listening for its client as much. So one round of
 * looks a second, held by whichever request comes first, serves the whole isolate: it calls on attempts that have been
 * waiting for a while, and only they set a timer and listen. Who does not answer the call is dead: its client left, and
 * the runtime has dropped the request and aborted what it waited for.
 */
export class HeaderWatch {
  readonly #waits = new Roll<Wait>();
  #roundBeganMs: EpochMs = epochMs(0);

  /** What `guarded` makes of what `work`, begun at `nowMs`, comes to within `timeoutMs`. */
  guard(work: Promise<Response>, guarded: Guarded, timeoutMs: number, nowMs: EpochMs): Promise<Response> {
    return new Promise((resolve, reject) => {
      const wait = new Wait(guarded, resolve, nowMs, after(nowMs, timeoutMs));
      this.#waits.add(wait);
      work.then(
        (response) => {
          this.#waits.remove(wait);
          if (!wait.end()) {
            guarded.discard(response);
            return;
          }
          try {
            resolve(guarded.receive(response));
          } catch (error) {
            reject(error);
          }
        },
        () => {
          this.#waits.remove(wait);
          if (wait.end()) resolve(guarded.fail());
        },
      );
      if (timeoutMs < 2 * ROUND_MS) wait.attend();
      else this.#keepRounds(nowMs, guarded.passage);
    });
  }

  #keepRounds(nowMs: EpochMs, passage: Living): void {
    if (nowMs - this.#roundBeganMs < ROUND_MS) return;
    this.#roundBeganMs = nowMs;
    passage.waitUntil(this.#goRound());
  }

  /**
   * The looks after the first are for what came late in the round, as perhaps no other request begins the next: one to
   * call on it, one to see who answered.
   */
  async #goRound(): Promise<void> {
    for (const waitMs of [ROUND_MS, LOOK_MS, LOOK_MS]) {
      await elapse(waitMs);
      this.#look(clock());
    }
  }

  #look(nowMs: EpochMs): void {
    for (const wait of this.#waits.all()) {
      if (wait.isOver) this.#waits.remove(wait);
      else if (!wait.isDead(nowMs)) wait.callIfSlow(nowMs);
      else {
        this.#waits.remove(wait);
        // Nobody knows when the runtime dropped it.
        wait.guarded.abandon(wait.sinceMs);
      }
    }
  }
}

/** One attempt's wait for its response headers. */
class Wait implements Enrolled {
  place = 0;
  readonly guarded: Guarded;
  readonly sinceMs: EpochMs;
  readonly #resolve: (answer: Response | Promise<Response>) => void;
  #deadlineMs: EpochMs;
  #isOver = false;
  #isAttended = false;
  #calledMs: EpochMs | null = null;
  readonly #call: () => void;
  #stopAttending: () => void = doNothing;
  #endVigil: () => void = doNothing;

  constructor(
    guarded: Guarded,
    resolve: (answer: Response | Promise<Response>) => void,
    sinceMs: EpochMs,
    deadlineMs: EpochMs,
  ) {
    this.guarded = guarded;
    this.#resolve = resolve;
    this.sinceMs = sinceMs;
    this.#deadlineMs = deadlineMs;
    // Nothing but this waits for the call: a runtime that is late with it must not hold up the answer.
    const { promise, resolve: call } = createPledge();
    this.#call = call;
    void promise.then(() => {
      this.attend();
      if (!this.#isOver) this.#endVigil = this.guarded.keepVigil();
    });
  }

  /** Whether it was answered, given up or abandoned; its request may never see how the attempt ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether its request was called on in vain, or is long past its deadline. */
  isDead(nowMs: EpochMs): boolean {
    if (this.#isAttended) return nowMs - this.#deadlineMs >= GRACE_MS;
    return this.#calledMs !== null && nowMs - this.#calledMs >= LOOK_MS;
  }

  /**
   * Asks its request to attend, if the wait has been long. This keeps a pledge of that request, where the runtime then goes on;
   * if it is dead, that is a warning in the log.
   */
  callIfSlow(nowMs: EpochMs): void {
    if (this.#calledMs !== null || nowMs - this.sinceMs < LOOK_MS) return;
    this.#calledMs = nowMs;
    this.#call();
  }

  /** Sets the timer and listens for the client, in the request that waits. */
  attend(): void {
    if (this.#isOver || this.#isAttended) return;
    this.#isAttended = true;
    const { passage } = this.guarded;
    let timer: ReturnType<typeof setTimeout>;
    const setTimer = (): void => {
      timer = setTimeout(() => {
        const putOffMs = this.guarded.putOffMs(clock());
        if (putOffMs !== null) {
          this.#deadlineMs = after(clock(), putOffMs);
          setTimer();
        } else if (this.end()) this.#resolve(this.guarded.giveUp());
      }, this.#deadlineMs - clock());
    };
    setTimer();
    const leave = (): void => {
      if (this.end()) this.guarded.abandon(clock());
    };
    passage.gone.addEventListener("abort", leave, { once: true });
    passage.waitUntil(
      new Promise<void>((stop) => {
        this.#stopAttending = () => {
          clearTimeout(timer);
          passage.gone.removeEventListener("abort", leave);
          stop();
        };
      }),
    );
    if (passage.isAbandoned) leave();
  }

  /** Ends the wait. False when it had ended before. */
  end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#stopAttending();
    this.#endVigil();
    return true;
  }
}

function doNothing(): void {
  // Replaced before it matters.
}
