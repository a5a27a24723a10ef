import type { RoutingTable } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { hasLooped, requestHeaders } from "../core/headers.ts";
import { connectionIdentity, protocolOf, readCf } from "../core/identify.ts";
import { LOOP, NO_BACKEND, NO_ROUTE, NO_SNAPSHOT } from "../core/problem.ts";
import { type Destination, matchRoute, rewritePath } from "../core/route.ts";
import { answerProblem } from "./answer-problem.ts";
import type { EdgePool } from "./edge-pool.ts";
import { forward } from "./forward.ts";
import { clock, type Obtained } from "./leased.ts";
import type { Passage } from "./passage.ts";

/** Where it goes. */
interface Way {
  readonly destination: Destination;
  readonly pool: EdgePool;
  readonly deployment: string;
}

type Answer = Response | Promise<Response>;

/**
 * Serves one request of the data plane: find the pool, hold its snapshot, know the connection, choose a backend, make the
 * attempt, answer. With a leased snapshot in memory it makes no call but the one to the backend, and waits for nothing
 * else; nothing here is `async`, because a suspended frame keeps alive what the garbage collector could have.
 */
export function serve(passage: Passage): Answer {
  const { request, env, isolate } = passage;
  const { leased } = isolate.directory;
  const nowMs = clock();
  const table = leased.fresh(nowMs);
  if (table !== null) return findPool(passage, { document: table, isDegraded: false }, nowMs);
  return leased
    .obtain(env, passage, nowMs)
    .then((obtained) =>
      obtained === null ? answerProblem(NO_SNAPSHOT, request) : findPool(passage, obtained, clock()),
    );
}

function findPool(passage: Passage, table: Obtained<RoutingTable>, nowMs: EpochMs): Answer {
  const { request, env, isolate } = passage;
  const destination = matchRoute(isolate.directory.index, passage);
  if (destination === null) return answerProblem(NO_ROUTE, request);
  const pool = isolate.pool(destination.pool);
  const { deployment } = table.document;
  if (hasLooped(request.headers, deployment)) {
    pool.tally.countIncident("loop");
    return answerProblem(LOOP, request);
  }
  const way: Way = { destination, pool, deployment };
  if (table.isDegraded) pool.tally.countIncident("degraded");
  if (pool.leased.fresh(nowMs) !== null) return attempt(passage, way, nowMs);
  return pool.leased.obtain(env, passage, nowMs).then((obtained) => {
    if (obtained === null) return answerProblem(NO_SNAPSHOT, request);
    if (obtained.isDegraded && !table.isDegraded) pool.tally.countIncident("degraded");
    return attempt(passage, way, clock());
  });
}

function attempt(passage: Passage, way: Way, nowMs: EpochMs): Answer {
  const { request, target, isolate } = passage;
  const { destination, pool, deployment } = way;
  const { view } = pool;
  if (view === null) return answerProblem(NO_SNAPSHOT, request);
  const { config } = view.snapshot;
  const cf = readCf(request.cf);
  const protocol = protocolOf(cf);
  pool.tally.countProtocol(protocol);
  const clientAddress = request.headers.get("cf-connecting-ip");
  const affinity = destination.affinity ?? config.affinity;
  const policy = destination.policy ?? config.policy;
  const needsConnection = affinity.length > 0 || policy === "rendezvous";
  const connection = needsConnection ? connectionIdentity(cf, clientAddress) : null;
  const channel = view.choose({ policy, affinity, connection, nowMs, chance: Math.random() });
  if (channel === null) {
    pool.tally.countIncident("no_backend");
    return answerProblem(NO_BACKEND, request);
  }
  const { isForwardedTrusted, isLocal } = isolate.settings;
  const facts = { clientAddress, target, protocol, deployment, isForwardedTrusted, isLocal };
  return forward(passage, {
    channel,
    path: rewritePath(destination, target.path) + target.query,
    headers: requestHeaders(request.headers, facts),
    headerTimeoutMs: destination.headerTimeoutMs ?? config.headerTimeoutMs,
    nowMs,
  });
}
