import { Hono } from "hono";
import * as v from "valibot";
import { LabelNameSchema, LabelValueSchema } from "../../durable/model/backend.ts";
import { integer, record } from "../../durable/model/fields.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import type { AdminContext } from "./context.ts";
import { apply, withBody } from "./pool-requests.ts";

const forcibleEntries = {
  /** Also if nobody is left to take new traffic. Default false: it is refused then. */
  force: v.optional(v.boolean("must be true or false"), false),
};
const drainEntries = {
  /** How long existing sessions may stay, milliseconds; 0: not at all. Default null: the pool's `drainMs`. */
  forMs: v.optional(v.nullable(integer(0, LIMITS.maxDrainMs)), null),
  ...forcibleEntries,
};
const labelEntries = { label: LabelNameSchema, value: LabelValueSchema };

export const ForcibleSchema = record(forcibleEntries);
export const DrainSchema = record(drainEntries);
const DrainLabelledSchema = record({ ...labelEntries, ...drainEntries });
const LabelledSchema = record(labelEntries);

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
