import * as v from "valibot";
import { LabelNameSchema, LabelValueSchema } from "../../durable/model/backend.ts";
import { WaitSchema } from "../../durable/model/duration.ts";
import { record } from "../../durable/model/fields.ts";
import { BackendIdSchema, PoolNameSchema } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import type { ReceiptsRequest, ReceiptsView } from "../../durable/model/receipt.ts";
import type { Result } from "../../durable/model/result.ts";
import { callObject } from "../edge/ring-client.ts";
import { refused, versioned } from "./answer.ts";
import { readName } from "./context.ts";
import { type PoolContext } from "./pool-requests.ts";
import { readWait } from "./wait.ts";

/** Answers whether one backend can be stopped. */
export async function showReceipt(context: PoolContext): Promise<Response> {
  const id = readName(context, "backend", BackendIdSchema);
  if (!id.ok) return refused(context, id.refusal);
  return show(context, { id: id.value }, ({ receipts }) => receipts[0] ?? {});
}

/** Which backends, and how long to wait for them to be safe. */
export const ReceiptsQuerySchema = record({
  label: LabelNameSchema,
  value: LabelValueSchema,
  wait: v.optional(WaitSchema),
});

/** Answers whether all backends that have a label can be stopped. */
export async function showReceipts(context: PoolContext): Promise<Response> {
  const query = parse(ReceiptsQuerySchema, context.req.query());
  if (!query.ok) return refused(context, query.refusal);
  const { label, value } = query.value;
  return show(context, { label, value }, ({ version: _, ...together }) => together);
}

/** Asks the ring, and lets it wait for them to be safe; where they are not when that is over, the status is 202. */
async function show(
  context: PoolContext,
  of: ReceiptsRequest["of"],
  render: (view: ReceiptsView) => object,
): Promise<Response> {
  const pool = readName(context, "pool", PoolNameSchema);
  if (!pool.ok) return refused(context, pool.refusal);
  const waitMs = readWait(context);
  if (!waitMs.ok) return refused(context, waitMs.refusal);
  const asked: ReceiptsRequest = { pool: pool.value, of, waitMs: waitMs.value ?? 0 };
  const wait = { waitMs: asked.waitMs, gone: context.req.raw.signal };
  const view: Result<ReceiptsView> = await callObject(context.env.RING, pool.value, "receipts", asked, wait);
  if (!view.ok) return refused(context, view.refusal);
  const isLate = waitMs.value !== null && !view.value.safe;
  return versioned(context, view.value.version, render(view.value), isLate ? 202 : 200);
}
