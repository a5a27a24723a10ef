import * as v from "valibot";

const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;
const NAME_RANGE =
  "must be 1…63 characters of a-z, 0-9, '.', '_' or '-', beginning and ending with a letter or digit";

function nameSchema<const Brand extends string>(brand: Brand) {
  return v.pipe(v.string(NAME_RANGE), v.regex(NAME, NAME_RANGE), v.brand(brand));
}

/**
 * Name of a pool. It is also the name of the Durable Object that holds its ring; 63 characters at most keep it from
 * being taken for a hexadecimal object id, which has 64.
 */
export const PoolNameSchema = nameSchema("PoolName");
export type PoolName = v.InferOutput<typeof PoolNameSchema>;

/** Chosen, stable id of a backend within its pool. Weight and URL may change under it. */
export const BackendIdSchema = nameSchema("BackendId");
export type BackendId = v.InferOutput<typeof BackendIdSchema>;

/** Chosen, stable id of a route. */
export const RouteIdSchema = nameSchema("RouteId");
export type RouteId = v.InferOutput<typeof RouteIdSchema>;

/** Takes everything when no route is defined. */
export const DEFAULT_POOL: PoolName = v.parse(PoolNameSchema, "default");
