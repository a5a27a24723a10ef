import * as v from "valibot";
import { forward, integer, oneOf, record } from "./fields.ts";

/**
 * How a token's first part is made. `encrypted`: QUIC-LB with a key, so a client cannot tell which backend it names.
 * `plaintext`: QUIC-LB without one; the server id can be read. `regional`: encrypted, and the server id begins with an
 * octet for the backend's label `region`.
 */
export const GENERATORS = ["encrypted", "plaintext", "regional"] as const;
export type GeneratorName = (typeof GENERATORS)[number];

/** Bytes that server id and nonce may have together (draft-ietf-quic-load-balancers §3). */
const MAX_CID_BYTES = 19;

/** Token configurations that may be readable at once, of the seven that three bits can name. */
export const MAX_LIVE_CONFIGS = 6;

const NAME_RANGE = "must be 1…64 characters of A-Z, a-z, 0-9 and !#$%&'*+-.^_`|~";
const TokenNameSchema = v.pipe(
  v.string(NAME_RANGE),
  v.regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/, NAME_RANGE),
);

/** Name of a cookie (RFC 6265 §4.1.1). */
export const CookieNameSchema = TokenNameSchema;

/** Name of a header, in lower case (RFC 9110 §5.1). */
export const HeaderNameSchema = v.pipe(TokenNameSchema, v.toLowerCase());

const PATH_RANGE = "must be a path beginning with / of at most 1024 visible characters without ;";
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const DOMAIN_RANGE = "must be a lower-case domain name without leading dot";

/** Fields that mean something already, here or to whoever is on the way (RFC 9110 §18.4 and others). */
const TAKEN_HEADER =
  /^(?:accept|access-control|age$|allow$|alt-|authorization$|cache-|cdn-|cf-|connection$|content-|cookie|date$|early-data$|etag$|expect|expires$|forwarded$|from$|host$|if-|keep-alive$|last-|link$|location$|mf-|origin$|pragma$|priority$|proxy-|range$|referer$|refresh$|retry-|ring-session$|ring-previous-backend$|sec-|server$|set-cookie|strict-|te$|trailer$|transfer-|true-client-ip$|upgrade|user-agent$|vary$|via$|warning$|www-|x-client-ip$|x-content-|x-forwarded-|x-frame-|x-real-ip$|x-request-id$)/;
const TOKEN_HEADER_RANGE = "must be the name of a header that means nothing else, such as x-session-token";

/** A name that a browser gives rules to, in whatever case it is written (RFC 6265bis §4.1.3). */
function hasPrefix(name: string, prefix: "__host-" | "__secure-"): boolean {
  return name.toLowerCase().startsWith(prefix);
}

const CookieSchema = v.pipe(
  record({
    /** Default null: `__Host-ring-` and the pool's name, so that several pools on one host do not clash. */
    name: v.optional(v.nullable(CookieNameSchema), null),
    /** Default `Lax`. `None` for pages that other sites embed. */
    sameSite: v.optional(oneOf(["Strict", "Lax", "None"]), "Lax"),
    /** Default `/`, which a `__Host-` cookie needs. */
    path: v.optional(v.pipe(v.string(PATH_RANGE), v.regex(/^\/[!-:<-~]{0,1023}$/, PATH_RANGE)), "/"),
    /** Default null: only the host that set it. A `__Host-` cookie can have none. */
    domain: v.optional(v.nullable(v.pipe(v.string(DOMAIN_RANGE), v.regex(DOMAIN, DOMAIN_RANGE))), null),
    /** Default true. False is for tests over plain HTTP: with it, whoever listens in can take the session over. */
    secure: v.optional(v.boolean("must be true or false"), true),
    /** Default false: a session cookie, gone with the browser. True: kept until the token expires. */
    persistent: v.optional(v.boolean("must be true or false"), false),
    /** Default false: the backend does not see the cookie. */
    passOn: v.optional(v.boolean("must be true or false"), false),
  }),
  forward(
    v.check(
      ({ name, path, domain, secure }) =>
        !hasPrefix(name ?? "__Host-", "__host-") || (path === "/" && domain === null && secure),
      "must not begin with __Host-, as it does by default, unless path is /, domain null and secure true",
    ),
    ["name"],
  ),
  forward(
    v.check(
      ({ name, secure }) => !hasPrefix(name ?? "", "__secure-") || secure,
      "must be true while the name begins with __Secure-",
    ),
    ["secure"],
  ),
  forward(
    v.check(({ sameSite, secure }) => sameSite !== "None" || secure, "must be true with sameSite None"),
    ["secure"],
  ),
);
export type CookieConfig = v.InferOutput<typeof CookieSchema>;

