import type { Admits, Snapshot } from "../model/snapshot.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";

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

/** The view of a pool that isolates route from. */
export function projectSnapshot(ring: LiveRing): Snapshot {
  return {
    pool: ring.pool,
    incarnation: ring.incarnation,
    version: ring.version,
    secret: ring.secret,
    config: ring.config,
    backends: ring.backends.map((backend) => ({
      id: backend.id,
      url: backend.url,
      weight: backend.weight,
      via: backend.via,
      admits: projectAdmits(backend),
    })),
  };
}
