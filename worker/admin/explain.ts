import type { Context } from "hono";
import type { PoolName } from "../../durable/model/names.ts";
import { ExplainSchema, type Question, TraceOrderSchema } from "../../durable/model/question.ts";
import { invalid, type Refusal } from "../../durable/model/refusal.ts";
import { ok, type Result, refuse } from "../../durable/model/result.ts";
import type { RoutingTable, Snapshot, Versioned, VersionWanted } from "../../durable/model/snapshot.ts";
import { after, type EpochMs, epochMs } from "../../durable/model/time.ts";
import { Client } from "../core/client.ts";
import { explainPool, explainSplit, findRoute, type SideExplained } from "../core/explain.ts";
import { explainTrace, type PoolVersion, poolVersionsIn } from "../core/explain-trace.ts";
import { PoolView } from "../core/pool-view.ts";
import { REASONS, type Reason } from "../core/reason.ts";
import type { Destination } from "../core/route.ts";
import { Split } from "../core/split.ts";
import { type Target, TargetParser } from "../core/target.ts";
import { decodeTrace, type Trace } from "../core/trace.ts";
import { wishesFor } from "../core/wishes.ts";
import { callObject, DIRECTORY_NAME } from "../edge/ring-client.ts";
import { signTrace, TRACE_HEADER } from "../edge/trace-signature.ts";
import { refused } from "./answer.ts";
import { bearerOf } from "./auth.ts";
import { type AdminContext, readBody } from "./context.ts";

type ExplainContext = Context<AdminContext>;

/** Gives out the header by which requests ask for a trace. */
export async function issueTrace(context: ExplainContext): Promise<Response> {
  const body = readBody(context, TraceOrderSchema);
  if (!body.ok) return refused(context, body.refusal);
  const untilMs = after(now(), body.value.forMs);
  const value = await signTrace(bearerOf(context) ?? "", untilMs);
  return context.json({ header: TRACE_HEADER, value, untilMs }, 201);
}

/** A request as it was described. */
interface Described {
  readonly target: Target;
  readonly headers: Headers;
  readonly request: { readonly method: string; readonly headers: Headers };
  readonly client: Client;
}

/** Explains how a request would be decided, or makes the decisions of a traced one again. */
export async function explain(context: ExplainContext): Promise<Response> {
  const body = readBody(context, ExplainSchema);
  if (!body.ok) return refused(context, body.refusal);
  const described = describe(body.value.request, context);
  if (!described.ok) return refused(context, described.refusal);
  const { trace: text } = body.value;
  if (text === undefined) return foresee(context, body.value, described.value);
  const trace = decodeTrace(text);
  if (!trace.ok) return refused(context, trace.refusal);
  const explained = explainTrace(trace.value, described.value, await fetchKept(context, trace.value));
  return context.json({ ...explained, why: REASONS[explained.reason] });
}

function describe(
  { method, url, headers: sent, cf }: Question["request"],
  context: ExplainContext,
): Result<Described> {
  const target = new TargetParser().parse(url);
  const headers = toHeaders(sent);
  if (target === null) return refuse(invalid("request.url", url, "must be a URL"));
  if (headers === null)
    return refuse(invalid("request.headers", "(object)", "must have names and values of headers"));
  const client = new Client(headers, cf, target.query, context.get("settings").front);
  return ok({ target, headers, request: { method, headers }, client });
}

function toHeaders(sent: Readonly<Record<string, string>>): Headers | null {
  try {
    return new Headers(sent);
  } catch {
    return null;
  }
}

/** Everything that a trace was made from, as far as it is kept. */
async function fetchKept(context: ExplainContext, trace: Trace) {
  const { table: used } = trace;
  const table = used === null ? null : keptOf(await fetchTable(context, used.version), used);
  const versions = new Map(poolVersionsIn(trace).map((version) => [nameOf(version), version]));
  const fetched = await Promise.all(
    [...versions].map(async ([name, version]) => {
      const snapshot = keptOf(await fetchSnapshot(context, version.pool, version.version), version);
      return [name, snapshot] as const;
    }),
  );
  const snapshots = new Map(fetched);
  return { table, snapshot: (version: PoolVersion) => snapshots.get(nameOf(version)) ?? null };
}

