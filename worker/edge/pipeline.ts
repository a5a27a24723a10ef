import type { PoolConfig } from "../../durable/model/pool.ts";
import type { RoutingTable } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Choice, Choosing, Chosen } from "../core/choice.ts";
import { Client } from "../core/client.ts";
import { hasLooped, requestHeaders, tellInheritance } from "../core/headers.ts";
import type { PoolView } from "../core/pool-view.ts";
import {
  FULL,
  LOOP,
  NO_BACKEND,
  NO_ROUTE,
  NO_SNAPSHOT,
  type Problem,
  SESSION_LOST,
  SHED,
} from "../core/problem.ts";
import { type Destination, matchRoute, rewritePath } from "../core/route.ts";
import { TOKEN_RANDOM_BYTES } from "../core/sessions.ts";
import { Split } from "../core/split.ts";
import { wantedSubset } from "../core/subset.ts";
import { answerProblem } from "./answer-problem.ts";
import type { EdgePool } from "./edge-pool.ts";
import { type AddedHeaders, forward } from "./forward.ts";
import { clock, type Obtained } from "./leased.ts";
import type { Passage } from "./passage.ts";

/** Where it goes, and for whom. */
interface Way {
  readonly destination: Destination;
  readonly deployment: string;
  readonly client: Client;
  /** The routing table is past its lease. */
  readonly isDegraded: boolean;
  /** In a fallback pool: why the pool that the route leads to has passed it on. Null in that pool itself. */
  readonly passedOn: Problem | null;
}

type Answer = Response | Promise<Response>;

/**
 * Serves one request of the data plane: find the pool, hold its snapshot, know the client, choose a backend, make the
 * attempt, answer. With leased snapshots in memory it makes no call but the one to the backend, and waits for nothing
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
  const { request, headers, target, isolate } = passage;
  const destination = matchRoute(isolate.directory.index, passage);
  if (destination === null) return answerProblem(NO_ROUTE, request);
  const { to } = destination;
  const { deployment } = table.document;
  if (hasLooped(headers, deployment)) {
    const pool = to instanceof Split ? to.sides[0]?.pool : to;
    if (pool !== undefined) isolate.pool(pool).tally.countIncident("loop");
    return answerProblem(LOOP, request);
  }
  const client = new Client(headers, request.cf, target.query, isolate.settings.front);
  const way: Way = { destination, deployment, client, isDegraded: table.isDegraded, passedOn: null };
  return to instanceof Split
    ? chooseSide(passage, way, to, nowMs)
    : holdSnapshot(passage, way, isolate.pool(to), nowMs);
}

/** Finds the pool of a split that a client belongs to: the one it holds a token of, else where its identity falls. */
function chooseSide(passage: Passage, way: Way, split: Split, nowMs: EpochMs): Answer {
  const { request, env, isolate } = passage;
  const { client, destination } = way;
  const pools = split.sides.map((side) => isolate.pool(side.pool));
  const unready = pools.filter((pool) => pool.leased.fresh(nowMs) === null);
  const proceed = (): Answer => {
    const holds = (pool: EdgePool): "opened" | "unknown" | null =>
      pool.view?.tokenOf(client.headers, destination.affinity, clock()) ?? null;
    const held =
      pools.find((pool) => holds(pool) === "opened") ?? pools.find((pool) => holds(pool) === "unknown");
    if (held !== undefined) return holdSnapshot(passage, way, held, clock());
    const side = split.choose(client.connection?.identity ?? null, Math.random());
    return side === null
      ? answerProblem(NO_BACKEND, request)
      : holdSnapshot(passage, way, isolate.pool(side), clock());
  };
  if (unready.length === 0) return proceed();
  return Promise.all(unready.map((pool) => pool.leased.obtain(env, passage, nowMs))).then(proceed);
}

