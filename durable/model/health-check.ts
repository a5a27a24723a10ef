import * as v from "valibot";
import { forward, integer, list, oneOf, PercentSchema, record } from "./fields.ts";
import { HeaderNameSchema } from "./token.ts";

const SECRET_RANGE = "must be the name of a secret: 1…64 characters of A-Z, a-z, 0-9 and '_'";
/** What only Ringmaster itself may read: whoever may configure a pool must not have them sent to a server of theirs. */
const OWN_SECRETS = ["OPERATOR_TOKENS", "VIEWER_TOKENS", "CONNECTION_HEADER_SECRET"];
const SecretNameSchema = v.pipe(
  v.string(SECRET_RANGE),
  v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, SECRET_RANGE),
  v.check((name) => !OWN_SECRETS.includes(name), `must not be one of ${OWN_SECRETS.join(", ")}`),
);
const TARGET_RANGE = "must begin with '/', hold no white space, '#' or '\\', and be at most 1024 characters";
const VALUE_RANGE = "must be a string of at most 1024 visible characters and spaces";
const STATUS_RANGE = "must be a status or a range of statuses: 200, 200-299";

const StatusesSchema = v.pipe(
  v.string(STATUS_RANGE),
  v.regex(/^[1-5]\d\d(?:-[1-5]\d\d)?$/, STATUS_RANGE),
  v.check((text) => {
    const [from = "", to = from] = text.split("-");
    return Number(from) <= Number(to);
  }, STATUS_RANGE),
);

const ProbeHeaderSchema = v.pipe(
  record({
    name: HeaderNameSchema,
    /** This, or `secret`. */
    value: v.optional(v.pipe(v.string(VALUE_RANGE), v.regex(/^[\t -~]{0,1024}$/, VALUE_RANGE))),
    /** Name of the secret of this worker that holds the value. */
    secret: v.optional(SecretNameSchema),
  }),
  forward(
    v.check(
      ({ value, secret }) => (value === undefined) !== (secret === undefined),
      "is required, or secret, and not both",
    ),
    ["value"],
  ),
);

const pacingEntries = {
  /** How often each backend is probed, milliseconds. Default 10000. */
  intervalMs: v.optional(integer(1_000, 3_600_000), 10_000),
  /** How often while its state is about to change, milliseconds, if that is sooner. Default 2000. */
  changingIntervalMs: v.optional(integer(500, 3_600_000), 2_000),
  /** Each probe comes up to this share of the interval later, at random, percent. Default 10. */
  jitterPercent: v.optional(PercentSchema, 10),
  /** What takes longer has failed, milliseconds, body included. Default 2000. */
  timeoutMs: v.optional(integer(100, 60_000), 2_000),
  /** Successes in a row that make an unhealthy backend healthy. Default 2. */
  rise: v.optional(integer(1, 100), 2),
  /** Failures in a row that make a healthy backend unhealthy. Default 3. */
  fall: v.optional(integer(1, 100), 3),
};

const CONTAINS_RANGE = "must be 1…1024 characters";
const ContainsSchema = v.pipe(
  v.string(CONTAINS_RANGE),
  v.minLength(1, CONTAINS_RANGE),
  v.maxLength(1_024, CONTAINS_RANGE),
);

