import { Hono } from "hono";
import { DrainLabelledSchema, LabelledSchema } from "../../durable/model/drain.ts";
import type { AdminContext } from "./context.ts";
import { apply, withBody } from "./pool-requests.ts";

/** Drains of all backends that have a label, below `/pools`. */
export const drains = new Hono<AdminContext>()
  .post("/:pool/drain", (context) =>
    withBody(context, DrainLabelledSchema, (pool, drain) =>
      apply(context, pool, { kind: "drain-labelled", ...drain }),
    ),
  )
  .post("/:pool/undrain", (context) =>
    withBody(context, LabelledSchema, (pool, labelled) =>
      apply(context, pool, { kind: "undrain-labelled", ...labelled }),
    ),
  );
