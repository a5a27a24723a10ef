import { DEFAULT_POOL, type PoolName, type RouteId } from "../../durable/model/names.ts";
import type { Affinity, PolicyName } from "../../durable/model/pool.ts";
import type { RouteRetry } from "../../durable/model/retry.ts";
import { poolsOf, type Route, type Subset } from "../../durable/model/route.ts";
import { usesTokens } from "./affinity.ts";
import type { KeyedHash } from "./keyed-hash.ts";
import { Split } from "./split.ts";
import type { Target } from "./target.ts";

/** Where a request goes, and what the route says about it; what is undefined is the pool's to say. */
export interface Destination {
  /** Null: there are no routes. */
  readonly route: RouteId | null;
  /** The pool, or the split that chooses between several. */
  readonly to: PoolName | Split;
  readonly policy: PolicyName | undefined;
  readonly affinity: Affinity | undefined;
  /** Undefined: every backend of the pool may serve. */
  readonly subset: Subset | undefined;
  readonly headerTimeoutMs: number | undefined;
  readonly bodyIdleTimeoutMs: number | undefined;
  readonly webSocketIdleTimeoutMs: number | undefined;
  readonly retry: RouteRetry | undefined;
  /** The matched prefix and what it becomes; null: the path stays. */
  readonly rewrite: { readonly from: string; readonly to: string } | null;
}

/** What of a request routes look at. */
export interface Asked {
  readonly target: Target;
  /** Its method and headers are only read when a route asks for them: each reading costs. */
  readonly request: { readonly method: string; readonly headers: { get(name: string): string | null } };
}

interface Candidate {
  readonly route: Route;
  readonly destination: Destination;
}

/** The routing table, made ready to search. */
export interface RouteIndex {
  /** Pools that some route binds by tokens, whatever the pools themselves say. */
  readonly tokenPools: ReadonlySet<PoolName>;
  /** Most specific first, as in the two maps. */
  readonly anyHost: readonly Candidate[];
  readonly byHost: ReadonlyMap<string, readonly Candidate[]>;
  /** By the parent with its leading dot: `.example.com`. */
  readonly byParent: ReadonlyMap<string, readonly Candidate[]>;
}

const TO_DEFAULT_POOL: Destination = {
  route: null,
  to: DEFAULT_POOL,
  policy: undefined,
  affinity: undefined,
  subset: undefined,
  headerTimeoutMs: undefined,
  bodyIdleTimeoutMs: undefined,
  webSocketIdleTimeoutMs: undefined,
  retry: undefined,
  rewrite: null,
};

/**
 * Makes a table ready to search. Runs once per version of it.
 *
 * @param hash keyed with the directory's secret.
 */
export function prepareRoutes(routes: readonly Route[], hash: KeyedHash): RouteIndex | null {
  if (routes.length === 0) return null;
  const sorted = routes
    .toSorted(bySpecificity)
    .map((route) => ({ route, destination: toDestination(route, hash) }));
  const bindingByTokens = routes.filter(({ affinity }) => affinity !== undefined && usesTokens(affinity));
  return {
    tokenPools: new Set(bindingByTokens.flatMap(poolsOf)),
    anyHost: sorted.filter(({ route }) => route.host === undefined),
    byHost: Map.groupBy(
      sorted.filter(({ route }) => route.host !== undefined && !route.host.startsWith("*.")),
      ({ route }) => route.host ?? "",
    ),
    byParent: Map.groupBy(
      sorted.filter(({ route }) => route.host?.startsWith("*.")),
      ({ route }) => route.host?.slice(1) ?? "",
    ),
  };
}

/**
 * The destination of the most specific route that matches: exact host before wildcard before any, then the longer path,
 * then one that names methods, then the one with more header matches. Null when routes exist and none matches; without
 * any route everything goes to the pool `default`.
 */
export function matchRoute(index: RouteIndex | null, asked: Asked): Destination | null {
  if (index === null) return TO_DEFAULT_POOL;
  const { hostname } = asked.target;
  return (
    firstMatch(index.byHost.get(hostname), asked) ??
    (index.byParent.size === 0 ? null : matchParents(index, hostname, asked)) ??
    firstMatch(index.anyHost, asked)
  );
}

/** The path as the backend gets it. */
export function rewritePath(destination: Destination, path: string): string {
  const { rewrite } = destination;
  if (rewrite === null) return path;
  const rest = rewrite.from === "/" ? path : path.slice(rewrite.from.length);
  const to = rewrite.to === "/" ? "" : rewrite.to;
  return `${to}${rest}` || "/";
}

function matchParents(index: RouteIndex, hostname: string, asked: Asked): Destination | null {
  for (let dotAt = hostname.indexOf("."); dotAt !== -1; dotAt = hostname.indexOf(".", dotAt + 1)) {
    const found = firstMatch(index.byParent.get(hostname.slice(dotAt)), asked);
    if (found !== null) return found;
  }
  return null;
}

function firstMatch(candidates: readonly Candidate[] | undefined, asked: Asked): Destination | null {
  return candidates?.find(({ route }) => matches(route, asked))?.destination ?? null;
}

function matches(route: Route, asked: Asked): boolean {
  return (
    isUnder(asked.target.path, route.path) &&
    (route.methods === undefined || route.methods.includes(asked.request.method)) &&
    route.headers.every(({ name, value }) => {
      const sent = asked.request.headers.get(name);
      return value === undefined ? sent !== null : sent === value;
    })
  );
}

function isUnder(path: string, prefix: string): boolean {
  if (prefix === "/") return true;
  return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === "/");
}

function bySpecificity(a: Route, b: Route): number {
  return (
    b.path.length - a.path.length ||
    Number(b.methods !== undefined) - Number(a.methods !== undefined) ||
    b.headers.length - a.headers.length
  );
}

function toDestination(route: Route, hash: KeyedHash): Destination {
  const { id, pool, split, policy, affinity, subset, retry, rewritePath: to } = route;
  return {
    route: id,
    to: pool ?? new Split(id, split ?? [], hash),
    policy,
    affinity,
    subset,
    headerTimeoutMs: route.headerTimeoutMs,
    bodyIdleTimeoutMs: route.bodyIdleTimeoutMs,
    webSocketIdleTimeoutMs: route.webSocketIdleTimeoutMs,
    retry,
    rewrite: to === undefined ? null : { from: route.path, to },
  };
}
