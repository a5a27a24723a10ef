import * as v from "valibot";
import { integer, list, record } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import { PoolNameSchema } from "./names.ts";
import { PoolDocumentSchema } from "./pool.ts";
import { RouteSchema } from "./route.ts";

const VersionSchema = integer(1, Number.MAX_SAFE_INTEGER);

const RoutesSchema = list(RouteSchema, LIMITS.routes);

/** What of a past state of the directory can hold again: its routes. */
export const PastRoutesSchema = v.object({ routes: RoutesSchema });

const ListedPoolSchema = record({
  name: PoolNameSchema,
  /** The version that the document was made from: where the pool has another one by now, it is not changed. Default: any. */
  version: v.optional(VersionSchema),
  /** As `PUT /pools/POOL` takes it. Required. */
  document: PoolDocumentSchema,
});

/** All that operators can say: the routes, and every pool. What is not in it is to be removed. */
export const DirectoryDocumentSchema = record({
  /** Of the directory: as `version` of a pool, for routes and the list of pools. Default: any. */
  version: v.optional(VersionSchema),
  /** Required, so that a document that was cut short removes nothing. */
  routes: RoutesSchema,
  /** Required. */
  pools: list(ListedPoolSchema, LIMITS.pools),
});
export type DirectoryDocument = v.InferOutput<typeof DirectoryDocumentSchema>;
