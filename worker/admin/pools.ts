import { type Context, Hono } from "hono";
import * as v from "valibot";
import { BackendInputSchema, BackendPatchSchema } from "../../durable/model/backend.ts";
import type { Applied, DirectoryChange, PoolChange, PoolCommand } from "../../durable/model/command.ts";
import type { EventsRequest, EventsView } from "../../durable/model/event.ts";
import { isFetcher } from "../../durable/model/fetcher.ts";
import { integer, record } from "../../durable/model/fields.ts";
import { PinInputSchema } from "../../durable/model/health.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { type BackendId, BackendIdSchema, type PoolName, PoolNameSchema } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import { PoolDocumentSchema, PoolPatchSchema } from "../../durable/model/pool.ts";
import type { QuicLbExport } from "../../durable/model/quic-lb-export.ts";
import { invalid, type Refusal } from "../../durable/model/refusal.ts";
import { type Result, refuse } from "../../durable/model/result.ts";
import type { DirectoryView, PoolStatus, PoolView } from "../../durable/model/view.ts";
import { whyUnfetchable } from "../core/address.ts";
import { callObject, DIRECTORY_NAME, readObject } from "../edge/ring-client.ts";

import { refused, versioned } from "./answer.ts";
import { type AdminContext, readBody, readPrecondition } from "./context.ts";

type PoolContext = Context<AdminContext>;

const DrainSchema = record({
  /** How long existing sessions may stay, milliseconds; 0: not at all. Default: the pool's `drainMs`. */
  forMs: v.optional(integer(0, LIMITS.maxDrainMs)),
});
const NothingSchema = record({});

/** `after`: the id of the last event one has. */
const EventsQuerySchema = record({
  after: v.optional(digits(0, Number.MAX_SAFE_INTEGER), "0"),
  limit: v.optional(digits(1, LIMITS.eventsPerAnswer), "100"),
});

/** Pools and their backends. */
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
  .get("/:pool/events", showEvents)
  .get("/:pool/tokens", (context) =>
    withStatus(context, (status) => versioned(context, status.version, status.tokens)),
  )
  .post("/:pool/tokens/rotate", (context) =>
    withBody(context, NothingSchema, (pool) => apply(context, pool, { kind: "rotate-keys" })),
  )
  // No GET, so that a viewer, who may only read, does not get the keys.
  .post("/:pool/tokens/quic-lb-export", (context) =>
    withBody(context, NothingSchema, async (pool) => {
      const exported = await callObject<QuicLbExport>(context.env.RING, pool, "exportTokens", {});
      return exported.ok
        ? context.json(exported.value)
        : refused(context, noPoolNamed(pool, exported.refusal));
    }),
  )
  .get("/:pool/backends", (context) =>
    withView(context, (view) => versioned(context, view.version, { backends: view.document.backends })),
  )
  .get("/:pool/backends/:backend", (context) =>
    withView(context, (view) => {
      const id = context.req.param("backend");
      const backend = view.document.backends.find((candidate) => candidate.id === id);
      return backend === undefined
        ? refused(context, {
            kind: "not-found",
            detail: `pool ${context.req.param("pool")} has no backend ${id}`,
          })
        : versioned(context, view.version, backend);
    }),
  )
  .put("/:pool/backends/:backend", (context) =>
    withBackendBody(context, BackendInputSchema, (pool, id, backend) => {
      const wrong = checkOrigin(context, "", backend);
      return wrong === null
        ? apply(context, pool, { kind: "put-backend", id, backend })
        : refused(context, wrong);
    }),
  )
  .patch("/:pool/backends/:backend", (context) =>
    withBackendBody(context, BackendPatchSchema, async (pool, id, patch) => {
      const wrong = await checkPatchedOrigin(context, pool, id, patch);
      return wrong === null
        ? apply(context, pool, { kind: "patch-backend", id, patch })
        : refused(context, wrong);
    }),
  )
  .delete("/:pool/backends/:backend", (context) =>
    withBackendBody(context, NothingSchema, (pool, id) =>
      apply(context, pool, { kind: "remove-backend", id }),
    ),
  )
  .post("/:pool/backends/:backend/drain", (context) =>
    withBackendBody(context, DrainSchema, (pool, id, { forMs }) =>
      apply(context, pool, { kind: "drain-backend", id, forMs: forMs ?? null }),
    ),
  )
  .put("/:pool/backends/:backend/pin", (context) =>
    withBackendBody(context, PinInputSchema, (pool, id, pin) =>
      apply(context, pool, { kind: "pin-backend", id, pin }),
    ),
  )
  .delete("/:pool/backends/:backend/pin", (context) => act(context, "unpin-backend"))
  .post("/:pool/backends/:backend/undrain", (context) => act(context, "undrain-backend"))
  .post("/:pool/backends/:backend/disable", (context) => act(context, "disable-backend"))
  .post("/:pool/backends/:backend/enable", (context) => act(context, "enable-backend"));

