import * as v from "valibot";
import {
  type BackendId,
  BackendIdSchema,
  type PoolName,
  PoolNameSchema,
  type RouteId,
  RouteIdSchema,
} from "../../../durable/model/names.ts";
import { DEFAULT_POOL_CONFIG, type PoolConfig } from "../../../durable/model/pool.ts";
import { type Route, RouteSchema } from "../../../durable/model/route.ts";
import type { Admits, Snapshot } from "../../../durable/model/snapshot.ts";
import { type EpochMs, epochMs } from "../../../durable/model/time.ts";
import type { HeldBackend, LiveRing } from "../../../durable/state/ring-state.ts";
import type { Candidate } from "../../../worker/core/policies/policy.ts";

/** A point in time to count from. */
export const NOON: EpochMs = epochMs(1_800_000_000_000);

export function poolName(name: string): PoolName {
  return v.parse(PoolNameSchema, name);
}

export function backendId(id: string): BackendId {
  return v.parse(BackendIdSchema, id);
}

export function routeId(id: string): RouteId {
  return v.parse(RouteIdSchema, id);
}

/** Candidates by weight: `{ a: 5, b: 1 }`. */
export function candidates(weights: Readonly<Record<string, number>>): readonly Candidate[] {
  return Object.entries(weights).map(([id, weight]) => ({ id: backendId(id), weight }));
}

/** What is said of a backend: its weight, or more. */
type Told = number | Partial<Omit<HeldBackend, "id">>;

function heldBackend(id: string, told: Told): HeldBackend {
  return {
    id: backendId(id),
    url: `https://${id}.example`,
    weight: 1,
    via: null,
    labels: {},
    admin: { kind: "active" },
    isDrained: false,
    ...(typeof told === "number" ? { weight: told } : told),
  };
}

/** A pool as the ring holds it: `pool({ a: 5, b: { weight: 2, admin: { kind: "disabled" } } })`. */
export function pool(
  backends: Readonly<Record<string, Told>> = {},
  config: Partial<PoolConfig> = {},
): LiveRing {
  return {
    kind: "live",
    pool: poolName("shop"),
    incarnation: "first-life",
    version: 7,
    secret: "000102030405060708090a0b0c0d0e0f",
    config: { ...DEFAULT_POOL_CONFIG, ...config },
    backends: Object.entries(backends).map(([id, told]) => heldBackend(id, told)),
  };
}

/** A snapshot, by what each backend admits or how much it weighs: `snapshot({ a: 5, b: "sticky" })`. */
export function snapshot(
  backends: Readonly<Record<string, number | Admits>>,
  changed: Partial<Snapshot> = {},
): Snapshot {
  return {
    pool: poolName("shop"),
    incarnation: "first-life",
    version: 1,
    secret: "000102030405060708090a0b0c0d0e0f",
    config: DEFAULT_POOL_CONFIG,
    backends: Object.entries(backends).map(([id, told]) => ({
      id: backendId(id),
      url: `https://${id}.example`,
      weight: typeof told === "number" ? told : 1,
      via: null,
      admits: typeof told === "number" ? "new" : told,
    })),
    ...changed,
  };
}

/** A complete route; what is left out is at its default. */
export function route(id: string, told: Readonly<Record<string, unknown>> = {}): Route {
  return v.parse(RouteSchema, { id, pool: "shop", ...told });
}
