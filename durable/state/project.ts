import * as v from "valibot";
import { type BackendId, BackendIdSchema } from "../model/names.ts";
import type { Admits, Snapshot, SnapshotTokens, TokenConfig } from "../model/snapshot.ts";
import type { HeldBackend, HeldTokens, LiveRing } from "./ring-state.ts";
import { type HeldConfig, writingConfig } from "./token-configs.ts";

/** The label that regional tokens show of. */
const REGION: BackendId = v.parse(BackendIdSchema, "region");

/** What a backend may be sent: the one place where what is wanted of it becomes what it admits. */
export function projectAdmits(backend: HeldBackend): Admits {
  switch (backend.admin.kind) {
    case "active":
      return backend.weight === 0 ? "sticky" : "new";
    case "draining":
      return backend.isDrained ? "none" : "sticky";
    case "disabled":
      return "none";
  }
}

/** The part of the world a backend says it is in, by its label `region`; null when it does not say. */
export function regionOf(backend: HeldBackend): string | null {
  return backend.labels[REGION] ?? null;
}

/** The view of a pool that isolates route from. */
export function projectSnapshot(ring: LiveRing): Snapshot {
  return {
    pool: ring.pool,
    incarnation: ring.incarnation,
    version: ring.version,
    secret: ring.secret,
    config: ring.config,
    tokens: projectTokens(ring.tokens),
    backends: ring.backends.map((backend) => ({
      id: backend.id,
      url: backend.url,
      weight: backend.weight,
      via: backend.via,
      admits: projectAdmits(backend),
      serverId: backend.serverId,
      addedMs: backend.addedMs,
      region: regionOf(backend),
    })),
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
