import type { PoolName } from "../../durable/model/names.ts";
import type { PoolConfig } from "../../durable/model/pool.ts";
import type { RoutingTable } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Choice, Choosing, Chosen } from "../core/choice.ts";
import { Client } from "../core/client.ts";
import { hasLooped, requestHeaders, tellInheritance } from "../core/headers.ts";
import type { Notes } from "../core/notes.ts";
import { type Patience, patienceFor } from "../core/patience.ts";
import type { PoolView } from "../core/pool-view.ts";
import {
  FULL,
  LOOP,
  NO_BACKEND,
  NO_POOL,
  NO_ROUTE,
  NO_SNAPSHOT,
  type Problem,
  SESSION_LOST,
  SHED,
  TIMED_OUT,
  UNREACHABLE,
} from "../core/problem.ts";
import { decideRetry, type Failure, mayHedge, type RetryRules } from "../core/retry.ts";
import { type Destination, matchRoute, rewritePath } from "../core/route.ts";
import { TOKEN_RANDOM_BYTES } from "../core/sessions.ts";
import { Split } from "../core/split.ts";
import { chooseSide } from "../core/split-side.ts";
import type { Cause } from "../core/trace.ts";
import { wishesFor } from "../core/wishes.ts";
import { answerProblem } from "./answer-problem.ts";
import type { EdgePool } from "./edge-pool.ts";
import { stay } from "./elapse.ts";
import { type AddedHeaders, forward } from "./forward.ts";
import { isHedged, type Send, type Sending, sendHedged } from "./hedge.ts";
import { clock, type Obtained } from "./leased.ts";
import type { Passage } from "./passage.ts";
import { serveTraced } from "./serve-traced.ts";
import { TRACE_HEADER } from "./trace-signature.ts";
import { Tries } from "./tries.ts";
import { type Turn, traceAttempt } from "./turn.ts";
import { waitForRoom } from "./wait-for-room.ts";

/** Where it goes, and for whom. */
interface Way {
  readonly destination: Destination;
  readonly deployment: string;
  readonly client: Client;
  readonly tries: Tries;
  /** The routing table is past its lease. */
  readonly isDegraded: boolean;
  /** In a fallback pool: who has passed it on. Null in the pool that the route leads to. */
  readonly passedOn: PassedOn | null;
}

/** A pool that had no backend for a request, and why. */
interface PassedOn {
  readonly pool: EdgePool;
  readonly why: Reason;
}

type Answer = Response | Promise<Response>;

/**
 * Serves one request of the data plane: find the pool, hold its snapshot, know the client, choose a backend, make the
 * attempt, answer. With leased snapshots in memory it makes no call but the one to the backend, and waits for nothing
 * else; nothing here is `async`, because a suspended frame keeps alive what the garbage collector could have.
 */
export function serve(passage: Passage): Answer {
  return passage.traceHeader === null ? holdTable(passage) : serveTraced(passage, holdTable);
}

function holdTable(passage: Passage): Answer {
  const { request, env, isolate } = passage;
  const { leased } = isolate.directory;
  const nowMs = clock();
  const table = leased.fresh(nowMs);
  if (table !== null) return findPool(passage, { document: table, isDegraded: false }, nowMs, nowMs);
  return leased
    .obtain(env, passage, nowMs)
    .then((obtained) =>
      obtained === null ? answerProblem(NO_SNAPSHOT, request) : findPool(passage, obtained, nowMs, clock()),
    );
}

