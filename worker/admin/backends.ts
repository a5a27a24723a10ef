import { Hono } from "hono";
import { BackendInputSchema, type BackendPatch, BackendPatchSchema } from "../../durable/model/backend.ts";
import { DrainSchema, ForcibleSchema } from "../../durable/model/drain.ts";
import { PinInputSchema } from "../../durable/model/health.ts";
import type { BackendId, PoolName } from "../../durable/model/names.ts";
import { ok } from "../../durable/model/result.ts";
import { refused, versioned } from "./answer.ts";
import { type AdminContext, readPrecondition } from "./context.ts";
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
    withBackendBody(context, BackendPatchSchema, (pool, id, patch) => patchBackend(context, pool, id, patch)),
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

/** A patch is checked again where its pool has changed meanwhile, so often at most. */
const MAX_CHECKS = 5;

/**
 * Half of an origin may do with the other half that is there now, and not with what comes meanwhile. So a patch of one holds only
 * for the version of the pool that it was checked against.
 */
async function patchBackend(
  context: PoolContext,
  pool: PoolName,
  id: BackendId,
  patch: BackendPatch,
): Promise<Response> {
  const command = { kind: "patch-backend", id, patch } as const;
  const asked = readPrecondition(context);
  if (!asked.ok) return refused(context, asked.refusal);
  const { ifMatch, ifAbsent } = asked.value;
  const wanted = ifMatch === "*" ? null : ifMatch;
  for (let checks = 1; ; checks++) {
    const checked = await checkPatchedOrigin(context, pool, id, patch);
    if (!checked.ok) return refused(context, checked.refusal);
    const version = checked.value;
    if (version === null) return apply(context, pool, command);
    if (wanted !== null && !wanted.includes(version))
      return refused(context, {
        kind: "stale-version",
        expected: wanted.join(" or "),
        actual: String(version),
      });
    const answer = await apply(context, pool, command, ok({ ifMatch: [version], ifAbsent }));
    // Where the caller named a version, it is that one which has gone.
    if (answer.status !== 412 || wanted !== null || ifAbsent || checks === MAX_CHECKS) return answer;
  }
}
