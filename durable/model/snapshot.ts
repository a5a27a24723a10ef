import type { BackendId, PoolName } from "./names.ts";
import type { PoolConfig } from "./pool.ts";
import type { Route } from "./route.ts";

/**
 * What a backend may be sent. `new`: anything. `sticky`: only requests bound to it. `none`: nothing. Derived from what
 * the operator wants and what is observed, in `state/project.ts` and nowhere else.
 */
export type Admits = "new" | "sticky" | "none";

/** A backend as an isolate routes to it. */
export interface SnapshotBackend {
  readonly id: BackendId;
  /** Without trailing slash. */
  readonly url: string;
  readonly weight: number;
  readonly via: string | null;
  readonly admits: Admits;
}

/** One version of a document that isolates hold under a lease. */
export interface Versioned {
  /** Names one life of the object that publishes it; a re-created or restored one has another. */
  readonly incarnation: string;
  /** Grows by one with every change. */
  readonly version: number;
}

/** The immutable view of one pool from which an isolate routes. */
export interface Snapshot extends Versioned {
  readonly pool: PoolName;
  /** 32 hexadecimal digits: the key of every hash made for this pool, so that clients cannot aim at a backend. */
  readonly secret: string;
  readonly config: PoolConfig;
  readonly backends: readonly SnapshotBackend[];
}

/** The immutable view of the directory from which an isolate finds the pool. */
export interface RoutingTable extends Versioned {
  /** Names this deployment in `Via` and `CDN-Loop`: `ringmaster-1f2e3d4c`. */
  readonly deployment: string;
  readonly routes: readonly Route[];
}