/** Makes the pool as the document says, whatever it was before, and answers with the differences. */
async function putPool(context: PoolContext): Promise<Response> {
  return withBody(context, PoolDocumentSchema, async (pool, document) => {
    for (const [index, backend] of document.backends.entries()) {
      const wrong = checkOrigin(context, `backends.${index}.`, backend);
      if (wrong !== null) return refused(context, wrong);
    }
    const wrongWebhook = checkWebhooks(context, document.health);
    if (wrongWebhook !== null) return refused(context, wrongWebhook);
    const precondition = readPrecondition(context);
    if (!precondition.ok) return refused(context, precondition.refusal);
    // The directory first: it knows how many pools there may be. A pool it lists in vain is taken off again.
    const listed = await changeDirectory(context, { kind: "add-pool", name: pool });
    if (!listed.ok) return refused(context, listed.refusal);
    const applied = await change(context, pool, { kind: "put-pool", document });
    if (applied.ok) return written(context, applied.value);
    if (listed.value.created) await changeDirectory(context, { kind: "remove-pool", name: pool });
    return refused(context, applied.refusal);
  });
}

/**
 * Deletes a pool that no route uses, which only the directory can say, so it goes first. A pool that turns out to have
 * changed since the caller read it is listed again.
 */
async function deletePool(context: PoolContext): Promise<Response> {
  return withBody(context, NothingSchema, async (pool) => {
    const stale = await isStale(context, pool);
    if (stale !== null) return refused(context, stale);
    const unlisted = await changeDirectory(context, { kind: "remove-pool", name: pool });
    if (!unlisted.ok) return refused(context, unlisted.refusal);
    const deleted = await change(context, pool, { kind: "delete-pool" });
    if (deleted.ok) return written(context, deleted.value);
    if (deleted.refusal.kind === "stale-version" && deleted.refusal.actual !== "none") {
      await changeDirectory(context, { kind: "add-pool", name: pool });
    }
    return refused(context, deleted.refusal);
  });
}

/** Whether the caller's precondition is wrong already, so that nothing needs to be touched to find out. */
async function isStale(context: PoolContext, pool: PoolName): Promise<Refusal | null> {
  const precondition = readPrecondition(context);
  if (!precondition.ok) return precondition.refusal;
  const { ifMatch } = precondition.value;
  if (ifMatch === null || ifMatch === "*") return null;
  const view = await readObject<PoolView>(context.env.RING, pool, "view");
  if (!view.ok || ifMatch.includes(view.value.version)) return null;
  return { kind: "stale-version", expected: ifMatch.join(" or "), actual: String(view.value.version) };
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

/** An integer as a query carries it. */
function digits(min: number, max: number) {
  const range = `must be an integer ${min}…${max}`;
  return v.pipe(v.string(range), v.regex(/^\d{1,16}$/, range), v.transform(Number), integer(min, max));
}

function act(
  context: PoolContext,
  kind: "undrain-backend" | "disable-backend" | "enable-backend" | "unpin-backend",
): Promise<Response> {
  return withBackendBody(context, NothingSchema, (pool, id) => apply(context, pool, { kind, id }));
}

async function apply(context: PoolContext, pool: PoolName, command: PoolCommand): Promise<Response> {
  const applied = await change(context, pool, command);
  return applied.ok ? written(context, applied.value) : refused(context, applied.refusal);
}

function written(context: PoolContext, applied: Applied): Response {
  return versioned(context, applied.version, applied, applied.created ? 201 : 200);
}

async function change(context: PoolContext, pool: PoolName, command: PoolCommand): Promise<Result<Applied>> {
  const precondition = readPrecondition(context);
  if (!precondition.ok) return precondition;
  const asked: PoolChange = { pool, command, precondition: precondition.value };
  return callObject<Applied>(context.env.RING, pool, "apply", asked);
}

function changeDirectory(
  context: PoolContext,
  command: DirectoryChange["command"],
): Promise<Result<Applied>> {
  const asked: DirectoryChange = { command, precondition: { ifMatch: null, ifAbsent: false } };
  return callObject<Applied>(context.env.DIRECTORY, DIRECTORY_NAME, "apply", asked);
}

async function withView(context: PoolContext, show: (view: PoolView) => Response): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const view = await readObject<PoolView>(context.env.RING, name.value, "view");
  return view.ok ? show(view.value) : refused(context, noPoolNamed(name.value, view.refusal));
}