function findPool(passage: Passage, table: Obtained<RoutingTable>, beganMs: EpochMs, nowMs: EpochMs): Answer {
  const { request, headers, target, isolate } = passage;
  const destination = matchRoute(isolate.directory.index, passage);
  if (destination === null) {
    passage.tracer?.refused("NR", table.document, isolate.directory.leased.freshness(nowMs), null);
    return answerProblem(NO_ROUTE, request);
  }
  const { to } = destination;
  const { deployment } = table.document;
  if (hasLooped(headers, deployment)) {
    const pool = to instanceof Split ? to.sides[0]?.pool : to;
    if (pool !== undefined) isolate.pool(pool).tally.countIncident("loop");
    passage.tracer?.refused("LP", table.document, isolate.directory.leased.freshness(nowMs), destination);
    return answerProblem(LOOP, request);
  }
  const client = new Client(headers, request.cf, target.query, isolate.settings.front);
  passage.tracer?.routed(table.document, isolate.directory.leased.freshness(nowMs), destination, client);
  const tries = new Tries(passage, beganMs);
  const way: Way = { destination, deployment, client, tries, isDegraded: table.isDegraded, passedOn: null };
  return to instanceof Split
    ? findSide(passage, way, to, nowMs)
    : holdSnapshot(passage, way, isolate.pool(to), nowMs);
}

/** Finds the pool of a split that a client belongs to. */
function findSide(passage: Passage, way: Way, split: Split, nowMs: EpochMs): Answer {
  const { request, env, isolate } = passage;
  const { client, destination } = way;
  const pools = split.sides.map((side) => isolate.pool(side.pool));
  const unready = pools.filter((pool) => pool.leased.fresh(nowMs) === null);
  const proceed = (): Answer => {
    const moment = { nowMs: clock(), chance: Math.random() };
    const viewOf = (pool: PoolName): PoolView | null => isolate.pool(pool).view;
    const side = chooseSide(split, { client, affinity: destination.affinity, viewOf, ...moment });
    passage.tracer?.chosenSide(
      moment.nowMs,
      moment.chance,
      side,
      pools.flatMap(({ view }) => view ?? []),
    );
    return side === null
      ? answerProblem(NO_BACKEND, request)
      : holdSnapshot(passage, way, isolate.pool(side), clock());
  };
  if (unready.length === 0) return proceed();
  return Promise.all(unready.map((pool) => pool.leased.obtain(env, passage, nowMs))).then(proceed);
}

function holdSnapshot(passage: Passage, way: Way, pool: EdgePool, nowMs: EpochMs): Answer {
  const { isFirst } = way.tries;
  if (way.isDegraded && isFirst) pool.tally.countIncident("degraded");
  if (pool.leased.fresh(nowMs) !== null) return attempt(passage, way, pool, nowMs);
  return pool.leased.obtain(passage.env, passage, nowMs).then((obtained) => {
    if (obtained === null) return doWithoutSnapshot(passage, way.passedOn, pool);
    if (obtained.isDegraded && !way.isDegraded && isFirst) pool.tally.countIncident("degraded");
    return attempt(passage, way, pool, clock());
  });
}

/** A fallback pool that is not there is as good as none. */
function doWithoutSnapshot(passage: Passage, passedOn: PassedOn | null, { leased }: EdgePool): Answer {
  if (passedOn !== null) return refuse(passage, passedOn.pool, passedOn.why);
  return answerProblem(leased.isAbsent ? NO_POOL : NO_SNAPSHOT, passage.request);
}

function attempt(passage: Passage, way: Way, pool: EdgePool, nowMs: EpochMs): Answer {
  const { destination, tries } = way;
  const { view, tally } = pool;
  if (view === null) return answerProblem(NO_SNAPSHOT, passage.request);
  const { config } = view.snapshot;
  // What it waited for was a snapshot, or its turn to be tried again.
  if (tries.elapsedMs(nowMs) >= view.retryFor(destination).totalTimeoutMs)
    return answerProblem(tries.isFirst ? NO_SNAPSHOT : TIMED_OUT, passage.request);
  if (tries.backends.size === 0) {
    way.passedOn?.pool.tally.countIncident("fallback");
    tally.countProtocol(way.client.protocol);
    pool.retryBudget.deposit(nowMs);
  }
  const tracer = traceAttempt(passage, pool, causeOf(way), nowMs);
  const asked = choosing(way, config, nowMs, tracer?.notes);
  const isLast = tries.backends.size > 0 && !view.admitsBeside(tries.backends);
  const choice = isLast ? view.chooseLast(asked) : view.choose(asked);
  tracer?.chose(choice, view);
  const turn = { pool, view, asked, tracer };
  return choice.kind === "full" ? awaitRoom(passage, way, turn) : carryOut(passage, way, turn, choice, nowMs);
}

