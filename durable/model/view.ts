import type { Backend } from "./backend.ts";
import type { BackendId, PoolName } from "./names.ts";
import type { Incident, Outcome, Protocol } from "./outcome.ts";
import type { PoolDocument } from "./pool.ts";
import type { Route } from "./route.ts";
import type { Admits } from "./snapshot.ts";
import type { EpochMs } from "./time.ts";

/** A pool as `GET` shows it: the document and the version it is at. */
export interface PoolView {
  readonly version: number;
  readonly document: PoolDocument & { readonly backends: readonly Backend[] };
}

/** How far a change has come: which isolates still may route by something older. */
export interface Convergence {
  /** Isolates that hold a lease. */
  readonly isolates: number;
  /** Of them, those that may still use an older version. */
  readonly outstandingIsolates: number;
  /** When the present version governs every isolate that reaches the ring in time; null: it does. */
  readonly governsAtMs: EpochMs | null;
  /** Longest lease that may be in anybody's hands, milliseconds. */
  readonly longestLeaseMs: number;
}

export interface BackendStatus {
  readonly id: BackendId;
  readonly admits: Admits;
  readonly weight: number;
  /** Drain deadline; null when none runs or it has passed. */
  readonly drainsUntilMs: EpochMs | null;
  /** Requests in flight, as last told by isolates that hold a lease. */
  readonly inFlight: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
}

/** What is going on in a pool. Counters begin anew when the object is restarted; `sinceMs` says when that was. */
export interface PoolStatus {
  readonly pool: PoolName;
  readonly version: number;
  readonly convergence: Convergence;
  readonly backends: readonly BackendStatus[];
  readonly protocols: Readonly<Record<Protocol, number>>;
  readonly incidents: Readonly<Record<Incident, number>>;
  readonly sinceMs: EpochMs;
}

/** The directory as `GET` shows it. */
export interface DirectoryView {
  readonly version: number;
  readonly deployment: string;
  readonly pools: readonly PoolName[];
  readonly routes: readonly Route[];
  readonly convergence: Convergence;
}
