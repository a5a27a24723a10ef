import type { RoutingTable } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { hasLooped, requestHeaders } from "../core/headers.ts";
import { connectionIdentity, protocolOf, readCf } from "../core/identify.ts";
import { LOOP, NO_BACKEND, NO_ROUTE, NO_SNAPSHOT, type Problem, renderProblem } from "../core/problem.ts";
import { type Destination, matchRoute, rewritePath } from "../core/route.ts";
import { parseTarget, type Target } from "../core/target.ts";
import type { Env } from "../env.ts";
import type { EdgePool } from "./edge-pool.ts";
import { forward } from "./forward.ts";
import type { Isolate } from "./isolate.ts";
import { clock } from "./leased.ts";

/** One request on its way through. */
interface Passage {
  readonly request: Request;
  readonly env: Env;
  readonly context: ExecutionContext;
  readonly isolate: Isolate;
  readonly nowMs: EpochMs;
}

/**
 * Serves one request of the data plane: find the pool, hold its snapshot, know the connection, choose a backend, make the
 * attempt, answer. With a leased snapshot in memory it makes no call but the one to the backend, and waits for nothing
 * else.
 */
export async function serve(
  request: Request,
  env: Env,
  context: ExecutionContext,
  isolate: Isolate,
): Promise<Response> {
  const answer = await pass({ request, env, context, isolate, nowMs: clock() });
  return answer instanceof Response ? answer : render(answer, request);
}

function pass(passage: Passage): Promise<Response | Problem> | Problem {
  const { isolate, nowMs, env, context } = passage;
  const { leased } = isolate.directory;
  const table = leased.fresh(nowMs);
  if (table !== null) return passTable(passage, table);
  return leased
    .obtain(env, context, nowMs)
    .then((obtained) =>
      obtained === null ? NO_SNAPSHOT : passTable({ ...passage, nowMs: clock() }, obtained.document),
    );
}

function passTable(passage: Passage, table: RoutingTable): Promise<Response | Problem> | Problem {
  const { request, isolate, nowMs, env, context } = passage;
  const target = parseTarget(request.url);
  const destination = matchRoute(isolate.directory.index, {
    target,
    method: request.method,
    headers: request.headers,
  });
  if (destination === null) return NO_ROUTE;
  const pool = isolate.pool(destination.pool);
  if (hasLooped(request.headers, table.deployment)) {
    pool.tally.countIncident("loop");
    return LOOP;
  }
  if (pool.leased.fresh(nowMs) !== null)
    return passPool(passage, target, destination, pool, table.deployment);
  return pool.leased.obtain(env, context, nowMs).then((obtained) => {
    if (obtained === null) return NO_SNAPSHOT;
    if (obtained.isDegraded) pool.tally.countIncident("degraded");
    return passPool({ ...passage, nowMs: clock() }, target, destination, pool, table.deployment);
  });
}

function passPool(
  { request, env, context, isolate, nowMs }: Passage,
  target: Target,
  destination: Destination,
  pool: EdgePool,
  deployment: string,
): Promise<Response | Problem> | Problem {
  const { config } = pool.view.snapshot;
  const cf = readCf(request.cf);
  const protocol = protocolOf(cf);
  pool.tally.countProtocol(protocol);
  const clientAddress = request.headers.get("cf-connecting-ip");
  const affinity = destination.affinity ?? config.affinity;
  const policy = destination.policy ?? config.policy;
  const needsConnection = affinity.length > 0 || policy === "rendezvous";
  const channel = pool.view.choose({
    policy,
    affinity,
    connection: needsConnection ? connectionIdentity(cf, clientAddress) : null,
    nowMs,
    chance: Math.random(),
  });
  if (channel === null) {
    pool.tally.countIncident("no_backend");
    return NO_BACKEND;
  }
  const { isForwardedTrusted } = isolate.settings;
  const attempt = {
    channel,
    path: rewritePath(destination, target.path) + target.query,
    headers: requestHeaders(request.headers, {
      clientAddress,
      target,
      protocol,
      deployment,
      isForwardedTrusted,
    }),
    headerTimeoutMs: destination.headerTimeoutMs ?? config.headerTimeoutMs,
  };
  return forward(attempt, request, env, context);
}

function render(problem: Problem, request: Request): Response {
  const requestId = request.headers.get("cf-ray") ?? crypto.randomUUID();
  return renderProblem(problem, request.headers.get("accept"), requestId);
}
