import type { Context } from "hono";
import type * as v from "valibot";
import type { PoolCommand, Precondition } from "../../durable/model/command.ts";
import { record } from "../../durable/model/fields.ts";
import { type BackendId, BackendIdSchema, type PoolName, PoolNameSchema } from "../../durable/model/names.ts";
import type { Result } from "../../durable/model/result.ts";
import type { PoolStatus, PoolView } from "../../durable/model/view.ts";
import { readObject } from "../edge/ring-client.ts";
import { refused } from "./answer.ts";
import { changePool, showPoolChange } from "./change.ts";
import { type AdminContext, noPoolNamed, readBody, readName } from "./context.ts";
import { type Publisher, readWait, written } from "./wait.ts";

export type PoolContext = Context<AdminContext>;

/** The body of a request that has nothing to say. */
export const NothingSchema = record({});

/**
 * Carries out one change of a pool, and answers with what it did; in a dry run with what it would do. Under the caller's
 * precondition unless another is given.
 */
export async function apply(
  context: PoolContext,
  pool: PoolName,
  command: PoolCommand,
  precondition?: Result<Precondition>,
): Promise<Response> {
  const waitMs = readWait(context);
  if (!waitMs.ok) return refused(context, waitMs.refusal);
  if (context.get("isDryRun")) return showPoolChange(context, pool, command, precondition);
  const applied = await changePool(context, pool, command, precondition);
  return applied.ok
    ? written(context, ringOf(context, pool), applied.value, waitMs.value)
    : refused(context, applied.refusal);
}

/** The ring of a pool. */
export function ringOf({ env }: PoolContext, pool: PoolName): Publisher {
  return { namespace: env.RING, name: pool };
}

/** Answers with what `show` makes of the pool that the path names. */
export async function withView(context: PoolContext, show: (view: PoolView) => Response): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const view = await readObject<PoolView>(context.env.RING, name.value, "view");
  return view.ok ? show(view.value) : refused(context, noPoolNamed(name.value, view.refusal));
}

/** Answers with what `show` makes of the status of the pool that the path names. */
export async function withStatus(
  context: PoolContext,
  show: (status: PoolStatus) => Response,
): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const status = await readObject<PoolStatus>(context.env.RING, name.value, "status");
  return status.ok ? show(status.value) : refused(context, noPoolNamed(name.value, status.refusal));
}

/** Answers with what `use` makes of the pool that the path names, and of the body. */
export async function withBody<const Schema extends v.GenericSchema>(
  context: PoolContext,
  schema: Schema,
  use: (pool: PoolName, body: v.InferOutput<Schema>) => Response | Promise<Response>,
): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const body = readBody(context, schema);
  return body.ok ? use(name.value, body.value) : refused(context, body.refusal);
}

/** Answers with what `use` makes of the backend that the path names, and of the body. */
export async function withBackendBody<const Schema extends v.GenericSchema>(
  context: PoolContext,
  schema: Schema,
  use: (pool: PoolName, id: BackendId, body: v.InferOutput<Schema>) => Response | Promise<Response>,
): Promise<Response> {
  const id = readName(context, "backend", BackendIdSchema);
  if (!id.ok) return refused(context, id.refusal);
  return withBody(context, schema, (pool, body) => use(pool, id.value, body));
}