async function withStatus(context: PoolContext, show: (status: PoolStatus) => Response): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const status = await readObject<PoolStatus>(context.env.RING, name.value, "status");
  return status.ok ? show(status.value) : refused(context, noPoolNamed(name.value, status.refusal));
}

async function withBody<const Schema extends v.GenericSchema>(
  context: PoolContext,
  schema: Schema,
  use: (pool: PoolName, body: v.InferOutput<Schema>) => Response | Promise<Response>,
): Promise<Response> {
  const name = readName(context, "pool", PoolNameSchema);
  if (!name.ok) return refused(context, name.refusal);
  const body = await readBody(context, schema);
  return body.ok ? use(name.value, body.value) : refused(context, body.refusal);
}

async function withBackendBody<const Schema extends v.GenericSchema>(
  context: PoolContext,
  schema: Schema,
  use: (pool: PoolName, id: BackendId, body: v.InferOutput<Schema>) => Response | Promise<Response>,
): Promise<Response> {
  const id = readName(context, "backend", BackendIdSchema);
  if (!id.ok) return refused(context, id.refusal);
  return withBody(context, schema, (pool, body) => use(pool, id.value, body));
}

function readName<const Schema extends v.GenericSchema>(
  context: PoolContext,
  parameter: string,
  schema: Schema,
): Result<v.InferOutput<Schema>> {
  const name = parse(schema, context.req.param(parameter));
  if (name.ok || name.refusal.kind !== "invalid") return name;
  const [{ value, range }] = name.refusal.errors;
  return refuse(invalid(parameter, value, range));
}

function noPoolNamed(name: PoolName, refusal: Refusal): Refusal {
  return refusal.kind === "not-found"
    ? { kind: "not-found", detail: `pool ${name} does not exist` }
    : refusal;
}

/** What is wrong with where a backend lives; null: nothing. A binding reaches hosts that plain fetch cannot. */
function checkOrigin(
  context: PoolContext,
  prefix: string,
  { url, via }: { readonly url: string; readonly via: string | null },
): Refusal | null {
  if (via !== null) {
    return isFetcher(context.env[via])
      ? null
      : invalid(`${prefix}via`, via, "must name a Fetcher binding of this worker");
  }
  if (context.get("settings").arePrivateBackendsAllowed) return null;
  const why = whyUnfetchable(url);
  return why === null ? null : invalid(`${prefix}url`, url, why);
}

/** Checks the origin as it would be after a patch that changes half of it. */
async function checkPatchedOrigin(
  context: PoolContext,
  pool: PoolName,
  id: BackendId,
  { url, via }: { readonly url?: string | undefined; readonly via?: string | null | undefined },
): Promise<Refusal | null> {
  if (url === undefined && via === undefined) return null;
  const view = await readObject<PoolView>(context.env.RING, pool, "view");
  const held = view.ok ? view.value.document.backends.find((backend) => backend.id === id) : undefined;
  // A backend that is not there is for the ring to refuse.
  if (held === undefined) return null;
  return checkOrigin(context, "", { url: url ?? held.url, via: via === undefined ? held.via : via });
}

/**
 * What is wrong with where a pool's webhooks live; null: nothing. `health` may be part of a patch, of which nothing is known
 * yet: what is no webhook is for the ring to refuse.
 */
function checkWebhooks(context: PoolContext, health: unknown): Refusal | null {
  if (context.get("settings").arePrivateBackendsAllowed) return null;
  const parsed = v.safeParse(WrittenWebhooksSchema, health);
  if (!parsed.success) return null;
  for (const [index, webhook] of parsed.output.webhooks.entries()) {
    const url = v.is(WrittenUrlSchema, webhook) ? webhook.url : null;
    if (url === null || !URL.canParse(url)) continue;
    const why = new URL(url).protocol === "https:" ? whyUnfetchable(url) : "must begin with https://";
    if (why !== null) return invalid(`health.webhooks.${index}.url`, url, why);
  }
  return null;
}

const WrittenWebhooksSchema = v.object({ webhooks: v.array(v.unknown()) });
const WrittenUrlSchema = v.object({ url: v.string() });
