import { Hono } from "hono";
import * as v from "valibot";
import type { EventsRequest, EventsView } from "../../durable/model/event.ts";
import { digits, record } from "../../durable/model/fields.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { type PoolName, PoolNameSchema } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import { PoolDocumentSchema, PoolPatchSchema } from "../../durable/model/pool.ts";
import type { QuicLbExport } from "../../durable/model/quic-lb-export.ts";
import type { Refusal } from "../../durable/model/refusal.ts";
import type { DirectoryView, PoolView } from "../../durable/model/view.ts";
import { callObject, DIRECTORY_NAME, readObject } from "../edge/ring-client.ts";
import { refused, versioned } from "./answer.ts";
import { backends } from "./backends.ts";
import { changeDirectory, changePool, isThere, putDocument } from "./change.ts";
import { type AdminContext, noPoolNamed, readName, readPrecondition } from "./context.ts";
import { drains } from "./drains.ts";
import { takeNoDryRun } from "./dry-run.ts";
import { checkWebhooks } from "./origins.ts";
import {
  apply,
  NothingSchema,
  type PoolContext,
  ringOf,
  withBody,
  withStatus,
  withView,
} from "./pool-requests.ts";
import { showReceipts } from "./receipts.ts";
import { readWait, showConvergence, written } from "./wait.ts";

/** Which events. */
export const EventsQuerySchema = record({
  after: v.optional(
    v.pipe(digits(0, Number.MAX_SAFE_INTEGER), v.description("the id of the last event one has")),
    "0",
  ),
  limit: v.optional(digits(1, LIMITS.eventsPerAnswer), "100"),
});

/** Pools. */
export const pools = new Hono<AdminContext>()
  .get("/", async (context) => {
    const view = await readObject<DirectoryView>(context.env.DIRECTORY, DIRECTORY_NAME, "view");
    return view.ok ? context.json({ pools: view.value.pools }) : refused(context, view.refusal);
  })
  .get("/:pool", (context) => withView(context, (view) => versioned(context, view.version, view.document)))
  .put("/:pool", putPool)
  .patch("/:pool", (context) =>
    withBody(context, PoolPatchSchema, (pool, patch) => {
      const wrong = checkWebhooks(context, patch["health"]);
      return wrong === null ? apply(context, pool, { kind: "patch-pool", patch }) : refused(context, wrong);
    }),
  )
  .delete("/:pool", deletePool)
  .get("/:pool/status", (context) =>
    withStatus(context, (status) => versioned(context, status.version, status)),
  )
  .get("/:pool/convergence", async (context) => {
    const name = readName(context, "pool", PoolNameSchema);
    if (!name.ok) return refused(context, name.refusal);
    const shown = await showConvergence(context, ringOf(context, name.value));
    return shown.ok ? shown.value : refused(context, noPoolNamed(name.value, shown.refusal));
  })
  .get("/:pool/receipts", showReceipts)
  .get("/:pool/events", showEvents)
  .get("/:pool/tokens", (context) =>
    withStatus(context, (status) => versioned(context, status.version, status.tokens)),
  )
  .post("/:pool/tokens/rotate", (context) =>
    withBody(context, NothingSchema, (pool) => apply(context, pool, { kind: "rotate-keys" })),
  )
  // No GET, so that a viewer, who may only read, does not get the keys.
  .post("/:pool/tokens/quic-lb-export", takeNoDryRun, (context) =>
    withBody(context, NothingSchema, async (pool) => {
      const exported = await callObject<QuicLbExport>(context.env.RING, pool, "exportTokens", {});
      return exported.ok
        ? context.json(exported.value)
        : refused(context, noPoolNamed(pool, exported.refusal));
    }),
  )
  .route("/", drains)
  .route("/:pool/backends", backends);

/** Makes the pool as the document says, whatever it was before, and answers with the differences. */
async function putPool(context: PoolContext): Promise<Response> {
  return withBody(context, PoolDocumentSchema, (pool, document) => putDocument(context, pool, document));
}

/**
 * Deletes a pool that no route uses, which only the directory can say, so it goes first. A pool that turns out to have
 * changed since the caller read it is listed again; and so is one of which nobody knows whether it is gone, so that deleting it
 * again helps.
 */
async function deletePool(context: PoolContext): Promise<Response> {
  return withBody(context, NothingSchema, async (pool) => {
    const waitMs = readWait(context);
    if (!waitMs.ok) return refused(context, waitMs.refusal);
    const stale = await isStale(context, pool);
    if (stale !== null) return refused(context, stale);
    const unlisted = await changeDirectory(context, { kind: "remove-pool", name: pool });
    if (!unlisted.ok) return refused(context, unlisted.refusal);
    if (context.get("isDryRun")) return apply(context, pool, { kind: "delete-pool" });
    const relist = () => changeDirectory(context, { kind: "add-pool", name: pool });
    const deleted = await changePool(context, pool, { kind: "delete-pool" }).catch(async (error: unknown) => {
      await relist();
      throw error;
    });
    if (deleted.ok) return written(context, ringOf(context, pool), deleted.value, waitMs.value);
    if (isThere(deleted.refusal)) await relist();
    return refused(context, deleted.refusal);
  });
}

/** Whether the caller's precondition is wrong already, so that nothing needs to be touched to find out. */
async function isStale(context: PoolContext, pool: PoolName): Promise<Refusal | null> {
  const precondition = readPrecondition(context);
  if (!precondition.ok) return precondition.refusal;
  const { ifMatch, ifAbsent } = precondition.value;
  const wanted = ifMatch === "*" ? null : ifMatch;
  if (wanted === null && !ifAbsent) return null;
  const view = await readObject<PoolView>(context.env.RING, pool, "view");
  if (!view.ok) return null;
  const actual = String(view.value.version);
  if (ifAbsent) return { kind: "stale-version", expected: "none", actual };
  if (wanted === null || wanted.includes(view.value.version)) return null;
  return { kind: "stale-version", expected: wanted.join(" or "), actual };
}

async function showEvents(context: PoolContext): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const query = parse(EventsQuerySchema, context.req.query());
  if (!query.ok) return refused(context, query.refusal);
  const asked: EventsRequest = query.value;
  const view = await callObject<EventsView>(context.env.RING, name.value, "events", asked);
  return view.ok ? context.json(view.value) : refused(context, noPoolNamed(name.value, view.refusal));
}
