import * as v from "valibot";
import { integer, list, MethodSchema, PercentSchema, record } from "./fields.ts";

/** Methods that may be carried out twice to the same effect as once (RFC 9110 §9.2.2). */
const IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

const budgetEntries = {
  /** Retries in the last 10 s, percent of the requests of that time, 0…100. Default 20. */
  percent: v.optional(PercentSchema, 20),
  /** So many retries in 10 s are allowed anyway, or a quiet pool had none. Default 100. */
  floor: v.optional(integer(0, 100_000), 100),
};

const hedgeEntries = {
  /**
   * When there are no response headers so long after an attempt began and the whole request was here, another backend is asked as
   * well, milliseconds, 1…60000. Default null: never. About what 95 % of requests take is a good choice; less asks twice without need.
   */
  afterMs: v.optional(v.nullable(integer(1, 60_000)), null),
  /** Hedges of one isolate in 10 s, percent of the requests of that time that might be hedged, 0…100. Default 10. */
  percent: v.optional(PercentSchema, 10),
};

/**
 * When a request that failed at one backend goes to another. That happens only while its backend cannot have acted on it, or
 * where acting twice does no harm; and only while its body can be sent again.
 */
export const RetrySchema = record({
  /** The first included. Default 3. 1: no retries. */
  maxAttempts: v.optional(integer(1, 10), 3),
  /** Statuses of a backend that are worth another try. Default 502, 503, 504. */
  statuses: v.optional(list(integer(400, 599), 100), [502, 503, 504]),
  /** Methods that may be tried again though the backend may have acted. Default those that HTTP calls idempotent. */
  methods: v.optional(list(MethodSchema, 16), IDEMPOTENT),
  /** Whether `Idempotency-Key` makes any method one of these. Default true: a backend that ignores it may act twice. */
  idempotencyKeys: v.optional(v.boolean("must be true or false"), true),
  /**
   * A body is kept for another try if `Content-Length` says that it is no longer, bytes; any other is sent once. Default
   * 65536. 0: none is kept.
   */
  bodyBytes: v.optional(integer(0, 1_048_576), 65_536),
  /** The n-th retry waits at random up to (2^n − 1) times this, milliseconds. Default 25. */
  backoffMs: v.optional(integer(0, 10_000), 25),
  /** No retry waits longer, milliseconds, unless a backend asks for it by `Retry-After`. Default 250. */
  maxBackoffMs: v.optional(integer(0, 60_000), 250),
  /**
   * No attempt begins or waits for headers later than this after the request came, milliseconds, 10…600000; the time in which
   * the client sends its body does not count. Default null: `maxAttempts` header timeouts, and no less than 45000. An attempt
   * that another may follow after a timeout waits for its share of what is left at most: this, divided by `maxAttempts`, for
   * the first. A value below `maxAttempts` header timeouts shortens them.
   */
  totalTimeoutMs: v.optional(v.nullable(integer(10, 600_000)), null),
  /** How many retries one isolate allows itself, so that they do not make a failure worse. */
  budget: v.optional(record(budgetEntries), {}),
  /**
   * A second attempt beside one that is slow: the first response headers win, and the other attempt is aborted. Only for
   * requests that might be retried though their backend may have acted, and that no affinity chain could bind: what is bound
   * has its state at one backend. Each hedge is one of `maxAttempts`. Ignored for WebSockets.
   */
  hedge: v.optional(record(hedgeEntries), {}),
});
export type RetryConfig = v.InferOutput<typeof RetrySchema>;

/** What a route says instead of its pool. */
export const RouteRetrySchema = record({
  maxAttempts: v.optional(RetrySchema.entries.maxAttempts.wrapped),
  statuses: v.optional(RetrySchema.entries.statuses.wrapped),
  methods: v.optional(RetrySchema.entries.methods.wrapped),
  totalTimeoutMs: v.optional(RetrySchema.entries.totalTimeoutMs.wrapped),
  hedge: v.optional(record({ afterMs: v.optional(hedgeEntries.afterMs.wrapped) })),
});
export type RouteRetry = v.InferOutput<typeof RouteRetrySchema>;
