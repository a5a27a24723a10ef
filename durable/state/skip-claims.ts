import { after, type EpochMs, epochMs, later } from "../model/time.ts";

/** What one report says of one backend that an isolate may skip by itself. */
interface Claim {
  /** When the first of it happened, by the ring's clock. */
  readonly beganMs: EpochMs;
  readonly heardMs: EpochMs;
  readonly successes: number;
  readonly failures: number;
  /** Whether the isolate skipped the backend when it reported. */
  readonly isSkipping: boolean;
}

/** What isolates that skip a backend say of it all together. */
export interface SkipVerdict {
  /** Since when it fails, is skipped, and nobody says that it served; null: that is not so. */
  readonly sinceMs: EpochMs | null;
  /** Whether every isolate had the time to say that it served. */
  readonly isSkipped: boolean;
  /** Whether an isolate began to skip it lately, and it has just been said that it served. */
  readonly isDoubted: boolean;
}

/** How long a claim waits, and counts. */
export interface SkipRules {
  /** Time within which every isolate that the backend serves says so, milliseconds. */
  readonly patienceMs: number;
  /** Older failures do not count, milliseconds. */
  readonly windowMs: number;
}

/** First and last time of something. */
interface Span {
  readonly firstMs: EpochMs;
  readonly lastMs: EpochMs;
}

const NEVER = epochMs(Number.NEGATIVE_INFINITY);

/**
 * Whether a backend that some isolates skip by themselves is ill for all: there were failures, and skipping, and no success
 * since in the reports of anybody. An isolate that skips sends too few requests for any percentage of them to tell.
 *
 * Reports are ordered by when they were heard, since when exactly their successes were nobody knows: such as came before the
 * backend died, in an isolate that has not noticed, make the verdict wait for longer, and no more.
 */
export class SkipClaims {
  #successMs: EpochMs = NEVER;
  /** Both since the last success. */
  #skipping: Span | null = null;
  #failing: Span | null = null;
  /** When the last of the failures began. */
  #failureMs: EpochMs = NEVER;
  /** When an isolate last told that it failed and is skipped. */
  #trippedMs: EpochMs = NEVER;
  /** When one last told that it served and is not. */
  #servedMs: EpochMs = NEVER;

  hear({ beganMs, heardMs, successes, failures, isSkipping }: Claim): void {
    if (failures > 0) {
      this.#failing = extended(this.#failing, heardMs);
      this.#failureMs = later(this.#failureMs, beganMs);
    }
    if (isSkipping) this.#skipping = extended(this.#skipping, heardMs);
    if (isSkipping && failures > 0) this.#trippedMs = heardMs;
    if (!isSkipping && successes > 0) this.#servedMs = heardMs;
    // Where it is skipped now, its successes came before the failures that made it so.
    if (successes > 0) this.#successMs = later(this.#successMs, isSkipping ? after(heardMs, -1) : heardMs);
    this.#forget();
  }

  verdict(nowMs: EpochMs, { patienceMs, windowMs }: SkipRules): SkipVerdict {
    const sinceMs = this.#sinceMs(nowMs, { patienceMs, windowMs });
    return {
      sinceMs,
      isSkipped: sinceMs !== null && nowMs - sinceMs >= patienceMs,
      isDoubted: this.#servedMs === nowMs && nowMs - this.#trippedMs <= patienceMs,
    };
  }

  #sinceMs(nowMs: EpochMs, { patienceMs, windowMs }: SkipRules): EpochMs | null {
    if (this.#skipping === null || this.#failing === null) return null;
    if (nowMs - this.#skipping.lastMs > patienceMs || nowMs - this.#failureMs > windowMs) return null;
    return later(this.#skipping.firstMs, this.#failing.firstMs);
  }

  /** Forgets what a success has refuted. */
  #forget(): void {
    this.#skipping = since(this.#skipping, this.#successMs);
    this.#failing = since(this.#failing, this.#successMs);
    if (this.#failing === null) this.#failureMs = NEVER;
  }
}

function extended(span: Span | null, timeMs: EpochMs): Span {
  return { firstMs: span?.firstMs ?? timeMs, lastMs: timeMs };
}

/** What is left of a span after a time. Reports are heard in order, so what is later than a success came at its end. */
function since(span: Span | null, timeMs: EpochMs): Span | null {
  if (span === null || span.lastMs <= timeMs) return null;
  return span.firstMs > timeMs ? span : { firstMs: span.lastMs, lastMs: span.lastMs };
}