/** Waits for a place where somebody might get one; the fallback pool comes after that. */
function awaitRoom(passage: Passage, way: Way, turn: Turn): Answer {
  const { destination, tries } = way;
  const { pool, view, asked } = turn;
  const { config } = view.snapshot;
  const { nowMs, tried } = asked;
  const leftMs = view.retryFor(destination).totalTimeoutMs - tries.elapsedMs(nowMs);
  const timeoutMs = Math.min(config.waiting.timeoutMs, leftMs);
  const tracer = traceAttempt(passage, pool, "WR", nowMs);
  const waiting = { ...asked, notes: tracer?.notes };
  const found =
    tried.size > 0 && !view.admitsBeside(tried)
      ? null
      : waitForRoom(
          passage,
          pool.room(passage.env, passage),
          waiting,
          { ...config.waiting, timeoutMs },
          nowMs,
        );
  if (found === null) return doWithout(passage, way, pool, "full");
  pool.tally.countIncident("waited");
  return found.then((choice) => {
    if (passage.isAbandoned) return answerProblem(FULL, passage.request);
    tracer?.chose(choice, view);
    return carryOut(passage, way, { ...turn, tracer }, choice, clock());
  });
}

/** Sends a request where the choice has led it. */
function carryOut(passage: Passage, way: Way, turn: Turn, choice: Choice, nowMs: EpochMs): Answer {
  const { destination, tries } = way;
  const { pool, view, asked } = turn;
  if (choice.kind !== "backend") return doWithout(passage, way, pool, choice.kind);
  if (tries.isFirst && choice.fate !== null) pool.tally.countSession(choice.fate);
  const retry = view.retryFor(destination);
  tries.begin(choice.channel.id);
  const send: Send = (at, sending) => makeAttempt(passage, way, at, sending);
  const first = { choice, retry, body: tries.body(retry, false), nowMs };
  return isHedged(passage, tries, asked, retry)
    ? sendHedged(passage, tries, turn, first, send)
    : send(turn, { ...first, lane: null });
}

function makeAttempt(passage: Passage, way: Way, turn: Turn, sending: Sending): Promise<Response> {
  const { destination, tries } = way;
  const { pool, view, tracer } = turn;
  const { choice, retry, body, lane, nowMs } = sending;
  const { channel, grant } = choice;
  const { config } = view.snapshot;
  if (choice.hasMigrated) pool.tally.countIncident("migration");
  if (choice.isDesperate || view.isPanicking(channel.backend)) pool.tally.countIncident("panic");
  const { timeoutMs, isShortened } = patience(way, turn, retry, nowMs);
  return forward(passage, {
    pool,
    channel,
    path: rewritePath(destination, passage.target.path) + passage.target.query,
    headers: backendHeaders(passage, way, choice),
    body,
    headerTimeoutMs: timeoutMs,
    isShortened,
    isRetry: tries.attempts > 1,
    bodyIdleTimeoutMs: destination.bodyIdleTimeoutMs ?? config.bodyIdleTimeoutMs,
    webSocketIdleTimeoutMs: destination.webSocketIdleTimeoutMs ?? config.webSocketIdleTimeoutMs,
    nowMs,
    addedHeaders: grant === null ? null : () => tokenHeaders(view, choice),
    retry,
    onFailure: (failure) =>
      lane?.fail(failure.kind === "status") ?? tryAgain(passage, way, pool, failure, retry),
    lane,
    tracer,
  });
}

/** How long an attempt at the pool waits for its headers. Only where time may become short it matters who could be next. */
function patience(
  { destination, tries, passedOn }: Way,
  turn: Turn,
  retry: RetryRules,
  nowMs: EpochMs,
): Patience {
  const { pool, view } = turn;
  const headerTimeoutMs = destination.headerTimeoutMs ?? view.snapshot.config.headerTimeoutMs;
  const leftMs = retry.totalTimeoutMs - tries.elapsedMs(nowMs);
  const isAmple = leftMs >= retry.maxAttempts * headerTimeoutMs;
  const hasNext = (): boolean =>
    view.admitsBeside(tries.backends) || (passedOn === null && pool.fallback !== null);
  // What may be hedged is what may be retried after silence.
  const isLast = isAmple || !mayHedge(tries.describe(nowMs, 0), retry) || !hasNext();
  const attemptsLeft = isLast ? 1 : 1 + retry.maxAttempts - tries.attempts;
  return patienceFor(headerTimeoutMs, leftMs, attemptsLeft, retry);
}

