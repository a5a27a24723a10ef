import type { Context, MiddlewareHandler } from "hono";
import type { DirectoryChange, PoolChange } from "../../durable/model/command.ts";
import type { PoolName } from "../../durable/model/names.ts";
import type { PoolPreview, Rehearsal, RouteRehearsal } from "../../durable/model/preview.ts";
import { invalid } from "../../durable/model/refusal.ts";
import { ok, type Result } from "../../durable/model/result.ts";
import type { DirectoryView } from "../../durable/model/view.ts";
import { preview } from "../core/preview.ts";
import { previewRoute } from "../core/route-preview.ts";
import { callObject, DIRECTORY_NAME, readObject } from "../edge/ring-client.ts";
import { refused, versioned } from "./answer.ts";
import type { AdminContext } from "./context.ts";

/** All that the query of a write may say. */
const KNOWN = new Set(["dry_run", "wait"]);

/**
 * Reads `?dry_run=1` of every write. Said twice it is refused, since nobody can tell which is meant; and so is what is not known
 * here, or a slip of the pen would do what was only to be tried.
 */
export const readDryRun: MiddlewareHandler<AdminContext> = async (context, next) => {
  const said = context.req.queries("dry_run") ?? [];
  const isWriting = context.req.method !== "GET" && context.req.method !== "HEAD";
  const unknown = Object.entries(context.req.query()).find(([name]) => !KNOWN.has(name));
  if (isWriting && unknown !== undefined)
    return refused(context, invalid(...unknown, "is not known here; known: dry_run, wait"));
  const isReadable = said.length === 0 || (said.length === 1 && (said[0] === "1" || said[0] === "0"));
  if (isWriting && !isReadable)
    return refused(context, invalid("dry_run", said.join(", "), "must be 1 or 0"));
  context.set("isDryRun", isWriting && said[0] === "1");
  await next();
  return undefined;
};

/** For what is asked by POST and changes nothing: a dry run of it would be the same, keys and signatures included. */
export const takeNoDryRun: MiddlewareHandler<AdminContext> = async (context, next) => {
  if (context.get("isDryRun"))
    return refused(context, invalid("dry_run", "1", "must not be sent here: nothing is changed"));
  await next();
  return undefined;
};

/** Answers with what a change of a pool would do. Nothing is done. */
export async function previewPoolChange(
  context: Context<AdminContext>,
  change: PoolChange,
): Promise<Response> {
  const shown = await previewPool(context, change);
  if (!shown.ok) return refused(context, shown.refusal);
  const { version } = shown.value;
  return version === null ? context.json(shown.value) : versioned(context, version, shown.value);
}

/** What a change of a pool would do. */
export async function previewPool(
  context: Context<AdminContext>,
  change: PoolChange,
): Promise<Result<PoolPreview>> {
  const rehearsal = await callObject<Rehearsal>(context.env.RING, change.pool, "preview", change);
  if (!rehearsal.ok) return rehearsal;
  const pools = await readPools(context, rehearsal.value);
  return pools.ok ? ok(preview(rehearsal.value, pools.value)) : pools;
}

/** Answers with what a change of a route would do. Nothing is done. */
export async function previewRouteChange(
  context: Context<AdminContext>,
  change: DirectoryChange,
): Promise<Response> {
  const rehearsal = await rehearseDirectoryChange(context, change);
  if (!rehearsal.ok) return refused(context, rehearsal.refusal);
  const shown = previewRoute(rehearsal.value);
  return versioned(context, shown.version, shown);
}

/** What the directory would say to a change. */
export function rehearseDirectoryChange(
  context: Context<AdminContext>,
  change: DirectoryChange,
): Promise<Result<RouteRehearsal>> {
  return callObject<RouteRehearsal>(context.env.DIRECTORY, DIRECTORY_NAME, "preview", change);
}

/** The pools there are, which the directory need not be asked for unless one is to fall back on. */
async function readPools(
  context: Context<AdminContext>,
  { after }: Rehearsal,
): Promise<Result<ReadonlySet<PoolName>>> {
  if ((after?.snapshot.config.tiers.fallbackPool ?? null) === null) return ok(new Set());
  const view = await readObject<DirectoryView>(context.env.DIRECTORY, DIRECTORY_NAME, "view");
  return view.ok ? ok(new Set(view.value.pools)) : view;
}
