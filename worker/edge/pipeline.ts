import type { RoutingTable } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { hasLooped, requestHeaders } from "../core/headers.ts";
import { connectionIdentity, protocolOf, readCf } from "../core/identify.ts";
import { LOOP, NO_BACKEND, NO_ROUTE, NO_SNAPSHOT, type Problem, renderProblem } from "../core/problem.ts";
import { type Destination, matchRoute, rewritePath } from "../core/route.ts";
import { parseTarget, type Target } from "../core/target.ts";
import type { EdgePool } from "./edge-pool.ts";
import { forward } from "./forward.ts";
import { clock } from "./leased.ts";
import type { Passage } from "./passage.ts";

/** Where it goes. */
interface Way {
  readonly target: Target;
  readonly destination: Destination;
  readonly pool: EdgePool;
  readonly deployment: string;
}

type Answer = Response | Problem;

/**
 * Serves one request of the data plane: find the pool, hold its snapshot, know the connection, choose a backend, make the
 * attempt, answer. With a leased snapshot in memory it makes no call but the one to the backend, and waits for nothing
 * else; nothing here is `async`, because a suspended frame keeps alive what the garbage collector could have.
 */
export function serve(passage: Passage): Promise<Response> | Response {
  const answer = findTable(passage);
  const { request } = passage;
  return answer instanceof Promise
    ? answer.then((settled) => (settled instanceof Response ? settled : render(settled, request)))
    : render(answer, request);
}

function findTable(passage: Passage): Promise<Answer> | Problem {
  const { leased } = passage.isolate.directory;
  const nowMs = clock();
  const table = leased.fresh(nowMs);
  if (table !== null) return findPool(passage, table, nowMs);
  return leased
    .obtain(passage.env, passage.context, nowMs)
    .then((obtained) => (obtained === null ? NO_SNAPSHOT : findPool(passage, obtained.document, clock())));
}

function findPool(passage: Passage, table: RoutingTable, nowMs: EpochMs): Promise<Answer> | Problem {
  const { request, isolate } = passage;
  const target = parseTarget(passage.url);
  const destination = matchRoute(isolate.directory.index, {
    target,
    method: request.method,
    headers: request.headers,
  });
  if (destination === null) return NO_ROUTE;
  const pool = isolate.pool(destination.pool);
  const { deployment } = table;
  if (hasLooped(request.headers, deployment)) {
    pool.tally.countIncident("loop");
    return LOOP;
  }
  const way: Way = { target, destination, pool, deployment };
  if (pool.leased.fresh(nowMs) !== null) return attempt(passage, way, nowMs);
  return pool.leased.obtain(passage.env, passage.context, nowMs).then((obtained) => {
    if (obtained === null) return NO_SNAPSHOT;
    if (obtained.isDegraded) pool.tally.countIncident("degraded");
    return attempt(passage, way, clock());
  });
}

function attempt(passage: Passage, way: Way, nowMs: EpochMs): Promise<Answer> | Problem {
  const { request, isolate } = passage;
  const { target, destination, pool, deployment } = way;
  const { config } = pool.view.snapshot;
  const cf = readCf(request.cf);
  const protocol = protocolOf(cf);
  pool.tally.countProtocol(protocol);
  const clientAddress = request.headers.get("cf-connecting-ip");
  const affinity = destination.affinity ?? config.affinity;
  const policy = destination.policy ?? config.policy;
  const needsConnection = affinity.length > 0 || policy === "rendezvous";
  const connection = needsConnection ? connectionIdentity(cf, clientAddress) : null;
  const channel = pool.view.choose({ policy, affinity, connection, nowMs, chance: Math.random() });
  if (channel === null) {
    pool.tally.countIncident("no_backend");
    return NO_BACKEND;
  }
  const { isForwardedTrusted } = isolate.settings;
  return forward(passage, {
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
    nowMs,
  });
}

function render(problem: Problem, request: Request): Response {
  const requestId = request.headers.get("cf-ray") ?? crypto.randomUUID();
  return renderProblem(problem, request.headers.get("accept"), requestId);
}
