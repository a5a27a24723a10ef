import * as v from "valibot";
import { LabelNameSchema, LabelValueSchema } from "./backend.ts";
import { integer, record } from "./fields.ts";
import { LIMITS } from "./limits.ts";

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

/** What may be forced: to take a backend away, or to disable it. */
export const ForcibleSchema = record(forcibleEntries);

/** A drain of one backend. */
export const DrainSchema = record(drainEntries);

/** A drain of all backends that have a label. */
export const DrainLabelledSchema = record({ ...labelEntries, ...drainEntries });

/** All backends that have a label. */
export const LabelledSchema = record(labelEntries);
