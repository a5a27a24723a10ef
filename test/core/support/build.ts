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
import type { Admits, Snapshot, SnapshotBackend, TokenConfig } from "../../../durable/model/snapshot.ts";
import { type EpochMs, epochMs } from "../../../durable/model/time.ts";
import { unobserved } from "../../../durable/state/health.ts";
import type { HeldBackend, LiveRing } from "../../../durable/state/ring-state.ts";
import { noStops } from "../../../durable/state/stops.ts";
import type { HeldConfig, Moment } from "../../../durable/state/token-configs.ts";
import { Availability } from "../../../worker/core/availability.ts";
import type { Wait } from "../../../worker/core/latency.ts";
import type { Candidate } from "../../../worker/core/policies/policy.ts";
import { SubChannel } from "../../../worker/core/sub-channel.ts";

/** A point in time to count from. */
export const NOON: EpochMs = epochMs(1_800_000_000_000);

/** An attempt of no duration, at noon. */
export const AT_ONCE: Wait = { waitedMs: 0, timeoutMs: 15_000, isUnhindered: true, nowMs: NOON };

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

/** The one token configuration of the pools and snapshots made here. */
export const TOKEN_CONFIG: TokenConfig = {
  id: 0,
  generator: "encrypted",
  serverIdBytes: 4,
  nonceBytes: 12,
  key: "101112131415161718191a1b1c1d1e1f",
  macKey: "202122232425262728292a2b2c2d2e2f",
};

/** A moment at which nobody holds a lease, so that every version governs. */
export function moment(nowMs: EpochMs, changed: Partial<Moment> = {}): Moment {
  const keys = { key: "30".repeat(16), macKey: "40".repeat(16) };
  return { nowMs, longestLeaseMs: 0, governsAtMs: () => nowMs, keys, ...changed };
}

/** What is said of a backend: its weight, or more. */
type Told = number | Partial<Omit<HeldBackend, "id">>;

function heldBackend(id: string, told: Told, serverId: number): HeldBackend {
  return {
    id: backendId(id),
    url: `https://${id}.example`,
    weight: 1,
    via: null,
    labels: {},
    priority: 0,
    servingSinceMs: epochMs(0),
    pin: null,
    observed: unobserved(DEFAULT_POOL_CONFIG.health, epochMs(0)),
    admin: { kind: "active" },
    isDrained: false,
    addedMs: epochMs(0),
    serverId,
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
    tokens: {
      configs: [WRITING],
      reserved: [],
      resting: { serverIds: [], codepoints: [] },
      issuedUntilMs: epochMs(0),
    },
    stops: noStops(epochMs(0)),
    backends: Object.entries(backends).map(([id, told], index) => heldBackend(id, told, index)),
  };
}

const WRITING: HeldConfig = { ...TOKEN_CONFIG, phase: { kind: "writing" }, createdMs: NOON };

/** What is said of a backend in a snapshot: its weight, what it admits, or more. */
type ToldSnapshot = number | Admits | Partial<Omit<SnapshotBackend, "id">>;

/** A snapshot, by what each backend admits or how much it weighs, or more: `snapshot({ a: 5, b: "sticky", c: { tier: 1 } })`. */
export function snapshot(
  backends: Readonly<Record<string, ToldSnapshot>>,
  changed: Partial<Snapshot> = {},
): Snapshot {
  return {
    pool: poolName("shop"),
    incarnation: "first-life",
    version: 1,
    secret: "000102030405060708090a0b0c0d0e0f",
    config: DEFAULT_POOL_CONFIG,
    tokens: { writeId: TOKEN_CONFIG.id, configs: [TOKEN_CONFIG], removed: [] },
    tiers: [{ priority: 0, isDegraded: false, sharePercent: 100, isPanicking: false }],
    backends: Object.entries(backends).map(([id, told], index) => snapshotBackend(id, told, index)),
    ...changed,
  };
}

function snapshotBackend(id: string, told: ToldSnapshot, serverId: number): SnapshotBackend {
  return {
    id: backendId(id),
    url: `https://${id}.example`,
    weight: 1,
    via: null,
    admits: "new",
    tier: 0,
    servingSinceMs: epochMs(0),
    isEjected: false,
    isLastResort: false,
    labels: {},
    addedMs: epochMs(0),
    serverId,
    region: null,
    ...(typeof told === "number" ? { weight: told } : typeof told === "string" ? { admits: told } : told),
  };
}

/** A sub-channel of a pool whose configuration differs so from the defaults. */
export function subChannel(backend: SnapshotBackend, config: Partial<PoolConfig> = {}): SubChannel {
  return new SubChannel(backend, { ...DEFAULT_POOL_CONFIG, ...config }, new Availability());
}

/** A complete route; what is left out is at its default. */
export function route(id: string, told: Readonly<Record<string, unknown>> = {}): Route {
  const destination = told["split"] === undefined ? { pool: "shop" } : {};
  return v.parse(RouteSchema, { id, ...destination, ...told });
}
