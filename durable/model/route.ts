import * as v from "valibot";
import { LabelNameSchema } from "./backend.ts";
import { forward, integer, list, MethodSchema, oneOf, record } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import { type PoolName, PoolNameSchema, RouteIdSchema } from "./names.ts";
import { AffinitySchema, HeaderTimeoutSchema, IdleTimeoutSchema, PolicySchema } from "./pool.ts";
import { RouteRetrySchema } from "./retry.ts";
import { HeaderNameSchema } from "./token.ts";

const HOST_RANGE =
  "must be a lower-case hostname without port, or '*.' and one: api.example.com, *.example.com";
const HOST =
  /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const PATH_RANGE = `must begin with '/', be percent-encoded, hold no '?', '#', '\\', '//' or dot segment, and be at most ${LIMITS.pathLength} characters`;
const HEADER_RANGE = "must be a lower-case header name";
const HEADER_VALUE_RANGE = "must be a string of at most 1024 characters";

/** As a path arrives: percent-encoded where it is not plain ASCII, or a route could never match. */
const AS_SENT = /^\/(?:[\w!$&'()*+,;=:@/~.|^`{}[\]-]|%[0-9a-f]{2})*$/i;

function isPlainPath(path: string): boolean {
  return AS_SENT.test(path) && !/\/\/|\/\.{1,2}(?:\/|$)|%2e/i.test(path);
}

/** A path without its trailing slash, except the root: `/api/` and `/api` are the same prefix. */
const PathSchema = v.pipe(
  v.string(PATH_RANGE),
  v.maxLength(LIMITS.pathLength, PATH_RANGE),
  v.check(isPlainPath, PATH_RANGE),
  v.check(
    (path) => !path.endsWith("/*"),
    "must not end with '/*': a path takes all that is below it already, and '*' would be taken literally",
  ),
  v.transform((path) => (path === "/" ? path : path.replace(/\/$/, ""))),
);

const HeaderMatchSchema = record({
  /** Lower-case. */
  name: v.pipe(v.string(HEADER_RANGE), v.regex(/^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/, HEADER_RANGE)),
  /** The exact value; left out, the header only has to be there. */
  value: v.optional(v.pipe(v.string(HEADER_VALUE_RANGE), v.maxLength(1_024, HEADER_VALUE_RANGE))),
});

const SUBSET_RANGE =
  'must be an object whose by is "header" (with a name), "country" or "colo", with a label and perhaps a fallback';

/** What both kinds of subset say. */
const subsetEntries = {
  /** The label whose value has to be the request's, letters in either case. Required. */
  label: LabelNameSchema,
  /** Where the request says nothing, or nothing that a backend has: `any` backend, the default, or `none`, which is 503. */
  fallback: v.optional(oneOf(["any", "none"]), "any"),
};

/**
 * Restricts requests to backends whose label has the value of a request header, or is the client's country (`DE`) or the
 * data centre it came in by (`FRA`). Sessions that are elsewhere stay there.
 */
const SubsetSchema = v.variant(
  "by",
  [
    record({ by: v.literal("header"), name: HeaderNameSchema, ...subsetEntries }),
    record({ by: v.literal("country"), ...subsetEntries }),
    record({ by: v.literal("colo"), ...subsetEntries }),
  ],
  SUBSET_RANGE,
);
export type Subset = v.InferOutput<typeof SubsetSchema>;

const SplitSchema = v.pipe(
  list(record({ pool: PoolNameSchema, weight: integer(0, LIMITS.maxWeight) }), LIMITS.poolsPerSplit),
  v.minLength(1, "must name at least one pool"),
  v.check(
    (split) => new Set(split.map(({ pool }) => pool)).size === split.length,
    "must name each pool once",
  ),
  v.check((split) => split.some(({ weight }) => weight > 0), "must give at least one pool a weight above 0"),
);

const routeEntries = {
  /** Exact hostname, or `*.` and a parent: `*.example.com` takes every name below it. Default: any host. */
  host: v.optional(v.pipe(v.string(HOST_RANGE), v.maxLength(253, HOST_RANGE), v.regex(HOST, HOST_RANGE))),
  /** Whole path segments: `/api` takes `/api` and `/api/x`, not `/apis`. Default `/`. */
  path: v.optional(PathSchema, "/"),
  /** Default: any method. */
  methods: v.optional(
    v.pipe(
      list(MethodSchema, 16),
      v.minLength(1, "must name at least one method"),
      v.check((methods) => new Set(methods).size === methods.length, "must name each method once"),
    ),
  ),
  /** All of them have to match. Default none. */
  headers: v.optional(
    v.pipe(
      list(HeaderMatchSchema, LIMITS.headerMatchesPerRoute),
      v.check(
        (headers) => new Set(headers.map(({ name }) => name)).size === headers.length,
        "must name each header once",
      ),
    ),
    [],
  ),
  /** The pool that serves what matches. This or `split` is required. */
  pool: v.optional(PoolNameSchema),
  /** Pools that share what matches, by weight; a client stays on its side, and with its token even at weight 0. */
  split: v.optional(SplitSchema),
  /** Instead of the pool's policy. */
  policy: v.optional(PolicySchema),
  /** Instead of the pool's affinity chain; `[]` makes every request free. */
  affinity: v.optional(AffinitySchema),
  /** Only backends of the pool that fit the request. Default: all. */
  subset: v.optional(SubsetSchema),
  /** What the matched prefix becomes on the way to the backend: path `/api`, rewritePath `/v2`: `/api/x` → `/v2/x`. */
  rewritePath: v.optional(PathSchema),
  /** Instead of the pool's header timeout, milliseconds. */
  headerTimeoutMs: v.optional(HeaderTimeoutSchema),
  /** Instead of the pool's, milliseconds. */
  bodyIdleTimeoutMs: v.optional(IdleTimeoutSchema),
  /** Instead of the pool's, milliseconds. */
  webSocketIdleTimeoutMs: v.optional(IdleTimeoutSchema),
  /** Instead of what the pool says of retries; what is left out is the pool's to say. */
  retry: v.optional(RouteRetrySchema),
};

/** Names a pool or a split, and not both. */
function leadsSomewhere({ pool, split }: { readonly pool?: unknown; readonly split?: unknown }): boolean {
  return (pool === undefined) !== (split === undefined);
}

const POOL_RANGE = "is required, or split, and not both";

/** A route as an operator writes it. */
export const RouteInputSchema = v.pipe(
  record(routeEntries),
  forward(
    v.check((route) => leadsSomewhere(route), POOL_RANGE),
    ["pool"],
  ),
);
export type RouteInput = v.InferOutput<typeof RouteInputSchema>;

/** Fields of a route to change; what is left out stays, and null takes a field away. */
export const RoutePatchSchema = record({
  host: v.nullish(routeEntries.host.wrapped),
  path: v.optional(PathSchema),
  methods: v.nullish(routeEntries.methods.wrapped),
  headers: v.optional(routeEntries.headers.wrapped),
  pool: v.nullish(PoolNameSchema),
  split: v.nullish(SplitSchema),
  policy: v.nullish(PolicySchema),
  affinity: v.nullish(AffinitySchema),
  subset: v.nullish(SubsetSchema),
  rewritePath: v.nullish(PathSchema),
  headerTimeoutMs: v.nullish(HeaderTimeoutSchema),
  bodyIdleTimeoutMs: v.nullish(IdleTimeoutSchema),
  webSocketIdleTimeoutMs: v.nullish(IdleTimeoutSchema),
  retry: v.nullish(RouteRetrySchema),
});
export type RoutePatch = v.InferOutput<typeof RoutePatchSchema>;

/** A route with its id. */
export const RouteSchema = v.pipe(
  record({ id: RouteIdSchema, ...routeEntries }),
  forward(
    v.check((route) => leadsSomewhere(route), POOL_RANGE),
    ["pool"],
  ),
);
export type Route = v.InferOutput<typeof RouteSchema>;

/** Every pool that a route can lead to. */
export function poolsOf({ pool, split }: Pick<Route, "pool" | "split">): readonly PoolName[] {
  return pool === undefined ? (split ?? []).map((side) => side.pool) : [pool];
}
