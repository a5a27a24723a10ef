import * as v from "valibot";
import { list } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import { RouteSchema } from "./route.ts";

/** What of a past state of the directory can hold again: its routes. */
export const PastRoutesSchema = v.object({ routes: list(RouteSchema, LIMITS.routes) });