/**
 * Another attempt after one that failed: at another backend, by the fallback pool, or at last by a backend that is out for its
 * health; null when there will be none.
 */
function tryAgain(
  passage: Passage,
  way: Way,
  pool: EdgePool,
  failure: Failure,
  retry: RetryRules,
): Promise<Response> | null {
  const { tries } = way;
  const { view } = pool;
  if (view === null) return null;
  const nowMs = clock();
  const hasOther = view.admitsBeside(tries.backends);
  const fallback = hasOther || way.passedOn !== null ? null : pool.fallback;
  const isLast = !hasOther && fallback === null;
  const waitMs = decideRetry(failure, tries.describe(nowMs, Math.random()), retry, isLast);
  if (waitMs === null) return null;
  const { config } = view.snapshot;
  if (isLast && !view.hasLastResort(choosing(way, config, nowMs, undefined))) return null;
  if (!pool.retryBudget.withdraw(retry.budget, nowMs)) {
    pool.tally.countIncident("retry_denied");
    return null;
  }
  pool.tally.countIncident("retry");
  return stay(passage, waitMs).then(() => {
    // Nobody is there to be answered.
    if (passage.isAbandoned) return answerProblem(UNREACHABLE, passage.request);
    return fallback === null
      ? holdSnapshot(passage, way, pool, clock())
      : passOn(passage, way, pool, fallback, "failed");
  });
}

function causeOf({ tries, passedOn }: Way): Cause {
  if (passedOn !== null && tries.backends.size === 0) return "FB";
  return tries.isFirst ? "FA" : "RT";
}

/** What the choice of a backend depends on. */
function choosing(
  { destination, client, passedOn, tries }: Way,
  config: PoolConfig,
  nowMs: EpochMs,
  notes: Notes | undefined,
): Choosing {
  const { policy, affinity, subset, credentials } = wishesFor(destination, passedOn !== null, config, client);
  return {
    policy,
    affinity,
    subset,
    credentials,
    nowMs,
    chance: Math.random(),
    tried: tries.backends,
    hasWaited: false,
    notes,
  };
}

/** Answers for a pool that has no backend for a request: with its fallback pool's, if it has one. */
function doWithout(passage: Passage, way: Way, pool: EdgePool, why: Unserved): Answer {
  if (pool.fallback !== null && way.passedOn === null && why !== "session_refused")
    return passOn(passage, way, pool, pool.fallback, why);
  return refuse(passage, pool, why);
}

function refuse({ request }: Passage, { tally }: EdgePool, why: Reason): Response {
  // Attempts that failed were counted by their backends.
  if (why !== "failed") tally.countIncident(why);
  return answerProblem(UNSERVED[why], request);
}

/** Lets the fallback pool serve. */
function passOn(passage: Passage, way: Way, pool: EdgePool, fallback: PoolName, why: Reason): Answer {
  way.tries.changePool();
  const passedOn = { pool, why };
  return holdSnapshot(passage, { ...way, passedOn }, passage.isolate.pool(fallback), clock());
}

type Unserved = Exclude<Choice["kind"], "backend">;

/** `failed`: every attempt did. */
type Reason = Unserved | "failed";

const UNSERVED: Readonly<Record<Reason, Problem>> = {
  failed: UNREACHABLE,
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
  if (passage.traceHeader !== null) headers.delete(TRACE_HEADER);
  isolate.curtain.draw(headers);
  tellInheritance(headers, choice.inheritance);
  return headers;
}

function tokenHeaders(view: PoolView, choice: Chosen): AddedHeaders {
  return view.issue(choice, clock(), crypto.getRandomValues(new Uint8Array(TOKEN_RANDOM_BYTES)));
}
