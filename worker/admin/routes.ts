import { type Context, Hono } from "hono";
import type { DirectoryChange } from "../../durable/model/command.ts";
import { record } from "../../durable/model/fields.ts";
import { RouteIdSchema } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import { invalid } from "../../durable/model/refusal.ts";
import { ok, type Result, refuse } from "../../durable/model/result.ts";
import { RouteInputSchema, RoutePatchSchema } from "../../durable/model/route.ts";
import type { DirectoryView } from "../../durable/model/view.ts";
import { DIRECTORY_NAME, readObject } from "../edge/ring-client.ts";
import { refused, versioned } from "./answer.ts";
import { changeDirectory, showDirectoryChange } from "./change.ts";
import { type AdminContext, readBody, readPrecondition } from "./context.ts";
import { type Publisher, readWait, written } from "./wait.ts";

type RouteContext = Context<AdminContext>;

/** Routes. Their version is the directory's. */
export const routes = new Hono<AdminContext>()
  .get("/", (context) =>
    withView(context, (view) => versioned(context, view.version, { routes: view.routes })),
  )
  .get("/:route", (context) =>
    withView(context, (view) => {
      const id = context.req.param("route");
      const route = view.routes.find((candidate) => candidate.id === id);
      return route === undefined
        ? refused(context, { kind: "not-found", detail: `there is no route ${id}` })
        : versioned(context, view.version, route);
    }),
  )
  .put("/:route", async (context) => {
    const body = readBody(context, RouteInputSchema);
    if (!body.ok) return refused(context, body.refusal);
    return change(context, (id) => ({ kind: "put-route", id, route: body.value }));
  })
  .patch("/:route", async (context) => {
    const body = readBody(context, RoutePatchSchema);
    if (!body.ok) return refused(context, body.refusal);
    return change(context, (id) => ({ kind: "patch-route", id, patch: body.value }));
  })
  .delete("/:route", async (context) => {
    const body = readBody(context, record({}));
    if (!body.ok) return refused(context, body.refusal);
    return change(context, (id) => ({ kind: "remove-route", id }));
  });

type RouteId = Extract<DirectoryChange["command"], { readonly kind: "put-route" }>["id"];

async function change(
  context: RouteContext,
  command: (id: RouteId) => DirectoryChange["command"],
): Promise<Response> {
  const id = readId(context);
  if (!id.ok) return refused(context, id.refusal);
  const precondition = readPrecondition(context);
  if (!precondition.ok) return refused(context, precondition.refusal);
  const waitMs = readWait(context);
  if (!waitMs.ok) return refused(context, waitMs.refusal);
  const asked = [context, command(id.value), precondition.value] as const;
  if (context.get("isDryRun")) return showDirectoryChange(...asked);
  const applied = await changeDirectory(...asked);
  return applied.ok
    ? written(context, directoryOf(context), applied.value, waitMs.value)
    : refused(context, applied.refusal);
}

/** The directory, which publishes the routes. */
export function directoryOf({ env }: RouteContext): Publisher {
  return { namespace: env.DIRECTORY, name: DIRECTORY_NAME };
}

function readId(context: RouteContext): Result<RouteId> {
  const sent = context.req.param("route");
  const id = parse(RouteIdSchema, sent);
  if (id.ok) return ok(id.value);
  return id.refusal.kind === "invalid" ? refuse(invalid("route", sent, id.refusal.errors[0].range)) : id;
}

async function withView(context: RouteContext, show: (view: DirectoryView) => Response): Promise<Response> {
  const view = await readObject<DirectoryView>(context.env.DIRECTORY, DIRECTORY_NAME, "view");
  return view.ok ? show(view.value) : refused(context, view.refusal);
}
