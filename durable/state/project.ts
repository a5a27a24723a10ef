import * as v from "valibot";
import { type BackendId, BackendIdSchema } from "../model/names.ts";
import type {
  Admits,
  Snapshot,
  SnapshotBackend,
  SnapshotTokens,
  Tier,
  TokenConfig,
} from "../model/snapshot.ts";
import { healthOf, isStopping, isWanted } from "./health.ts";
import type { HeldBackend, HeldTokens, LiveRing } from "./ring-state.ts";
import { projectTiers } from "./tiers.ts";
import { type HeldConfig, writingConfig } from "./token-configs.ts";

/** The label that regional tokens show of. */
const REGION: BackendId = v.parse(BackendIdSchema, "region");

/**
 * What a backend may be sent: the one place where what is wanted and what is observed become what it admits. Where its
 * tier panics, health counts for nothing, and neither does that it asked for no new sessions.
 */
export function projectAdmits(backend: HeldBackend, isPanicking: boolean): Admits {
  if (isPanicking && isWanted(backend)) return "new";
  return healthOf(backend) === "unhealthy" ? "none" : admitsIfWell(backend);
}

function admitsIfWell(backend: HeldBackend): Admits {
  switch (backend.admin.kind) {
    case "active":
      return backend.weight === 0 || isStopping(backend) ? "sticky" : "new";
    case "draining":
      return backend.isDrained ? "none" : "sticky";
    case "disabled":
      return "none";
  }
}

/** Index of the tier that a backend is in; of the first where it takes no new traffic anyway. */
function tierOf(backend: HeldBackend, tiers: readonly Tier[]): number {
  const isDegraded = healthOf(backend) === "degraded";
  const index = tiers.findIndex(
    (tier) => tier.priority === backend.priority && (tier.isPanicking || tier.isDegraded === isDegraded),
  );
  return Math.max(0, index);
}

/** The part of the world a backend says it is in, by its label `region`; null when it does not say. */
export function regionOf(backend: HeldBackend): string | null {
  return backend.labels[REGION] ?? null;
}

/** The view of a pool that isolates route from. */
export function projectSnapshot(ring: LiveRing): Snapshot {
  const tiers = projectTiers(ring.backends, ring.config.tiers);
  return {
    pool: ring.pool,
    incarnation: ring.incarnation,
    version: ring.version,
    secret: ring.secret,
    config: ring.config,
    tokens: projectTokens(ring.tokens),
    tiers,
    backends: ring.backends.map((backend) => projectBackend(backend, tiers)),
  };
}

function projectBackend(backend: HeldBackend, tiers: readonly Tier[]): SnapshotBackend {
  const tier = tierOf(backend, tiers);
  const admits = projectAdmits(backend, tiers[tier]?.isPanicking ?? false);
  return {
    id: backend.id,
    url: backend.url,
    weight: backend.weight,
    via: backend.via,
    admits,
    tier,
    servingSinceMs: backend.servingSinceMs,
    isEjected: admits === "none" && admitsIfWell(backend) !== "none",
    isLastResort: admits === "none" && isWanted(backend) && backend.pin === null,
    labels: backend.labels,
    serverId: backend.serverId,
    addedMs: backend.addedMs,
    region: regionOf(backend),
  };
}

function projectTokens({ configs, reserved }: HeldTokens): SnapshotTokens {
  return {
    writeId: writingConfig(configs).id,
    configs: configs.map(toTokenConfig),
    removed: reserved.map(({ serverId, id }) => ({ serverId, id })),
  };
}

function toTokenConfig({ phase: _, createdMs: __, ...config }: HeldConfig): TokenConfig {
  return config;
}
