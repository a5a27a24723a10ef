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
import type { Result } from "../../durable/model/result.ts";
import { callObject, DIRECTORY_NAME } from "../edge/ring-client.ts";
import { refused } from "./answer.ts";
import { type AdminContext, readAuthor, readPrecondition } from "./context.ts";
import { checkOrigins, checkSize } from "./origins.ts";
import { readWait, written } from "./wait.ts";

/** Under no condition. */
export const ALWAYS: Precondition = { ifMatch: null, ifAbsent: false };

/** Changes a pool, under the caller's precondition unless another is given. */
export async function changePool(
  context: Context<AdminContext>,
  pool: PoolName,
  command: PoolCommand,
  precondition: Result<Precondition> = readPrecondition(context),
): Promise<Result<Applied>> {
  if (!precondition.ok) return precondition;
  const author = readAuthor(context);
  if (!author.ok) return author;
  const asked: PoolChange = { pool, command, precondition: precondition.value, author: author.value };
  return callObject<Applied>(context.env.RING, pool, "apply", asked);
}

/** Changes the directory, under no condition unless one is given: the caller's may be for a pool. */
export async function changeDirectory(
  context: Context<AdminContext>,
  command: DirectoryCommand,
  precondition: Precondition = ALWAYS,
): Promise<Result<Applied>> {
  const author = readAuthor(context);
  if (!author.ok) return author;
  const asked: DirectoryChange = { command, precondition, author: author.value };
  return callObject<Applied>(context.env.DIRECTORY, DIRECTORY_NAME, "apply", asked);
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