/** An active health check. `http`: a request over HTTP or HTTPS, as the backend's URL says. `tcp`: a connection, no more. */
const ProbeKindsSchema = v.variant(
  "kind",
  [
    record({
      kind: v.literal("http"),
      /** Path and perhaps query, instead of the path of the backend's URL. Default `/`. */
      path: v.optional(v.pipe(v.string(TARGET_RANGE), v.regex(/^\/[^\s#\\]{0,1023}$/, TARGET_RANGE)), "/"),
      /** Default `GET`. */
      method: v.optional(oneOf(["GET", "HEAD", "OPTIONS", "POST"]), "GET"),
      /** Default none. */
      headers: v.optional(list(ProbeHeaderSchema, 16), []),
      /** Statuses of a backend that is well. Default `["200-299"]`. Redirects are not followed. */
      expect: v.optional(v.pipe(list(StatusesSchema, 16), v.minLength(1, "must name at least one status")), [
        "200-299",
      ]),
      /** Text that the beginning of the body has to hold; letters in either case. Default null: any body. */
      contains: v.optional(v.nullable(ContainsSchema), null),
      /** So much of the body is looked at, bytes. Default 16384. */
      bodyBytes: v.optional(integer(1, 65_536), 16_384),
      /** A response with this header makes a backend unhealthy at once. Default null: none does. */
      failHeader: v.optional(v.nullable(HeaderNameSchema), null),
      /** A successful response with this header means `degraded`. Default null: none does. */
      degradedHeader: v.optional(v.nullable(HeaderNameSchema), null),
      /** 404 means that the backend takes no new sessions and keeps those it has. Default false: it is a failure. */
      stopOn404: v.optional(v.boolean("must be true or false"), false),
      ...pacingEntries,
    }),
    record({ kind: v.literal("tcp"), ...pacingEntries }),
  ],
  'must be an object whose kind is "http" or "tcp"',
);
const ProbeSchema = v.pipe(
  ProbeKindsSchema,
  v.check(
    (probe) => probe.kind === "tcp" || probe.method !== "HEAD" || probe.contains === null,
    "must not look for text with the method HEAD, whose answers have no body",
  ),
);
export type Probe = v.InferOutput<typeof ProbeSchema>;

const localEntries = {
  /** Failures to connect in a row after which an isolate skips a backend at once. Default 3. 0: never. */
  connectFailures: v.optional(integer(0, 1_000), 3),
  /**
   * Gateway errors and timeouts in a row that do the same. Default 5. 0: never. One timeout is enough, and for `maxSkipMs`, if
   * the backend answered nothing else meanwhile: then it hangs. Where nobody else waited there, sessions and connections that
   * are bound to it go on.
   */
  gatewayErrors: v.optional(integer(0, 1_000), 5),
  /** How long it is skipped, milliseconds. Default 1000; doubled each time it fails right after, to `maxSkipMs`. */
  minSkipMs: v.optional(integer(100, 600_000), 1_000),
  /** Default 30000. */
  maxSkipMs: v.optional(integer(100, 600_000), 30_000),
};

const failurePercentageEntries = {
  /** Whether it ejects, or is only told in the events. Default true. */
  enforce: v.optional(v.boolean("must be true or false"), true),
  /**
   * Share of attempts in the window that must fail before a backend is ejected, percent. Default 85. Low values eject on
   * noise, and 1 on the first error of a busy backend.
   */
  thresholdPercent: v.optional(integer(1, 100), 85),
  /**
   * Attempts that must be in the window, over all isolates, or the percentage is ignored. Default 50. Low values eject
   * for a handful of requests; with high ones a quiet pool is never judged.
   */
  minAttempts: v.optional(integer(1, 1_000_000), 50),
  /**
   * Older attempts do not count, milliseconds; neither does what a report says of a backend whose first attempt in it
   * ended earlier, for no passive verdict. Default
   * 30000. Take at least twice the time between two syncs of an isolate, which is `sync.refreshMs` unless there are many, or
   * reports come too late for it. A change of it forgets what was seen.
   */
  windowMs: v.optional(integer(1_000, 600_000), 30_000),
};

const breakerEntries = {
  /** Whether it ejects, or is only told in the events. Default true. */
  enforce: v.optional(v.boolean("must be true or false"), true),
  /**
   * Attempts of the short window, over all isolates. Default 1500. Until so many have been seen, failures are counted rather
   * than weighed by their time: one trips it that comes after `shortWindow × shortPercent` others. Short windows trip on a
   * burst.
   */
  shortWindow: v.optional(integer(10, 100_000), 1_500),
  /**
   * Failures it stands, percent of what as many successes as the window has attempts would take. A failure counts by the time
   * it took, at most as two successes, and each success lets the earlier ones fade. Default 10: it trips when two of seven
   * attempts fail as fast as successes do, or one of six slowly.
   */
  shortPercent: v.optional(integer(1, 100), 10),
  /** Attempts of the long window, as `shortWindow`. Default 3000. */
  longWindow: v.optional(integer(10, 100_000), 3_000),
  /** As `shortPercent`. Default 5: it trips when one of six attempts fails as fast, or one of eleven slowly. */
  longPercent: v.optional(integer(1, 100), 5),
  /**
   * First isolation, milliseconds. Default 100; doubled when it trips again within `maxIsolationMs` of the end of the last
   * one. One shorter than `sync.refreshMs` reaches only isolates that ask meanwhile.
   */
  minIsolationMs: v.optional(integer(100, 600_000), 100),
  /** Longest isolation, milliseconds. Default 30000. */
  maxIsolationMs: v.optional(integer(100, 3_600_000), 30_000),
  /**
   * Successes in a row, over all isolates, that close it after an isolation; a failure before opens it again, for twice as
   * long. Default 0: it closes at once. The backend has its full share of traffic meanwhile, so a high value ejects a busy
   * one that never is without any failure.
   */
  halfOpenSuccesses: v.optional(integer(0, 1_000), 0),
};

const consecutiveEntries = {
  /** Whether it ejects, or is only told in the events. Default false: one bad moment of a busy backend is enough for it. */
  enforce: v.optional(v.boolean("must be true or false"), false),
  /**
   * Gateway errors, timeouts and failures to connect in a row, over all isolates, as far as their reports show that nothing
   * else came between. Default 5. Ignored where they are older than `failurePercentage.windowMs`.
   */
  failures: v.optional(integer(1, 100_000), 5),
};

const skippedEntries = {
  /**
   * Whether a backend is ejected that isolates skip by themselves (see `local`) and that has served nobody since, by the
   * reports of all of them within 1.2 refreshes. Default true. Ignored without `local`, and when its last failure is older
   * than `failurePercentage.windowMs`. Few requests are enough for it: where there is one isolate, those of `local`.
   */
  enforce: v.optional(v.boolean("must be true or false"), true),
};

const ejectionEntries = {
  /**
   * How long the first ejection lasts, milliseconds; the n-th n times as long, where n falls by one for as much time in
   * service. Default 30000. Not for the breaker, which has times of its own.
   */
  baseMs: v.optional(integer(1_000, 3_600_000), 30_000),
  /** Longest ejection, milliseconds. Default 300000. */
  maxMs: v.optional(integer(1_000, 86_400_000), 300_000),
  /**
   * At most so much of the pool is ejected at a time, percent, rounded down; one backend always may. Default 10. High values
   * let one bad release, or one fault of what all backends need, take out most of the pool.
   */
  maxPercent: v.optional(PercentSchema, 10),
  /**
   * Nothing is ejected that would leave less than this share of the pool in service, percent; those that probes, pins or their
   * own word keep out are not in service. Default 50. 0 lets the last one go. A pool of one is never ejected above 0.
   */
  minAvailablePercent: v.optional(PercentSchema, 50),
};

const WEBHOOK_URL_RANGE = "must be an https:// URL of at most 2048 characters without user or password";
const UNIQUE_RANGE = "must name each url once";
const WebhookSchema = record({
  /** Gets a POST for every transition. `http://` only where private backends are allowed. */
  url: v.pipe(
    v.string(WEBHOOK_URL_RANGE),
    v.maxLength(2_048, WEBHOOK_URL_RANGE),
    v.url(WEBHOOK_URL_RANGE),
    v.check((text) => /^https?:\/\/[^/@]+(?:\/|$)/i.test(text), WEBHOOK_URL_RANGE),
  ),
  /** Name of the secret that signs it. Required. */
  secret: SecretNameSchema,
});
export type Webhook = v.InferOutput<typeof WebhookSchema>;

/** How a pool finds out who is well, and what it does about it. */
export const HealthCheckSchema = record({
  /** Default null: no active health check. */
  probe: v.optional(v.nullable(ProbeSchema), null),
  /** What a backend is until its first probe: `healthy`, the default, or `unhealthy`. Ignored without `probe`. */
  startsAs: v.optional(oneOf(["healthy", "unhealthy"]), "healthy"),
  /**
   * Statuses that count against a backend: others are its own business, as when an application means its 501. Default
   * 500, 502, 503, 504. No answer, or none in time, always counts; a client that left never does.
   */
  failureStatuses: v.optional(list(integer(500, 599), 100), [500, 502, 503, 504]),
  /**
   * Whether the response header `Ring-Health: draining`, `degraded` or `healthy` of a backend is believed, for up to a minute
   * after it came. Default false. An application that lets clients choose response headers would let them drain it.
   */
  trustAnnouncements: v.optional(v.boolean("must be true or false"), false),
  /** What an isolate decides by itself, at once. */
  local: v.optional(
    v.pipe(
      record(localEntries),
      v.check(
        ({ minSkipMs, maxSkipMs }) => minSkipMs <= maxSkipMs,
        "must have minSkipMs of at most maxSkipMs",
      ),
    ),
    {},
  ),
  failurePercentage: v.optional(record(failurePercentageEntries), {}),
  breaker: v.optional(
    v.pipe(
      record(breakerEntries),
      v.check(
        ({ minIsolationMs, maxIsolationMs }) => minIsolationMs <= maxIsolationMs,
        "must have minIsolationMs of at most maxIsolationMs",
      ),
    ),
    {},
  ),
  consecutiveGatewayFailures: v.optional(record(consecutiveEntries), {}),
  skipped: v.optional(record(skippedEntries), {}),
  ejection: v.optional(
    v.pipe(
      record(ejectionEntries),
      v.check(({ baseMs, maxMs }) => baseMs <= maxMs, "must have baseMs of at most maxMs"),
    ),
    {},
  ),
  /** Where transitions are told. Default none. */
  webhooks: v.optional(
    v.pipe(
      list(WebhookSchema, 5),
      v.check((webhooks) => new Set(webhooks.map(({ url }) => url)).size === webhooks.length, UNIQUE_RANGE),
    ),
    [],
  ),
});
export type HealthCheck = v.InferOutput<typeof HealthCheckSchema>;
