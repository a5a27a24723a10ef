import * as v from "valibot";
import { ListedBackendSchema } from "./backend.ts";
import { forward, integer, list, oneOf, PercentSchema, record } from "./fields.ts";
import { HealthCheckSchema } from "./health-check.ts";
import { LIMITS } from "./limits.ts";
import { PoolNameSchema } from "./names.ts";
import { RetrySchema } from "./retry.ts";
import {
  CookieNameSchema,
  HeaderNameSchema,
  MAX_LIVE_CONFIGS,
  SessionsSchema,
  type Tokens,
  TokensSchema,
} from "./token.ts";

/**
 * How a backend is picked for a request that is bound to none. `round_robin`: smooth weighted turns, request by
 * request. `random`: by weight. `first`: the first in the pool's order; weights do not matter. `least_request`: of two
 * drawn by weight, the one with fewer requests in flight in this isolate for its weight. `peak_ewma`: the same, where each
 * request counts for as long as the backend takes to answer this isolate. `rendezvous`, `maglev`, `ring_hash`: weighted
 * consistent hashing of what the affinity chain names, or of the connection key where it is empty; what has no key is
 * picked by `keylessPolicy`.
 */
export const PolicySchema = oneOf([
  "round_robin",
  "random",
  "first",
  "least_request",
  "peak_ewma",
  "rendezvous",
  "maglev",
  "ring_hash",
]);
export type PolicyName = v.InferOutput<typeof PolicySchema>;

const QUERY_RANGE = "must be 1…64 characters";

/**
 * What binds a request to a backend, tried in order; the first that the request has decides. `token`: the routable token
 * we gave it. `connection`: its TLS or QUIC connection. `header`, `cookie`, `query`: the value of that name, hashed.
 * `address`: the client's address (IPv6: the /64), hashed. An empty chain binds nothing: every request is free.
 */
