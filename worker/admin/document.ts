import { type Context, Hono } from "hono";
import type { Applied, DirectoryChange, PoolChange, Precondition } from "../../durable/model/command.ts";
import { type DirectoryDocument, DirectoryDocumentSchema } from "../../durable/model/document.ts";
import { DEFAULT_POOL, type PoolName } from "../../durable/model/names.ts";
import { type FieldError, invalid, type Refusal } from "../../durable/model/refusal.ts";
import { ok, type Result, refuse } from "../../durable/model/result.ts";
import { poolsOf, type Route } from "../../durable/model/route.ts";
import type { DirectoryView, PoolView } from "../../durable/model/view.ts";
import { callObject, DIRECTORY_NAME, readObject } from "../edge/ring-client.ts";
import { refused } from "./answer.ts";
import { applySteps, type Base, createSteps } from "./apply-document.ts";
import { ALWAYS } from "./change.ts";
import { type AdminContext, readAuthor, readBody } from "./context.ts";
import { checkOrigins, checkSize } from "./origins.ts";
import { previewDocument } from "./preview-document.ts";
import { readWait } from "./wait.ts";

type DocumentContext = Context<AdminContext>;

/** The whole directory as one document. */
export const document = new Hono<AdminContext>().get("/", show).put("/", put);

/** All routes and pools, as `PUT` takes them. A pool that is gone by the time it is read is left out. */
async function show(context: DocumentContext): Promise<Response> {
  const directory = await readObject<DirectoryView>(context.env.DIRECTORY, DIRECTORY_NAME, "view");
  if (!directory.ok) return refused(context, directory.refusal);
  const { version, routes, pools } = directory.value;
  const views = await Promise.all(
    pools.map(async (name) => ({ name, view: await readObject<PoolView>(context.env.RING, name, "view") })),
  );
  const listed = views.flatMap(({ name, view }) => (view.ok ? [{ name, ...view.value }] : []));
  return context.json({ version, routes, pools: listed });
}

/** Makes everything as the document says: all of it is checked first, then one thing after the other is changed. */
async function put(context: DocumentContext): Promise<Response> {
  const waitMs = readWait(context);
  if (!waitMs.ok) return refused(context, waitMs.refusal);
  const sent = await read(context);
  if (!sent.ok) return refused(context, sent.refusal);
  context.set("occasion", "PUT /document");
  const base = await check(context, sent.value);
  if (!base.ok) return refused(context, base.refusal);
  return context.get("isDryRun")
    ? previewDocument(context, sent.value, base.value)
    : applySteps(context, createSteps(context, sent.value, base.value), waitMs.value);
}

async function read(context: DocumentContext): Promise<Result<DirectoryDocument>> {
  for (const header of ["if-match", "if-none-match"]) {
    const value = context.req.header(header);
    if (value !== undefined)
      return refuse(invalid(header, value, "must not be sent here: versions stand in the document"));
  }
  return readBody(context, DirectoryDocumentSchema);
}

/**
 * Holds a document against itself and against what there is, and says from where it is to be reached. Of what is wrong
 * everything is named, as far as one mistake does not hide another. Nothing is changed.
 */
async function check(context: DocumentContext, sent: DirectoryDocument): Promise<Result<Base>> {
  const author = readAuthor(context);
  if (!author.ok) return author;
  const view = await readObject<DirectoryView>(context.env.DIRECTORY, DIRECTORY_NAME, "view");
  if (!view.ok) return view;
  const directory = view.value;
  const wanted = new Set(sent.pools.map(({ name }) => name));
  const errors = [...findContradictions(sent, wanted), ...findWrongPlaces(context, sent)];
  if (errors.length > 0) return refuseAll(errors, []);

  const askRing = (pool: PoolName, command: PoolChange["command"]): Promise<Result<Applied>> => {
    const change: PoolChange = { pool, command, precondition: ALWAYS, author: author.value };
    return callObject<Applied>(context.env.RING, pool, "check", change);
  };
  const unlisted = [...wanted].filter((name) => !directory.pools.includes(name));
  const removed = directory.pools.filter((name) => !wanted.has(name));
  const asked: DirectoryChange = {
    command: { kind: "put-routes", routes: sent.routes, pools: unlisted },
    precondition: ALWAYS,
    author: author.value,
  };
  const [routing, checked, going] = await Promise.all([
    callObject<Applied>(context.env.DIRECTORY, DIRECTORY_NAME, "check", asked),
    Promise.all(sent.pools.map((pool) => askRing(pool.name, { kind: "put-pool", document: pool.document }))),
    Promise.all(
      removed.map(async (name) => ({ name, applied: await askRing(name, { kind: "delete-pool" }) })),
    ),
  ]);
  const pools = sent.pools.map(({ name, version }, index) =>
    toPoolBase(name, version, `pools.${index}.document`, checked[index]),
  );
  const refusals = [
    ...pools.flatMap((pool) => (pool.ok ? [] : [pool.refusal])),
    ...(routing.ok ? [] : [routing.refusal]),
    ...findStaleDirectory(sent, directory, routing, unlisted.length + removed.length > 0),
  ];
  if (refusals.length > 0) return refuseAll([], refusals);
  return ok({
    directory,
    areRoutesNew: routing.ok && routing.value.changes.some(({ path }) => /^routes(?:\.|$)/.test(path)),
    pools: pools.flatMap((pool) => (pool.ok ? [pool.value] : [])),
    removed: going.map(({ name, applied }) => ({
      name,
      version: applied.ok ? applied.value.version - 1 : null,
    })),
  });
}

