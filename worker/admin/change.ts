import type { Context } from "hono";
import type {
  Applied,
  DirectoryChange,
  DirectoryCommand,
  PoolChange,
  PoolCommand,
  Precondition,
} from "../../durable/model/command.ts";
import type { PoolName } from "../../durable/model/names.ts";
import type { PoolDocument } from "../../durable/model/pool.ts";
import type { Refusal } from "../../durable/model/refusal.ts";
import { ok, type Result } from "../../durable/model/result.ts";
import { callObject, DIRECTORY_NAME } from "../edge/ring-client.ts";
import { refused } from "./answer.ts";
import { type AdminContext, readAuthor, readPrecondition } from "./context.ts";
import { previewPoolChange, previewRouteChange, rehearseDirectoryChange } from "./dry-run.ts";
import { checkOrigins, checkSize } from "./origins.ts";
import { readWait, written } from "./wait.ts";

/** Under no condition. */
export const ALWAYS: Precondition = { ifMatch: null, ifAbsent: false };

/** A change of a pool as its ring is asked for it, under the caller's precondition unless another is given. */
function toPoolChange(
  context: Context<AdminContext>,
  pool: PoolName,
  command: PoolCommand,
  precondition = readPrecondition(context),
): Result<PoolChange> {
  if (!precondition.ok) return precondition;
  const author = readAuthor(context);
  return author.ok ? ok({ pool, command, precondition: precondition.value, author: author.value }) : author;
}

/** A change of the directory, under no condition unless one is given: the caller's may be for a pool. */
function toDirectoryChange(
  context: Context<AdminContext>,
  command: DirectoryCommand,
  precondition: Precondition = ALWAYS,
): Result<DirectoryChange> {
  const author = readAuthor(context);
  return author.ok ? ok({ command, precondition, author: author.value }) : author;
}

/** Changes a pool. */
export async function changePool(...asked: Parameters<typeof toPoolChange>): Promise<Result<Applied>> {
  const [{ env }, pool] = asked;
  const change = toPoolChange(...asked);
  return change.ok ? callObject<Applied>(env.RING, pool, "apply", change.value) : change;
}

/** Answers with what a change of a pool would do. */
export async function showPoolChange(...asked: Parameters<typeof toPoolChange>): Promise<Response> {
  const [context] = asked;
  const change = toPoolChange(...asked);
  return change.ok ? previewPoolChange(context, change.value) : refused(context, change.refusal);
}

/** Changes the directory; in a dry run it says what it would do. */
export async function changeDirectory(
  ...asked: Parameters<typeof toDirectoryChange>
): Promise<Result<Applied>> {
  const [context] = asked;
  const change = toDirectoryChange(...asked);
  if (!change.ok) return change;
  if (!context.get("isDryRun"))
    return callObject<Applied>(context.env.DIRECTORY, DIRECTORY_NAME, "apply", change.value);
  const rehearsal = await rehearseDirectoryChange(context, change.value);
  return rehearsal.ok ? ok(rehearsal.value.applied) : rehearsal;
}

/** Answers with what a change of the directory would do. */
export async function showDirectoryChange(...asked: Parameters<typeof toDirectoryChange>): Promise<Response> {
  const [context] = asked;
  const change = toDirectoryChange(...asked);
  return change.ok ? previewRouteChange(context, change.value) : refused(context, change.refusal);
}

/** Makes a pool as the document says, whatever it was before, and answers with the differences. */
export async function putDocument(
  context: Context<AdminContext>,
  pool: PoolName,
  document: PoolDocument,
): Promise<Response> {
  const [first, ...rest] = [...checkOrigins(context, document), ...checkSize(document)];
  if (first !== undefined) return refused(context, { kind: "invalid", errors: [first, ...rest] });
  const precondition = readPrecondition(context);
  if (!precondition.ok) return refused(context, precondition.refusal);
  const waitMs = readWait(context);
  if (!waitMs.ok) return refused(context, waitMs.refusal);
  // The directory first: it knows how many pools there may be. A pool it lists in vain is taken off again.
  const listed = await changeDirectory(context, { kind: "add-pool", name: pool });
  if (!listed.ok) return refused(context, listed.refusal);
  if (context.get("isDryRun")) return showPoolChange(context, pool, { kind: "put-pool", document });
  const applied = await changePool(context, pool, { kind: "put-pool", document });
  if (applied.ok) {
    const ring = { namespace: context.env.RING, name: pool };
    return written(context, ring, applied.value, waitMs.value);
  }
  if (listed.value.created && !isThere(applied.refusal))
    await changeDirectory(context, { kind: "remove-pool", name: pool });
  return refused(context, applied.refusal);
}

/** Whether a refusal says that a pool is there, in another version than was wanted. */
export function isThere(refusal: Refusal): boolean {
  return refusal.kind === "stale-version" && refusal.actual !== "none";
}
