import type { RoutingTable } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Chosen } from "../core/choice.ts";
import { Client } from "../core/client.ts";
import { hasLooped, requestHeaders, tellInheritance } from "../core/headers.ts";
import type { PoolView } from "../core/pool-view.ts";
import { LOOP, NO_BACKEND, NO_ROUTE, NO_SNAPSHOT, SESSION_LOST } from "../core/problem.ts";
import { type Destination, matchRoute, rewritePath } from "../core/route.ts";
import { TOKEN_RANDOM_BYTES } from "../core/sessions.ts";
import { Split } from "../core/split.ts";
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
  const { request, target, isolate } = passage;
  const destination = matchRoute(isolate.directory.index, passage);
  if (destination === null) return answerProblem(NO_ROUTE, request);
  const { to } = destination;
  const { deployment } = table.document;
  if (hasLooped(request.headers, deployment)) {
    const pool = to instanceof Split ? to.sides[0]?.pool : to;
    if (pool !== undefined) isolate.pool(pool).tally.countIncident("loop");
    return answerProblem(LOOP, request);
  }
  const client = new Client(request.headers, request.cf, target.query, isolate.settings.front);
  const way: Way = { destination, deployment, client, isDegraded: table.isDegraded };
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
    if (obtained === null) return answerProblem(NO_SNAPSHOT, passage.request);
    if (obtained.isDegraded && !way.isDegraded) pool.tally.countIncident("degraded");
    return attempt(passage, way, pool, clock());
  });
}

function attempt(passage: Passage, way: Way, pool: EdgePool, nowMs: EpochMs): Answer {
  const { request } = passage;
  const { client, destination } = way;
  const { view, tally } = pool;
  if (view === null) return answerProblem(NO_SNAPSHOT, request);
  const { config } = view.snapshot;
  tally.countProtocol(client.protocol);
  const policy = destination.policy ?? config.policy;
  const affinity = destination.affinity ?? config.affinity;
  const choice = view.choose({ policy, affinity, credentials: client, nowMs, chance: Math.random() });
  if (choice.kind !== "backend") {
    tally.countIncident(choice.kind);
    return answerProblem(choice.kind === "no_backend" ? NO_BACKEND : SESSION_LOST, request);
  }
  if (choice.fate !== null) tally.countSession(choice.fate);
  if (choice.hasMigrated) tally.countIncident("migration");
  return forward(passage, {
    channel: choice.channel,
    path: rewritePath(destination, passage.target.path) + passage.target.query,
    headers: backendHeaders(passage, way, choice),
    headerTimeoutMs: destination.headerTimeoutMs ?? config.headerTimeoutMs,
    nowMs,
    addedHeaders: choice.grant === null ? null : () => tokenHeaders(view, choice),
  });
}

/** The headers a backend gets: hygiene first, then what tokens change. */
function backendHeaders(passage: Passage, way: Way, choice: Chosen): Headers {
  const { request, target, isolate } = passage;
  const { client, deployment } = way;
  const { isForwardedTrusted, isLocal, front } = isolate.settings;
  const { clientAddress, protocol } = client;
  const facts = { clientAddress, target, protocol, deployment, isForwardedTrusted, isLocal };
  const headers = requestHeaders(request.headers, facts);
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
