import { type Context, Hono } from "hono";
import * as v from "valibot";
import { PastRoutesSchema } from "../../durable/model/document.ts";
import { digits, record } from "../../durable/model/fields.ts";
import {
  type Difference,
  type LostLeasesView,
  type PastDocument,
  RollbackSchema,
  type VersionsRequest,
  type VersionsView,
} from "../../durable/model/history.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { PoolNameSchema } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import { PoolDocumentSchema } from "../../durable/model/pool.ts";
import { ok, type Result } from "../../durable/model/result.ts";
import { callObject } from "../edge/ring-client.ts";
import { refused, versioned } from "./answer.ts";
import { changeDirectory, putDocument, showDirectoryChange } from "./change.ts";
import { type AdminContext, readBody, readName, readPrecondition } from "./context.ts";
import { directoryOf as theDirectory } from "./routes.ts";
import { type Publisher, readWait, written } from "./wait.ts";

type HistoryContext = Context<AdminContext>;

/** Which versions. */
export const VersionsQuerySchema = record({
  before: v.optional(v.pipe(digits(1, Number.MAX_SAFE_INTEGER), v.description("the oldest version one has"))),
  limit: v.optional(digits(1, LIMITS.versionsPerAnswer), "20"),
});

/** A version, as a path carries it. */
export const VersionSchema = digits(1, Number.MAX_SAFE_INTEGER);

/** What was done to a pool: by its path below `/pools`. */
export const poolHistory = new Hono<AdminContext>()
  .get("/:pool/versions", (context) => showVersions(context, ringOf(context)))
  .get("/:pool/versions/:version", (context) => showDocument(context, ringOf(context)))
  .get("/:pool/versions/:version/diff/:to", (context) => showDifference(context, ringOf(context)))
  .get("/:pool/lost-leases", (context) => showLostLeases(context, ringOf(context)))
  .post("/:pool/rollback", rollBackPool);

/** What was done to the routes and the list of pools. No route's id can be taken for it, as it is not below `/routes`. */
export const directoryHistory = new Hono<AdminContext>()
  .get("/versions", (context) => showVersions(context, directoryOf(context)))
  .get("/versions/:version", (context) => showDocument(context, directoryOf(context)))
  .get("/versions/:version/diff/:to", (context) => showDifference(context, directoryOf(context)))
  .get("/lost-leases", (context) => showLostLeases(context, directoryOf(context)))
  .post("/rollback", rollBackRoutes);

function ringOf(context: HistoryContext): Result<Publisher> {
  const name = readName(context, "pool", PoolNameSchema);
  return name.ok ? ok({ namespace: context.env.RING, name: name.value }) : name;
}

function directoryOf(context: HistoryContext): Result<Publisher> {
  return ok(theDirectory(context));
}

async function ask<Value>(
  keeper: Result<Publisher>,
  method: "versions" | "documentAt" | "difference" | "lostLeases",
  argument: Result<object>,
): Promise<Result<Value>> {
  if (!keeper.ok) return keeper;
  if (!argument.ok) return argument;
  return callObject<Value>(keeper.value.namespace, keeper.value.name, method, argument.value);
}

async function showVersions(context: HistoryContext, keeper: Result<Publisher>): Promise<Response> {
  const query = parse(VersionsQuerySchema, context.req.query());
  const asked: Result<VersionsRequest> = query.ok
    ? ok({ before: query.value.before ?? null, limit: query.value.limit })
    : query;
  const view = await ask<VersionsView>(keeper, "versions", asked);
  return view.ok ? versioned(context, view.value.newest, view.value) : refused(context, view.refusal);
}

async function showDocument(context: HistoryContext, keeper: Result<Publisher>): Promise<Response> {
  const past = await ask<PastDocument>(keeper, "documentAt", readVersion(context));
  return past.ok
    ? versioned(context, past.value.version, past.value.document)
    : refused(context, past.refusal);
}

async function showDifference(context: HistoryContext, keeper: Result<Publisher>): Promise<Response> {
  const from = readVersion(context);
  const to = readName(context, "to", VersionSchema);
  const asked = !from.ok ? from : !to.ok ? to : ok({ from: from.value.version, to: to.value });
  const difference = await ask<Difference>(keeper, "difference", asked);
  return difference.ok ? context.json(difference.value) : refused(context, difference.refusal);
}

async function showLostLeases(context: HistoryContext, keeper: Result<Publisher>): Promise<Response> {
  const view = await ask<LostLeasesView>(keeper, "lostLeases", ok({}));
  return view.ok ? context.json(view.value) : refused(context, view.refusal);
}

/** Puts a pool's document of a past version, a deleted pool's too, as if an operator had kept and sent it. */
async function rollBackPool(context: HistoryContext): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const past = await readPast(context, ok({ namespace: context.env.RING, name: name.value }));
  if (!past.ok) return refused(context, past.refusal);
  const document = parse(PoolDocumentSchema, past.value.document);
  return document.ok ? putDocument(context, name.value, document.value) : refused(context, document.refusal);
}

/** Puts the routes of a past version. The list of pools stays: a pool comes back by its own history. */
async function rollBackRoutes(context: HistoryContext): Promise<Response> {
  const past = await readPast(context, directoryOf(context));
  if (!past.ok) return refused(context, past.refusal);
  const parsed = parse(PastRoutesSchema, past.value.document);
  if (!parsed.ok) return refused(context, parsed.refusal);
  const precondition = readPrecondition(context);
  if (!precondition.ok) return refused(context, precondition.refusal);
  const waitMs = readWait(context);
  if (!waitMs.ok) return refused(context, waitMs.refusal);
  const { routes } = parsed.value;
  const asked = [context, { kind: "put-routes", routes, pools: [] }, precondition.value] as const;
  if (context.get("isDryRun")) return showDirectoryChange(...asked);
  const applied = await changeDirectory(...asked);
  return applied.ok
    ? written(context, theDirectory(context), applied.value, waitMs.value)
    : refused(context, applied.refusal);
}

/** Reads the document that the body's version names, which then is the occasion of whatever is changed. */
async function readPast(context: HistoryContext, keeper: Result<Publisher>): Promise<Result<PastDocument>> {
  const body = readBody(context, RollbackSchema);
  if (body.ok) context.set("occasion", `rollback to version ${body.value.version}`);
  return ask<PastDocument>(keeper, "documentAt", body);
}

function readVersion(context: HistoryContext): Result<Pick<PastDocument, "version">> {
  const version = readName(context, "version", VersionSchema);
  return version.ok ? ok({ version: version.value }) : version;
}
