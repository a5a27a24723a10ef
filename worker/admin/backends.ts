import { Hono } from "hono";
import { BackendInputSchema, BackendPatchSchema } from "../../durable/model/backend.ts";
import { DrainSchema, ForcibleSchema } from "../../durable/model/drain.ts";
import { PinInputSchema } from "../../durable/model/health.ts";
import { refused, versioned } from "./answer.ts";
import type { AdminContext } from "./context.ts";
import { checkOrigin, checkPatchedOrigin } from "./origins.ts";
import { apply, NothingSchema, type PoolContext, withBackendBody, withView } from "./pool-requests.ts";
import { showReceipt } from "./receipts.ts";

/** The backends of a pool, below `/pools/:pool/backends`. */
export const backends = new Hono<AdminContext>()
  .get("/", (context) =>
    withView(context, (view) => versioned(context, view.version, { backends: view.document.backends })),
  )
  .get("/:backend", (context) =>
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
  .put("/:backend", (context) =>
    withBackendBody(context, BackendInputSchema, (pool, id, backend) => {
      const wrong = checkOrigin(context, "", backend);
      return wrong === null
        ? apply(context, pool, { kind: "put-backend", id, backend })
        : refused(context, wrong);
    }),
  )
  .patch("/:backend", (context) =>
    withBackendBody(context, BackendPatchSchema, async (pool, id, patch) => {
      const wrong = await checkPatchedOrigin(context, pool, id, patch);
      return wrong === null
        ? apply(context, pool, { kind: "patch-backend", id, patch })
        : refused(context, wrong);
    }),
  )
  .delete("/:backend", (context) =>
    withBackendBody(context, ForcibleSchema, (pool, id, { force }) =>
      apply(context, pool, { kind: "remove-backend", id, force }),
    ),
  )
  .get("/:backend/receipt", showReceipt)
  .post("/:backend/drain", (context) =>
    withBackendBody(context, DrainSchema, (pool, id, { forMs, force }) =>
      apply(context, pool, { kind: "drain-backend", id, forMs: forMs ?? null, force }),
    ),
  )
  .put("/:backend/pin", (context) =>
    withBackendBody(context, PinInputSchema, (pool, id, pin) =>
      apply(context, pool, { kind: "pin-backend", id, pin }),
    ),
  )
  .delete("/:backend/pin", (context) => act(context, "unpin-backend"))
  .post("/:backend/undrain", (context) => act(context, "undrain-backend"))
  .post("/:backend/disable", (context) =>
    withBackendBody(context, ForcibleSchema, (pool, id, { force }) =>
      apply(context, pool, { kind: "disable-backend", id, force }),
    ),
  )
  .post("/:backend/enable", (context) => act(context, "enable-backend"));

function act(
  context: PoolContext,
  kind: "undrain-backend" | "enable-backend" | "unpin-backend",
): Promise<Response> {
  return withBackendBody(context, NothingSchema, (pool, id) => apply(context, pool, { kind, id }));
}
