import * as v from "valibot";
import { integer, list, oneOf, record } from "../../durable/model/fields.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { BackendIdSchema, PoolNameSchema, RouteIdSchema } from "../../durable/model/names.ts";
import { OUTCOMES } from "../../durable/model/outcome.ts";
import { parse } from "../../durable/model/parse.ts";
import { invalid } from "../../durable/model/refusal.ts";
import { type Result, refuse } from "../../durable/model/result.ts";
import { epochMs } from "../../durable/model/time.ts";
import { decodeBase64url, encodeBase64url } from "./base64url.ts";
import { REASONS } from "./reason.ts";

/** A trace beyond this leaves out what isolates knew by themselves: Node takes 16 kB of headers in all. */
const MAX_CHARACTERS = 14_000;

/** More attempts than any request has, hedges and fallback included. */
const MOST_ATTEMPTS = 50;

/**
 * Why a backend was chosen. `FA`: at first. `WR`: after a wait for room. `RT`: the attempt before failed. `HG`: the one before is
 * slow. `FB`: in the fallback pool, for want of another.
 */
const CAUSES = ["FA", "WR", "RT", "HG", "FB"] as const;
export type Cause = (typeof CAUSES)[number];

const CountSchema = integer(0, Number.MAX_SAFE_INTEGER);
const NumberSchema = v.pipe(v.number("must be a number"), v.finite("must be finite"));
const EpochSchema = v.pipe(NumberSchema, v.transform(epochMs));
const TextSchema = v.string("must be a text");
const IdsSchema = list(BackendIdSchema, LIMITS.backendsPerPool);

const ConnectionSchema = record({ identity: TextSchema, isExact: v.boolean(), from: TextSchema });

const LocalSchema = record({
  nowMs: EpochSchema,
  chance: NumberSchema,
  tried: IdsSchema,
  hasWaited: v.boolean(),
  isLast: v.boolean(),
  full: IdsSchema,
  skipped: IdsSchema,
  suspected: IdsSchema,
  connections: list(record({ identity: TextSchema, backend: BackendIdSchema, from: TextSchema }), 2),
  token: v.nullable(record({ requests: CountSchema, connection: v.nullable(ConnectionSchema) })),
  ranked: v.nullable(
    record({
      atMs: EpochSchema,
      turns: list(
        v.pipe(v.tuple([TextSchema, list(NumberSchema, LIMITS.backendsPerPool)]), v.readonly()),
        2 * (LIMITS.maxPriority + 1),
      ),
    }),
  ),
  gauges: list(
    record({ id: BackendIdSchema, inFlight: integer(0, 100_000), latencyMs: v.nullable(NumberSchema) }),
    LIMITS.backendsPerPool,
  ),
});

const documentEntries = {
  incarnation: TextSchema,
  version: CountSchema,
  /** Since the isolate last heard that it is the newest, milliseconds. */
  ageMs: NumberSchema,
  /** It was past its lease, since its object could not be reached. */
  isDegraded: v.boolean(),
};

/** One of the reasons. */
export const ReasonSchema = oneOf(
  // The keys of an object are never none.
  Object.keys(REASONS) as [keyof typeof REASONS, ...(keyof typeof REASONS)[]],
);

/** One attempt, and why it was made there. */
export const AttemptSchema = record({
  pool: PoolNameSchema,
  ...documentEntries,
  cause: oneOf(CAUSES),
  reason: ReasonSchema,
  /** Null: none was chosen. */
  backend: v.nullable(BackendIdSchema),
  /** Null: it is not over yet, or there was none to make. */
  outcome: v.nullable(oneOf(OUTCOMES)),
  /** Until its response headers, or its failure. */
  tookMs: v.nullable(NumberSchema),
  /** What the isolate knew by itself; null: left out, as the trace would have become too long. */
  local: v.nullable(LocalSchema),
});
export type TracedAttempt = v.InferOutput<typeof AttemptSchema>;

/** How one request was routed. */
export const TraceSchema = record({
  format: v.literal(1, "must be 1"),
  /** The routing table; null: there was none. */
  table: v.nullable(record(documentEntries)),
  /** Null: there are no routes, or none matches. */
  route: v.nullable(RouteIdSchema),
  /** What only the edge knows of a client; null: nobody asked. */
  client: v.nullable(
    record({
      address: v.nullable(TextSchema),
      connection: v.nullable(ConnectionSchema),
      country: v.nullable(TextSchema),
      colo: v.nullable(TextSchema),
    }),
  ),
  /** The pool of a split that was chosen, and from what of each; null: the route has no split. */
  split: v.nullable(
    record({
      nowMs: EpochSchema,
      chance: NumberSchema,
      pool: v.nullable(PoolNameSchema),
      sides: list(
        record({ pool: PoolNameSchema, incarnation: TextSchema, version: CountSchema }),
        LIMITS.poolsPerSplit,
      ),
    }),
  ),
  /** That of the last attempt; where there was none, why. */
  reason: ReasonSchema,
  attempts: list(AttemptSchema, MOST_ATTEMPTS),
});
/** How one request was routed, and all that it takes to route it so again. */
export type Trace = v.InferOutput<typeof TraceSchema>;

/** A trace as a header carries it: JSON, in base64url. */
export function encodeTrace(trace: Trace): string {
  const text = encode(trace);
  if (text.length <= MAX_CHARACTERS) return text;
  return encode({ ...trace, attempts: trace.attempts.map((attempt) => ({ ...attempt, local: null })) });
}

function encode(trace: Trace): string {
  return encodeBase64url(new TextEncoder().encode(JSON.stringify(trace)));
}

/** Reads a trace that was sent back. */
export function decodeTrace(text: string): Result<Trace> {
  const bytes = decodeBase64url(text);
  const json = bytes === null ? null : parseJson(new TextDecoder().decode(bytes));
  if (json === null)
    return refuse(invalid("trace", text.slice(0, 40), "must be the value of a Ring-Trace header"));
  return parse(TraceSchema, json);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