const HOUR_MS = 3_600_000;
const MIN_ROTATION_MS = HOUR_MS;

/** The tokens of one pool: what they look like, how they travel, how long they last. */
export const TokensSchema = v.pipe(
  record({
    /** Default `encrypted`. Changing it, or a length, begins a key rotation. */
    generator: v.optional(oneOf(GENERATORS), "encrypted"),
    /** Length of the server id, 1…15 bytes; 256^n backends can be named. Default 4. */
    serverIdBytes: v.optional(integer(1, 15), 4),
    /** Length of the nonce, 4…18 bytes. Default 12: with a server id of 4 one AES block. */
    nonceBytes: v.optional(integer(4, 18), 12),
    /** How long a token is good, milliseconds. Default 24 hours. One in use is renewed when half of it has passed. */
    lifetimeMs: v.optional(integer(60_000, 30 * 24 * HOUR_MS), 24 * HOUR_MS),
    /** New keys this often, milliseconds. Default null: only on request. */
    rotateEveryMs: v.optional(v.nullable(integer(MIN_ROTATION_MS, 365 * 24 * HOUR_MS)), null),
    /** The cookie tokens travel in; null: none. */
    cookie: v.optional(v.nullable(CookieSchema), {}),
    /** The request and response header tokens travel in, for clients without cookies. Default null: none. */
    header: v.optional(
      v.nullable(
        v.pipe(
          HeaderNameSchema,
          v.check((name) => !TAKEN_HEADER.test(name), TOKEN_HEADER_RANGE),
        ),
      ),
      null,
    ),
  }),
  forward(
    v.check(
      ({ serverIdBytes, nonceBytes }) => serverIdBytes + nonceBytes <= MAX_CID_BYTES,
      `must be at most ${MAX_CID_BYTES} together with serverIdBytes`,
    ),
    ["nonceBytes"],
  ),
  forward(
    v.check(
      ({ generator, serverIdBytes }) => generator !== "regional" || serverIdBytes >= 2,
      "must be at least 2 with generator regional: one for the region",
    ),
    ["serverIdBytes"],
  ),
);
export type Tokens = v.InferOutput<typeof TokensSchema>;

/**
 * What happens to a session whose backend takes it no more. `temporary`: served elsewhere, token kept, back when the
 * backend is. `sticky`: moved for good, with a new token. `refuse`: 503.
 */
export const LostSchema = oneOf(["temporary", "sticky", "refuse"]);
export type LostRule = v.InferOutput<typeof LostSchema>;

/** The sessions of one pool: what ends them, and what becomes of them when their backend is lost. */
export const SessionsSchema = record({
  /** A session older than this is placed anew, milliseconds, so that long ones spread after a scale-up. Default null. */
  maxAgeMs: v.optional(v.nullable(integer(1_000, 30 * 24 * HOUR_MS)), null),
  /** So is one that has sent this many requests with one token to one isolate. Default null. */
  maxRequests: v.optional(v.nullable(integer(1, 1_000_000_000)), null),
  /** By cause: taken out by failures; drained past its deadline, or disabled; removed. */
  lost: v.optional(
    record({
      ejected: v.optional(LostSchema, "temporary"),
      drained: v.optional(LostSchema, "sticky"),
      removed: v.optional(LostSchema, "sticky"),
    }),
    {},
  ),
});
export type Sessions = v.InferOutput<typeof SessionsSchema>;
