import type { BackendId } from "../../durable/model/names.ts";
import type { RetryConfig } from "../../durable/model/retry.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { type Failure, isBodyKept, type Tried } from "../core/retry.ts";
import type { Passage } from "./passage.ts";
import { ReplayBody } from "./replay-body.ts";

/** The attempts of one request, over all backends and pools it is tried at. */
export class Tries {
  /** When the request came. */
  readonly beganMs: EpochMs;
  readonly #passage: Passage;
  readonly #backends = new Set<BackendId>();
  #attempts = 0;
  /** Undefined: nobody has asked for it yet. Null: there is no body, or none that could be sent again. */
  #replay: ReplayBody | null | undefined;

  constructor(passage: Passage, nowMs: EpochMs) {
    this.#passage = passage;
    this.beganMs = nowMs;
  }

  /** Where it was tried. */
  get backends(): ReadonlySet<BackendId> {
    return this.#backends;
  }

  get isFirst(): boolean {
    return this.#attempts === 0;
  }

  /** An attempt begins. */
  begin(backend: BackendId): void {
    this.#attempts++;
    this.#backends.add(backend);
  }

  /** Goes on in another pool, whose backends may have the same names. */
  changePool(): void {
    this.#backends.clear();
  }

  /** The body for one attempt, which comes after the others or goes `beside` them; null when there is none. */
  body(config: RetryConfig, beside: boolean): ReadableStream | null {
    const { body, method } = this.#passage.request;
    if (body === null) return null;
    if (this.#replay === undefined) {
      const lengthBytes = Number(this.#passage.headers.get("content-length") ?? Number.POSITIVE_INFINITY);
      this.#replay = isBodyKept(method, lengthBytes, config) ? new ReplayBody(body, lengthBytes) : null;
    }
    return this.#replay === null ? body : this.#replay.open(beside);
  }

  /** What a retry hangs on. */
  describe(nowMs: EpochMs, chance: number): Tried {
    const { request, headers } = this.#passage;
    return {
      method: request.method,
      hasIdempotencyKey: headers.has("idempotency-key"),
      isEarlyData: headers.get("early-data") === "1",
      isReplayable: request.body === null || this.#replay instanceof ReplayBody,
      attempts: this.#attempts,
      elapsedMs: nowMs - this.beganMs,
      chance,
    };
  }
}

/** What to do when an attempt fails: a promise of another one's answer, or null when there will be none. */
export type OnFailure = (failure: Failure) => Promise<Response> | null;