function nameOf({ pool, incarnation, version }: PoolVersion): string {
  return `${pool} ${incarnation} ${version}`;
}

/** A version, if it is of the life that a trace speaks of. */
function keptOf<Document extends Versioned>(
  found: Result<Document>,
  { incarnation }: Pick<Versioned, "incarnation">,
): Document | null {
  return found.ok && found.value.incarnation === incarnation ? found.value : null;
}

/** Explains how an isolate that knows nothing by itself would decide a request. */
async function foresee(context: ExplainContext, question: Question, described: Described): Promise<Response> {
  const table = await fetchTable(context, question.tableVersion ?? null);
  if (!table.ok) return refused(context, table.refusal);
  const { incarnation, version } = table.value;
  const told = { table: { incarnation, version } };
  const destination = findRoute(table.value, described);
  if (destination === null) return context.json({ ...told, ...because("NR"), route: null });
  const nowMs = now();
  const sides = await explainSides(context, destination, described, nowMs);
  if (!sides.ok) return refused(context, sides.refusal);
  const { split, pool } = sides.value;
  const led = { ...told, route: destination.route, split };
  if (pool === null) return context.json({ ...led, ...because("NB"), pool: null });
  const snapshot = await fetchSnapshot(context, pool, question.version ?? null);
  if (!snapshot.ok) return refused(context, ofPool(pool, snapshot.refusal));
  const { config } = snapshot.value;
  const wishes = wishesFor(destination, false, config, described.client);
  const explained = explainPool(snapshot.value, wishes, nowMs);
  return context.json({
    ...led,
    pool: { name: pool, incarnation: snapshot.value.incarnation, version: snapshot.value.version },
    ...because(explained.reason),
    subset: wishes.subset,
    ...explained,
    fallbackPool: config.tiers.fallbackPool,
  });
}

interface Led {
  /** Null: the route has no split. */
  readonly split: readonly SideExplained[] | null;
  /** The most likely one; null: no side takes any clients. */
  readonly pool: PoolName | null;
}

async function explainSides(
  context: ExplainContext,
  { to, affinity }: Destination,
  { client }: Described,
  nowMs: EpochMs,
): Promise<Result<Led>> {
  if (!(to instanceof Split)) return ok({ split: null, pool: to });
  const views = new Map<PoolName, PoolView>();
  for (const { pool } of to.sides) {
    const snapshot = await fetchSnapshot(context, pool, null);
    if (!snapshot.ok) return refuse(ofPool(pool, snapshot.refusal));
    views.set(pool, new PoolView(snapshot.value, nowMs, 0));
  }
  const viewOf = (pool: PoolName) => views.get(pool) ?? null;
  const split = explainSplit(to, { client, affinity, viewOf, nowMs });
  const likeliest = split.reduce((best, side) => (side.probability > best.probability ? side : best));
  return ok({ split, pool: likeliest.probability === 0 ? null : likeliest.pool });
}

function because(reason: Reason): { readonly reason: Reason; readonly why: string } {
  return { reason, why: REASONS[reason] };
}

function ofPool(pool: PoolName, refusal: Refusal): Refusal {
  return refusal.kind === "not-found" ? { ...refusal, detail: `pool ${pool}: ${refusal.detail}` } : refusal;
}

function fetchTable(context: ExplainContext, version: number | null): Promise<Result<RoutingTable>> {
  const wanted: VersionWanted = { version };
  return callObject<RoutingTable>(context.env.DIRECTORY, DIRECTORY_NAME, "published", wanted);
}

function fetchSnapshot(
  context: ExplainContext,
  pool: PoolName,
  version: number | null,
): Promise<Result<Snapshot>> {
  const wanted: VersionWanted = { version };
  return callObject<Snapshot>(context.env.RING, pool, "published", wanted);
}

function now(): EpochMs {
  return epochMs(Date.now());
}