function holdSnapshot(passage: Passage, way: Way, pool: EdgePool, nowMs: EpochMs): Answer {
  if (way.isDegraded) pool.tally.countIncident("degraded");
  if (pool.leased.fresh(nowMs) !== null) return attempt(passage, way, pool, nowMs);
  return pool.leased.obtain(passage.env, passage, nowMs).then((obtained) => {
    // A fallback pool that is not there is as good as none.
    if (obtained === null) return answerProblem(way.passedOn ?? NO_SNAPSHOT, passage.request);
    if (obtained.isDegraded && !way.isDegraded) pool.tally.countIncident("degraded");
    return attempt(passage, way, pool, clock());
  });
}

function attempt(passage: Passage, way: Way, pool: EdgePool, nowMs: EpochMs): Answer {
  const { destination } = way;
  const { view, tally } = pool;
  if (view === null) return answerProblem(NO_SNAPSHOT, passage.request);
  tally.countProtocol(way.client.protocol);
  const choice = view.choose(choosing(way, view.snapshot.config, nowMs));
  if (choice.kind !== "backend") return doWithout(passage, way, pool, choice.kind);
  const { channel, fate, grant } = choice;
  if (fate !== null) tally.countSession(fate);
  if (choice.hasMigrated) tally.countIncident("migration");
  if (choice.isDesperate || view.isPanicking(channel.backend)) tally.countIncident("panic");
  return forward(passage, {
    pool,
    channel,
    path: rewritePath(destination, passage.target.path) + passage.target.query,
    headers: backendHeaders(passage, way, choice),
    headerTimeoutMs: destination.headerTimeoutMs ?? view.snapshot.config.headerTimeoutMs,
    nowMs,
    addedHeaders: grant === null ? null : () => tokenHeaders(view, choice),
  });
}

/** What the choice of a backend depends on: the route's word, else the pool's; in a fallback pool its own alone. */
function choosing({ destination, client, passedOn }: Way, config: PoolConfig, nowMs: EpochMs): Choosing {
  const { policy, affinity, subset } = passedOn === null ? destination : NO_WISHES;
  return {
    policy: policy ?? config.policy,
    affinity: affinity ?? config.affinity,
    subset: subset === undefined ? null : wantedSubset(subset, client),
    credentials: client,
    nowMs,
    chance: Math.random(),
  };
}

const NO_WISHES = { policy: undefined, affinity: undefined, subset: undefined };

/** Answers for a pool that has no backend for a request: with its fallback pool's, if it has one. */
function doWithout(passage: Passage, way: Way, pool: EdgePool, why: Unserved): Answer {
  const { fallback, tally } = pool;
  const problem = UNSERVED[why];
  if (fallback !== null && way.passedOn === null && why !== "session_refused") {
    tally.countIncident("fallback");
    return holdSnapshot(passage, { ...way, passedOn: problem }, passage.isolate.pool(fallback), clock());
  }
  tally.countIncident(why);
  return answerProblem(problem, passage.request);
}

type Unserved = Exclude<Choice["kind"], "backend">;

const UNSERVED: Readonly<Record<Unserved, Problem>> = {
  no_backend: NO_BACKEND,
  session_refused: SESSION_LOST,
  full: FULL,
  shed: SHED,
};

/** The headers a backend gets: hygiene first, then what tokens change. */
function backendHeaders(passage: Passage, way: Way, choice: Chosen): Headers {
  const { target, isolate } = passage;
  const { client, deployment } = way;
  const { isForwardedTrusted, isLocal, front } = isolate.settings;
  const { clientAddress, protocol } = client;
  const facts = { clientAddress, target, protocol, deployment, isForwardedTrusted, isLocal };
  const headers = requestHeaders(passage.headers, facts);
  if (front !== null) headers.delete(front.header);
  isolate.curtain.draw(headers);
  tellInheritance(headers, choice.inheritance);
  return headers;
}

function tokenHeaders(view: PoolView, { grant }: Chosen): AddedHeaders {
  if (grant === null) return [];
  const random = crypto.getRandomValues(new Uint8Array(TOKEN_RANDOM_BYTES));
  return view.sessions.write(grant, clock(), random);
}
