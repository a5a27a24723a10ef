import type { BackendId } from "../../durable/model/names.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { type Failure, isBodyKept, type RetryRules, type Tried } from "../core/retry.ts";
import type { Passage } from "./passage.ts";
import { type Copy, Upload } from "./upload.ts";

/** A request's body, as one attempt sends it. */
export interface Body {
  /** Null: there is none. */
  readonly stream: ReadableStream | null;
  /** How it gets on; null: there is none, or it is of unknown length, and nobody can tell. */
  readonly copy: Copy | null;
}

const NO_BODY: Body = { stream: null, copy: null };

/** The attempts of one request, over all backends and pools it is tried at. */
export class Tries {
  /** When the request came. */
  readonly #beganMs: EpochMs;
  readonly #passage: Passage;
  readonly #backends = new Set<BackendId>();
  #attempts = 0;
  /** Undefined: nobody has asked for it yet. Null: there is no body, or it is of unknown length. */
  #upload: Upload | null | undefined;

  constructor(passage: Passage, beganMs: EpochMs) {
    this.#passage = passage;
    this.#beganMs = beganMs;
  }

  /** Where it was tried. */
  get backends(): ReadonlySet<BackendId> {
    return this.#backends;
  }

  /** How often, so far. */
  get attempts(): number {
    return this.#attempts;
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

  /** The body for one attempt, which comes after the others or goes `beside` them. */
  body(config: RetryRules, beside: boolean): Body {
    const { body, method } = this.#passage.request;
    if (body === null || this.#isEmpty()) return NO_BODY;
    const length = this.#passage.headers.get("content-length");
    // The runtime takes the odd body of a GET from a whole request only.
    if (length === null || method === "GET" || method === "HEAD") {
      this.#upload = null;
      return { stream: body, copy: null };
    }
    const lengthBytes = Number(length);
    this.#upload ??= new Upload(body, lengthBytes, isBodyKept(method, lengthBytes, config));
    const copy = this.#upload.open(beside);
    return { stream: copy.stream, copy };
  }

  /** Does something when the request is here with its whole body. */
  whenWhole(act: () => void): void {
    if (this.#upload === undefined || this.#upload === null) act();
    else this.#upload.whenWhole(act);
  }

  /** How long it took so far, milliseconds, without what its client took to send its body, as far as that can be told. */
  elapsedMs(nowMs: EpochMs): number {
    return nowMs - this.#beganMs - (this.#upload?.tookMs(nowMs) ?? 0);
  }

  /** What a retry hangs on. */
  describe(nowMs: EpochMs, chance: number): Tried {
    const { request, headers } = this.#passage;
    return {
      method: request.method,
      hasIdempotencyKey: headers.has("idempotency-key"),
      // Whatever it says (RFC 8470 §5.1).
      isEarlyData: headers.has("early-data"),
      isReplayable: request.body === null || this.#upload?.isReplayable === true || this.#isEmpty(),
      attempts: this.#attempts,
      elapsedMs: this.elapsedMs(nowMs),
      chance,
    };
  }

  /** Whether its body is one of no bytes. */
  #isEmpty(): boolean {
    return this.#passage.headers.get("content-length") === "0";
  }
}

/** What to do when an attempt fails: a promise of another one's answer, or null when there will be none. */
export type OnFailure = (failure: Failure) => Promise<Response> | null;