export const AffinitySchema = list(
  v.variant(
    "by",
    [
      record({ by: v.literal("token") }),
      record({ by: v.literal("connection") }),
      record({ by: v.literal("header"), name: HeaderNameSchema }),
      record({ by: v.literal("cookie"), name: CookieNameSchema }),
      record({
        by: v.literal("query"),
        name: v.pipe(v.string(QUERY_RANGE), v.regex(/^[^&=#\s]{1,64}$/, QUERY_RANGE)),
      }),
      record({ by: v.literal("address") }),
    ],
    'must be an object whose by is "token", "connection", "header", "cookie" or "query" (with a name) or "address"',
  ),
  6,
);
export type Affinity = v.InferOutput<typeof AffinitySchema>;

const AGGRESSION_RANGE = "must be a number 0.1…10";
const RING_POINTS_RANGE = "must be a multiple of 4, 4…1000";

/** Longest wait for a backend's response headers, milliseconds. */
export const HeaderTimeoutSchema = integer(10, 600_000);

/** Longest silence of what is open, milliseconds. */
export const IdleTimeoutSchema = integer(100, 3_600_000);

const connectionsEntries = {
  /** Connections one isolate remembers; the least recently used are forgotten first. Default 50000. */
  maxEntries: v.optional(integer(1, 200_000), 50_000),
  /** A connection unused for so long is forgotten, milliseconds. Default 15 minutes. */
  idleMs: v.optional(integer(1_000, 86_400_000), 900_000),
};

const syncEntries = {
  /** An active isolate asks the ring for changes this often, milliseconds. Default 5000; 1000 while a drain runs. */
  refreshMs: v.optional(integer(500, 60_000), 5_000),
  /**
   * How long a snapshot may be used without hearing from the ring, milliseconds. Default 30000. Short makes drains
   * certain sooner; long spares a quiet site the wait for the ring after a pause. At least 2 × `refreshMs`.
   */
  leaseMs: v.optional(integer(1_000, 3_600_000), 30_000),
  /** How long a request waits for the ring when its isolate holds no leased snapshot, milliseconds. Default 2000. */
  waitMs: v.optional(integer(50, 30_000), 2_000),
  /** With the ring unreachable, a snapshot past its lease is used for so long, milliseconds. Default 1 hour. */
  maxStaleMs: v.optional(integer(0, 86_400_000), 3_600_000),
  /** Syncs per second the ring asks of all isolates together; with many, each asks less often. Default 100. */
  maxPerSecond: v.optional(integer(1, 500), 100),
};

const slowStartEntries = {
  /** How long it takes a backend to come to its full weight, milliseconds. Default 0: it has it at once. */
  windowMs: v.optional(integer(0, 3_600_000), 0),
  /** The curve is (time / window)^(1 / aggression): 1, the default, is a line; more than 1 begins steeper. 0.1…10. */
  aggression: v.optional(
    v.pipe(v.number(AGGRESSION_RANGE), v.minValue(0.1, AGGRESSION_RANGE), v.maxValue(10, AGGRESSION_RANGE)),
    1,
  ),
  /** What it begins with, percent of its weight, 1…100. Default 10. */
  minWeightPercent: v.optional(integer(1, 100), 10),
};

const tiersEntries = {
  /**
   * A tier takes its traffic while its healthy share times this, percent, is at least 100; what is missing spills over to
   * the next. Default 140: a tier can lose more than a quarter of its backends before anything spills.
   */
  overprovisioningPercent: v.optional(integer(100, 1_000), 140),
  /**
   * With less than this share of a tier healthy, percent, and all tiers together not enough for the traffic, its health is
   * ignored, since the few that are left would be next. Default 50. 0: never, and requests are refused instead.
   */
  panicThresholdPercent: v.optional(PercentSchema, 50),
  /**
   * The pool that serves, by its own configuration, what this one cannot: no backend, all full, or shed. Default null:
   * such requests are refused. Its own fallback is not followed. It need not exist yet.
   */
  fallbackPool: v.optional(v.nullable(PoolNameSchema), null),
};

const waitingEntries = {
  /**
   * How long a request waits for a place when every backend that could take it has `maxInFlight`, milliseconds. Default 250.
   * 0: not at all. Long waits keep clients that would do better to try again.
   */
  timeoutMs: v.optional(integer(0, 10_000), 250),
  /** Requests that wait in one isolate at a time, 1…1000; more are refused at once. Default 100. A freed place may be offered to each of them. */
  maxRequests: v.optional(integer(1, 1_000), 100),
};

const shedEntries = {
  /**
   * Share of what is new that is turned away, percent. Default 0. New are requests that the affinity chain does not bind, of
   * which it is by chance, and those that would begin a session with a token, of which it is always the same ones.
   */
  newPercent: v.optional(PercentSchema, 0),
  /** Share of what the chain binds (sessions, connections, values) that is turned away, always the same ones. Default 0. */
  sessionPercent: v.optional(PercentSchema, 0),
};

const poolEntries = {
  /** Default `round_robin`. */
  policy: v.optional(PolicySchema, "round_robin"),
  /**
   * How a hashing policy picks for a request that has no key: nothing that the affinity chain hashes, or no connection where
   * the chain is empty. Default `random`.
   */
  keylessPolicy: v.optional(PolicySchema, "random"),
  /**
   * Percent of its share of what is in flight in an isolate that a backend may have before its keys are led elsewhere,
   * 100…1000. Default null: no bound. 120 to 200 is common; near 100 few keys stay where they belong. Ignored by policies
   * that do not hash, and by the steps `token` and `connection` of the affinity chain.
   */
  hashBalanceFactor: v.optional(v.nullable(integer(100, 1_000)), null),
  /**
   * Points of each backend on the ring, whatever its weight, a multiple of 4, as one digest makes four. Default 160, ketama's.
   * More make shares more even and every snapshot slower to prepare; all backends together may have 200,000, so a thousand of
   * them 200 each. Ignored unless the policy is `ring_hash`.
   */
  ringPoints: v.optional(
    v.pipe(
      v.number(RING_POINTS_RANGE),
      v.multipleOf(4, RING_POINTS_RANGE),
      v.minValue(4, RING_POINTS_RANGE),
      v.maxValue(1_000, RING_POINTS_RANGE),
    ),
    160,
  ),
  /**
   * A backend that is new, or back, gets less than its weight at first. Ignored by hashing policies and `first`, in a tier
   * that panics, and while all of a tier are new.
   */
  slowStart: v.optional(record(slowStartEntries), {}),
  tiers: v.optional(record(tiersEntries), {}),
  /**
   * Requests that one isolate may have in flight at one backend, 1…10000. More go elsewhere, and wait as `waiting` says where
   * nothing else has room or they are bound to it already. Default null: any number. Isolates do not know of each other, so the
   * backend may see a multiple.
   */
  maxInFlight: v.optional(v.nullable(integer(1, 10_000)), null),
  /** A short wait for room. Ignored without `maxInFlight`. */
  waiting: v.optional(record(waitingEntries), {}),
  health: v.optional(HealthCheckSchema, {}),
  retry: v.optional(RetrySchema, {}),
  /** Turns traffic away on purpose: to the fallback pool if there is one, else with 503. */
  shed: v.optional(record(shedEntries), {}),
  /** Default `[]`: round robin per request. */
  affinity: v.optional(AffinitySchema, []),
  /**
   * Bound requests are charged to their backend's turns in the round robin, so that free traffic makes up for them: at
   * most so many rounds in advance, 0…1000. Default 16. 0: not at all; 1 is nginx's rule. High values let free traffic
   * pass a backend by for long after its bound traffic has ended.
   */
  stickyDebtRounds: v.optional(integer(0, 1_000), 16),
  /** The isolate's connection table; used where the affinity chain names `connection`. */
  connections: v.optional(record(connectionsEntries), {}),
  tokens: v.optional(TokensSchema, {}),
  sessions: v.optional(SessionsSchema, {}),
  /**
   * A backend that sent no response headers by then is answered for with 504, milliseconds. Default 15000. It counts from when the
   * backend has the whole request; from the beginning if that has a body without `Content-Length`.
   */
  headerTimeoutMs: v.optional(HeaderTimeoutSchema, 15_000),
  /**
   * A response that is followed is broken off when its backend has sent nothing for so long, milliseconds. Default 5 minutes,
   * as Envoy's `stream_idle_timeout`; null: never. The time in which the client takes what has come does not count. Event
   * streams need a comment now and then. Ignored for responses that pass untouched. A client that sends nothing of its upload for
   * so long is answered 408.
   */
  bodyIdleTimeoutMs: v.optional(v.nullable(IdleTimeoutSchema), 300_000),
  /**
   * A WebSocket is closed on both sides when neither has sent a message for so long, milliseconds. Default null: never, because
   * the runtime answers pings by itself and shows none, so a socket that lives on pings alone looks silent.
   */
  webSocketIdleTimeoutMs: v.optional(v.nullable(IdleTimeoutSchema), null),
  /** How long a drain lets existing sessions stay when the command does not say, milliseconds. Default 5 minutes. */
  drainMs: v.optional(integer(0, LIMITS.maxDrainMs), 300_000),
  /**
   * An ordinary response, which isolates do not follow to its end, counts as over so long after its headers, milliseconds.
   * Default 5000. Receipts go by it; too short, and a backend is called safe to stop that is still sending one.
   */
  settleMs: v.optional(integer(0, 600_000), 5_000),
  /**
   * Whether WebSockets that are open to a backend are closed, on both sides and with 1001, once it admits nothing any more
   * because its drain is over or it was disabled. Default false: they stay as long as they like. An ejection closes none.
   */
  closeSocketsAtDeadline: v.optional(v.boolean("must be true or false"), false),
  sync: v.optional(
    v.pipe(
      record(syncEntries),
      v.check((sync) => sync.leaseMs >= 2 * sync.refreshMs, "must have leaseMs of at least 2 × refreshMs"),
    ),
    {},
  ),
};

interface Carrying {
  readonly affinity: Affinity;
  readonly tokens: Tokens;
}

interface Rotating {
  readonly tokens: Tokens;
  readonly sync: { readonly leaseMs: number; readonly maxStaleMs: number };
}

/**
 * Shortest rotation for which `MAX_LIVE_CONFIGS` suffice, milliseconds: beside the one in use and the one being spread,
 * there are those that were replaced, each until the last token made under it has expired everywhere. The codepoint of one
 * that is dropped then rests until nobody can still hold it.
 */
function shortestRotationMs({ tokens, sync }: Rotating): number {
  const forgottenMs = sync.maxStaleMs + 2 * sync.leaseMs;
  const readableMs = tokens.lifetimeMs + forgottenMs;
  const places = MAX_LIVE_CONFIGS - 2;
  return Math.ceil(Math.max(readableMs / places, (readableMs + forgottenMs) / (places + 1)));
}

function rotationFits(config: Rotating): boolean {
  const { rotateEveryMs } = config.tokens;
  return rotateEveryMs === null || rotateEveryMs >= shortestRotationMs(config);
}

/** Tokens that are asked for can travel. */
function canCarryTokens({ affinity, tokens }: Carrying): boolean {
  return tokens.cookie !== null || tokens.header !== null || !affinity.some(({ by }) => by === "token");
}

const CARRIER_RANGE = "must not hold the step token while tokens.cookie and tokens.header are both null";

const ROTATION_RANGE = `must be long enough for ${MAX_LIVE_CONFIGS} live configurations: a quarter of tokens.lifetimeMs + sync.maxStaleMs + 2 × sync.leaseMs, and a fifth of that with the last two counted twice`;

/** A pool's configuration, complete. */
export const PoolConfigSchema = v.pipe(
  record(poolEntries),
  forward(
    v.check((config) => rotationFits(config), ROTATION_RANGE),
    ["tokens", "rotateEveryMs"],
  ),
  forward(
    v.check((config) => canCarryTokens(config), CARRIER_RANGE),
    ["affinity"],
  ),
);
export type PoolConfig = v.InferOutput<typeof PoolConfigSchema>;
export type SlowStart = PoolConfig["slowStart"];

/** Every field at its default. */
export const DEFAULT_POOL_CONFIG: PoolConfig = v.parse(PoolConfigSchema, {});

/** The whole pool, as the declarative `PUT` takes it and `GET` gives it. */
export const PoolDocumentSchema = v.pipe(
  record({ ...poolEntries, backends: v.optional(list(ListedBackendSchema, LIMITS.backendsPerPool), []) }),
  forward(
    v.check((config) => rotationFits(config), ROTATION_RANGE),
    ["tokens", "rotateEveryMs"],
  ),
  forward(
    v.check((config) => canCarryTokens(config), CARRIER_RANGE),
    ["affinity"],
  ),
  v.description("the ids of its backends must be unique"),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const seen = new Set<string>();
    dataset.value.backends.forEach((backend, index) => {
      if (seen.has(backend.id)) {
        addIssue({
          message: "must be unique in the pool",
          input: backend.id,
          path: [
            {
              type: "object",
              origin: "value",
              input: dataset.value,
              key: "backends",
              value: dataset.value.backends,
            },
            {
              type: "array",
              origin: "value",
              input: [...dataset.value.backends],
              key: index,
              value: backend,
            },
            { type: "object", origin: "value", input: backend, key: "id", value: backend.id },
          ],
        });
      }
      seen.add(backend.id);
    });
  }),
);
export type PoolDocument = v.InferOutput<typeof PoolDocumentSchema>;

/**
 * Fields of a pool's configuration to change; what is left out stays, inside of objects too. It is checked as the whole
 * that comes of it.
 */
export const PoolPatchSchema = v.custom<Readonly<Record<string, unknown>>>(
  (patch) => typeof patch === "object" && patch !== null && !Array.isArray(patch),
  "must be an object",
);
export type PoolPatch = v.InferOutput<typeof PoolPatchSchema>;
