import type { AdminState } from "./backend.ts";
import type { Applied } from "./command.ts";
import type { BackendId, PoolName } from "./names.ts";
import type { Route } from "./route.ts";
import type { Snapshot } from "./snapshot.ts";
import type { EpochMs } from "./time.ts";
import type { LostRule } from "./token.ts";
import type { EstimatedSessions } from "./view.ts";

/** A change of a pool that was carried out on paper: all that a preview is made of. It holds keys, so no client may see it. */
export interface Rehearsal {
  readonly nowMs: EpochMs;
  /** The version that the change was held against; null: there is no pool yet. */
  readonly basedOn: number | null;
  /** What the change would answer. */
  readonly applied: Applied;
  /** Null: there is no pool. */
  readonly before: RehearsedPool | null;
  readonly after: RehearsedPool | null;
  /** Of the backends before. */
  readonly sessions: readonly { readonly id: BackendId; readonly estimated: EstimatedSessions }[];
}

/** A pool before or after a change. */
export interface RehearsedPool {
  readonly snapshot: Snapshot;
  readonly admin: readonly { readonly id: BackendId; readonly admin: AdminState }[];
  /** Server ids that every live token configuration has room for. */
  readonly freeServerIds: number;
}

/** Of new traffic, percent: 0…100. All backends together have 100, or 0 where nobody takes any. */
export interface BackendShare {
  readonly id: BackendId;
  readonly before: number;
  readonly after: number;
  /** When slow start is over. */
  readonly settled: number;
}

/**
 * Why sessions move. `removed`: their backend is gone, with or without its pool. `drained`: their backend's drain is over.
 * `disabled`, `ejected`: it admits nothing any more. `repinned`: they are so old, or have sent so many requests, that a
 * backend that came later takes them over. `returned`: they are elsewhere for a time, and go home. `rehashed`: they are
 * elsewhere for a time, and are led to another backend there, or to none. `unbound`: the pool looks for their tokens no more, or elsewhere.
 */
export type MoveCause =
  | "removed"
  | "drained"
  | "disabled"
  | "ejected"
  | "repinned"
  | "returned"
  | "rehashed"
  | "unbound";

/** Sessions of one backend that a change moves. */
export interface SessionMove {
  /** Whose sessions they are. */
  readonly backend: BackendId;
  readonly cause: MoveCause;
  /** How many, as estimated; of `repinned` at most so many. */
  readonly sessions: number;
  /** Since when sessions were counted; none may be known of a backend whose pool's object has just restarted. */
  readonly countedSinceMs: EpochMs;
  /** What the pool does with sessions that are lost so; null: they are not lost. */
  readonly rule: LostRule | null;
  /** The first may move then. */
  readonly fromMs: EpochMs;
  /** All have moved by then, as far as they come; null: nobody knows. */
  readonly untilMs: EpochMs | null;
}

/**
 * What to think about before a change is made. `nobody_admits_new`: no backend takes new traffic. `capacity_halved`: those
 * that do, in panic or not, have less than half of the weight they had. `panic`: too few of a priority are well, so its health is ignored.
 * `no_fallback_pool`: the fallback pool does not exist. `server_ids_used_up`: no backend can be added after this one.
 */
export type GuardKind =
  | "nobody_admits_new"
  | "capacity_halved"
  | "panic"
  | "no_fallback_pool"
  | "server_ids_used_up";

/** A guard that does not hold after a change. */
export interface BrokenGuard {
  readonly guard: GuardKind;
  readonly detail: string;
  /** It does not hold before the change either. */
  readonly wasBroken: boolean;
}

/** What a change of a pool would do, and nothing of it is done. */
export interface PoolPreview extends Omit<Applied, "version"> {
  /** The version it is based on, for `If-Match`; null: there is no pool yet, for `If-None-Match: *`. */
  readonly version: number | null;
  /** The version that the pool would have. */
  readonly nextVersion: number;
  /** When this holds: shares change with slow start. */
  readonly atMs: EpochMs;
  readonly shares: readonly BackendShare[];
  /**
   * Of what the pool leads by hashing, percent, that is led elsewhere or no more; null: the pool leads nothing by hashing. Of
   * connections it is the share of those that isolates do not remember; the others stay while their backend admits them.
   */
  readonly hashSpaceMovedPercent: number | null;
  /** Standard error of that, percent; 0: it is exact. */
  readonly hashSpaceErrorPercent: number;
  readonly sessions: readonly SessionMove[];
  /** Those that do not hold after the change. */
  readonly guards: readonly BrokenGuard[];
}

/** A change of a route that was carried out on paper. */
export interface RouteRehearsal {
  readonly basedOn: number;
  readonly applied: Applied;
  /** Null: there is none, or the change is of no route. */
  readonly before: Route | null;
  readonly after: Route | null;
}

/** Of what matches a route, percent: 0…100. */
export interface PoolShare {
  readonly pool: PoolName;
  readonly before: number;
  readonly after: number;
}

/** What a change of a route would do, and nothing of it is done. */
export interface RoutePreview extends Applied {
  /** The version it is based on, for `If-Match`. */
  readonly version: number;
  /** The version that the directory would have. */
  readonly nextVersion: number;
  /** Of what matches the route, by clients without a token. */
  readonly shares: readonly PoolShare[];
  /** Of those clients, percent that are led to another pool; null: the route comes or goes as a whole. */
  readonly clientsMovedPercent: number | null;
  /** Standard error of that, percent; 0: it is exact. */
  readonly clientsErrorPercent: number;
}
