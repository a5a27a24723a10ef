import { NOT_SENT } from "../../durable/model/platform.ts";
import type { PoolConfig } from "../../durable/model/pool.ts";
import type { RetryConfig } from "../../durable/model/retry.ts";
import type { Destination } from "./route.ts";

/**
 * How an attempt failed. `not_sent`: the platform says that it never reached the backend (521, 522, 523, 525, 526, 530, or its
 * refusal to fetch the address). `broken`: anything else that brought no answer, after which nobody knows what the backend
 * has done (520, 524, 527, an exception, no headers in time). `status`: it answered, with a status that is worth a retry.
 */
export type Failure =
  | { readonly kind: "not_sent" | "broken" }
  | { readonly kind: "status"; readonly status: number; readonly retryAfterMs: number | null };

/** What a retry hangs on. */
export interface Tried {
  readonly method: string;
  readonly hasIdempotencyKey: boolean;
  /** It came in a TLS 1.3 handshake that may be replayed (RFC 8470). */
  readonly isEarlyData: boolean;
  /** Whether there is no body, or all of it that was sent can be sent again. */
  readonly isReplayable: boolean;
  /** Attempts so far, this one included. */
  readonly attempts: number;
  /** Since the request came, milliseconds. */
  readonly elapsedMs: number;
  /** A random number, 0 ≤ chance < 1. */
  readonly chance: number;
}

/** Too early: the server does not want to act on what may be replayed (RFC 8470 §5.2). */
const TOO_EARLY = 425;

/** The longest wait that a backend may ask for by `Retry-After`, milliseconds: a client who may wait longer can itself. */
const LONGEST_ASKED_MS = 1_000;

/**
 * How long to wait before a request is tried elsewhere, milliseconds; null: it is not tried again. `isLast`: nobody admits it any
 * more, and a last resort is left at most. Whether the budget allows it is another question.
 */
export function decideRetry(
  failure: Failure,
  tried: Tried,
  config: RetryRules,
  isLast = false,
): number | null {
  const { attempts, elapsedMs, isReplayable, chance } = tried;
  if (attempts >= config.maxAttempts || !isReplayable || !isWorthIt(failure, tried, config)) return null;
  const askedMs = isLast ? retryAfterMs(failure) : 0;
  if (askedMs > LONGEST_ASKED_MS) return null;
  const waitMs = Math.max(backoffMs(attempts, chance, config), askedMs);
  return elapsedMs + waitMs < config.totalTimeoutMs ? waitMs : null;
}

/**
 * Whether another backend may be asked as well while an attempt is under way, `tried` being as it stands: acting twice has to
 * do no harm. Whether the budget allows it is another question.
 */
export function mayHedge(tried: Tried, config: RetryRules): boolean {
  const { attempts, elapsedMs, isReplayable } = tried;
  return (
    attempts < config.maxAttempts &&
    elapsedMs < config.totalTimeoutMs &&
    isReplayable &&
    mayActTwice(tried, config)
  );
}

/** What holds for a request: its pool's word or its route's, and how long it may take in all, milliseconds. */
export type RetryRules = Omit<RetryConfig, "totalTimeoutMs"> & { readonly totalTimeoutMs: number };

/** Of requests whose pool and route do not say how long they may take, none may take less, milliseconds. */
const LEAST_TOTAL_TIMEOUT_MS = 45_000;

/** What a pool says of retries, and a route says instead. */
export function retryRules(
  pool: Pick<PoolConfig, "retry" | "headerTimeoutMs">,
  route: Partial<Pick<Destination, "retry" | "headerTimeoutMs">>,
): RetryRules {
  const { maxAttempts = pool.retry.maxAttempts, statuses, methods, hedge } = route.retry ?? {};
  const { totalTimeoutMs = pool.retry.totalTimeoutMs } = route.retry ?? {};
  const headerTimeoutMs = route.headerTimeoutMs ?? pool.headerTimeoutMs;
  return {
    ...pool.retry,
    maxAttempts,
    statuses: statuses ?? pool.retry.statuses,
    methods: methods ?? pool.retry.methods,
    totalTimeoutMs: totalTimeoutMs ?? Math.max(LEAST_TOTAL_TIMEOUT_MS, maxAttempts * headerTimeoutMs),
    hedge: hedge?.afterMs === undefined ? pool.retry.hedge : { ...pool.retry.hedge, afterMs: hedge.afterMs },
  };
}

/** How an attempt failed in whose place the platform has answered, with this status. */
export function platformFailure(status: number): Failure {
  return { kind: NOT_SENT.has(status) ? "not_sent" : "broken" };
}

/**
 * Whether a body of so many bytes, as its `Content-Length` says, is kept for another attempt; `Infinity`: it does not say. The
 * runtime takes the odd body of a GET from a whole request only.
 */
export function isBodyKept(method: string, lengthBytes: number, config: RetryRules): boolean {
  const { maxAttempts, bodyBytes } = config;
  return maxAttempts > 1 && lengthBytes <= bodyBytes && method !== "GET" && method !== "HEAD";
}

/** Whether a response with this status may be worth a retry at all. */
export function isRetryStatus(status: number, { statuses }: Pick<RetryRules, "statuses">): boolean {
  return status >= 400 && (status === TOO_EARLY || statuses.includes(status));
}

function isWorthIt(failure: Failure, tried: Tried, config: RetryRules): boolean {
  if (failure.kind === "not_sent") return true;
  // One who takes early data itself has to be told, and tries again when the handshake is over.
  if (failure.kind === "status" && failure.status === TOO_EARLY) return !tried.isEarlyData;
  return mayActTwice(tried, config);
}

/** Whether it does no harm if two backends act on it. */
function mayActTwice({ method, hasIdempotencyKey }: Tried, config: RetryRules): boolean {
  return config.methods.includes(method) || (config.idempotencyKeys && hasIdempotencyKey);
}

/** Fully jittered and exponential, as Envoy does it. */
function backoffMs(attempts: number, chance: number, config: RetryRules): number {
  return chance * Math.min((2 ** attempts - 1) * config.backoffMs, config.maxBackoffMs);
}

/**
 * How long the backend has asked to be left alone. This request leaves it alone anyway, and for those who are well it does not
 * speak; but where they are all busy, a last resort is no better off.
 */
function retryAfterMs(failure: Failure): number {
  return failure.kind === "status" ? (failure.retryAfterMs ?? 0) : 0;
}