/** What in a document does not fit together. */
function findContradictions(sent: DirectoryDocument, wanted: ReadonlySet<PoolName>): readonly FieldError[] {
  const twice = sent.pools.flatMap(({ name }, index) =>
    sent.pools.findIndex((other) => other.name === name) === index
      ? []
      : [{ field: `pools.${index}.name`, value: name, range: "must be unique in the document" }],
  );
  return [...twice, ...sent.routes.flatMap((route, index) => findLostPools(route, index, wanted))];
}

function findLostPools(route: Route, index: number, wanted: ReadonlySet<PoolName>): readonly FieldError[] {
  return poolsOf(route).flatMap((pool, side) => {
    const field = `routes.${index}.${route.split === undefined ? "pool" : `split.${side}.pool`}`;
    return pool === DEFAULT_POOL || wanted.has(pool)
      ? []
      : [{ field, value: pool, range: `must be a pool of the document, or ${DEFAULT_POOL}` }];
  });
}

function findWrongPlaces(context: DocumentContext, sent: DirectoryDocument): readonly FieldError[] {
  return sent.pools.flatMap((pool, index) =>
    [...checkOrigins(context, pool.document), ...checkSize(pool.document)].map((error) =>
      named(`pools.${index}.document`, error),
    ),
  );
}

/** From where a pool is to be reached, by what its ring says of the change. */
function toPoolBase(
  name: PoolName,
  version: number | undefined,
  part: string,
  checked: Result<Applied> | undefined,
): Result<Base["pools"][number]> {
  if (checked === undefined) throw new Error(`pool ${name} was not checked`);
  if (!checked.ok) return refuse(inside(part, `pool ${name}`, checked.refusal));
  const { created, changes, version: next } = checked.value;
  // What is so already needs no change, whatever version somebody made the document from: this is how repeating completes it.
  if (changes.length === 0) return ok({ name, precondition: null });
  const actual = created ? "none" : String(next - 1);
  if (version !== undefined && String(version) !== actual) {
    return refuse({ kind: "stale-version", expected: `${version} of pool ${name}`, actual });
  }
  const precondition: Precondition = created
    ? { ifMatch: null, ifAbsent: true }
    : { ifMatch: [next - 1], ifAbsent: false };
  return ok({ name, precondition });
}

function findStaleDirectory(
  { version }: DirectoryDocument,
  directory: DirectoryView,
  routing: Result<Applied>,
  isListNew: boolean,
): readonly Refusal[] {
  const isNews = isListNew || (routing.ok && routing.value.changes.length > 0);
  if (version === undefined || version === directory.version || !isNews) return [];
  return [
    {
      kind: "stale-version",
      expected: `${version} of the directory`,
      actual: String(directory.version),
    },
  ];
}

/** An error in a part of the document, named from the whole. */
function named(part: string, error: FieldError): FieldError {
  return { ...error, field: error.field === "" ? part : `${part}.${error.field}` };
}

/** A refusal as it is said of a part of the document. */
function inside(part: string, what: string, refusal: Refusal): Refusal {
  switch (refusal.kind) {
    case "invalid": {
      const [first, ...rest] = refusal.errors;
      return {
        kind: "invalid",
        errors: [named(part, first), ...rest.map((error) => named(part, error))],
      };
    }
    case "conflict":
    case "not-found":
      return { ...refusal, detail: `${what}: ${refusal.detail}` };
    case "stale-version":
      return refusal;
  }
}

/** One refusal for all: 422 if anything is invalid, else what stands first. */
function refuseAll(errors: readonly FieldError[], refusals: readonly Refusal[]): Result<never> {
  const [first, ...rest] = [
    ...errors,
    ...refusals.flatMap((refusal) => (refusal.kind === "invalid" ? refusal.errors : [])),
  ];
  if (first !== undefined) return refuse({ kind: "invalid", errors: [first, ...rest] });
  const [refusal] = refusals;
  if (refusal === undefined) throw new Error("refused for no reason");
  return refuse(refusal);
}
