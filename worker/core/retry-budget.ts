import type { RetryConfig } from "../../durable/model/retry.ts";
import type { EpochMs } from "../../durable/model/time.ts";

/** Requests and retries are remembered in slices so long, milliseconds, and so many of them. */
const SLICE_MS = 1_000;
const SLICES = 10;

interface Slice {
  beganMs: number;
  requests: number;
  retries: number;
}

/**
 * Bounds the retries of one pool in one isolate to a share of its requests in the last 10 s, or to a floor: without it, a pool
 * whose backends all fail would get a multiple of its load. After the Gateway API's retry constraint (GEP-3388). Hedges, which
 * have a budget of their own, are bounded in the same way.
 */
export class RetryBudget {
  readonly #slices: readonly Slice[] = Array.from({ length: SLICES }, () => ({
    beganMs: 0,
    requests: 0,
    retries: 0,
  }));

  /** A request has come. */
  deposit(nowMs: EpochMs): void {
    this.#slice(nowMs).requests++;
  }

  /** Takes one retry out of the budget. False when there is none left. */
  withdraw({ percent, floor }: RetryConfig["budget"], nowMs: EpochMs): boolean {
    const current = this.#slice(nowMs);
    const oldestMs = current.beganMs - (SLICES - 1) * SLICE_MS;
    let requests = 0;
    let retries = 0;
    for (const slice of this.#slices) {
      if (slice.beganMs < oldestMs) continue;
      requests += slice.requests;
      retries += slice.retries;
    }
    if (retries >= Math.max(floor, Math.floor((requests * percent) / 100))) return false;
    current.retries++;
    return true;
  }

  /** Puts a retry back that was taken out just now, and was not made. */
  restore(nowMs: EpochMs): void {
    const slice = this.#slice(nowMs);
    slice.retries = Math.max(0, slice.retries - 1);
  }

  #slice(nowMs: EpochMs): Slice {
    const number = Math.floor(nowMs / SLICE_MS);
    const slice = this.#slices[number % SLICES] as Slice;
    const beganMs = number * SLICE_MS;
    if (slice.beganMs !== beganMs) {
      slice.beganMs = beganMs;
      slice.requests = 0;
      slice.retries = 0;
    }
    return slice;
  }
}
