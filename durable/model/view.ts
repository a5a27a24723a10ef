import type { Backend } from "./backend.ts";
import type { WebhookStatus } from "./delivery.ts";
import type { Health, Observed, Pin } from "./health.ts";
import type { BackendId, PoolName } from "./names.ts";
import type { Incident, Outcome, Protocol, SessionFate } from "./outcome.ts";
import type { PoolDocument } from "./pool.ts";
import type { Route } from "./route.ts";
import type { Admits, Tier } from "./snapshot.ts";
import type { EpochMs } from "./time.ts";
import type { GeneratorName } from "./token.ts";

/** A pool as `GET` shows it: the document and the version it is at. */
export interface PoolView {
  readonly version: number;
  readonly document: PoolDocument & { readonly backends: readonly Backend[] };
}

/** How far a change has come: which isolates still may route by something older. */
export interface Convergence {
  /** Isolates that hold a lease. */
  readonly isolates: number;
  /** Of them, those that use nothing older than the present version, as they said themselves. */
  readonly acknowledgedIsolates: number;
  /** The others: they may still use an older version. */
  readonly outstandingIsolates: number;
  /** The oldest version that any of them may still use; null: nobody holds a lease. */
  readonly oldestVersion: number | null;
  /** How long the outstanding one that has been silent for the longest has not been heard, milliseconds; null: there is none. */
  readonly worstAgeMs: number | null;
  /** When the present version governs every isolate that reaches the ring in time; null: it does. */
  readonly governsAtMs: EpochMs | null;
  /** Longest lease that may be in anybody's hands, milliseconds. */
  readonly longestLeaseMs: number;
}

/**
 * How many sessions came to a backend, as estimated: with a standard error of 4.6 %, and nearly exact while they are few.
 * Only what has a token is a session here.
 */
export interface EstimatedSessions {
  readonly count: number;
  /**
   * Those that came since then count: for an hour at most, or for the lifetime of a token if that is shorter, and never from
   * before the object was restarted.
   */
  readonly sinceMs: EpochMs;
}

/** What became of one change, as whoever asks how far it has come is told. */
export interface ConvergenceView {
  /** The version it is about. */
  readonly version: number;
  readonly convergence: Convergence;
}

/** Asks how far a version has come, and waits for it to govern. */
export interface ConvergenceRequest {
  /** Null: the present one. */
  readonly version: number | null;
  /** Longest wait, milliseconds. 0: the answer comes at once. */
  readonly waitMs: number;
}

export interface BackendStatus {
  readonly id: BackendId;
  readonly admits: Admits;
  readonly weight: number;
  readonly health: Health;
  /** What an operator says of its health; null: it is as observed. */
  readonly pin: Pin | null;
  readonly observed: Observed;
  /** Since when it takes new traffic, which slow start counts from. */
  readonly servingSinceMs: EpochMs;
  /** Drain deadline; null when none runs or it has passed. */
  readonly drainsUntilMs: EpochMs | null;
  /** Requests in flight, as last told by isolates that hold a lease. */
  readonly inFlight: number;
  readonly estimatedSessions: EstimatedSessions;
  readonly outcomes: Readonly<Record<Outcome, number>>;
}

/** One token configuration, without its keys. */
export interface TokenConfigView {
  /** Config rotation codepoint, 0…6. */
  readonly id: number;
  readonly generator: GeneratorName;
  readonly serverIdBytes: number;
  readonly nonceBytes: number;
  /** `spreading`: isolates are learning it. `writing`: new tokens are made under it. `retired`: only read. */
  readonly phase: "spreading" | "writing" | "retired";
  readonly createdMs: EpochMs;
  /** When it is spread, or the last token of a retired one has expired; null while it is writing. */
  readonly untilMs: EpochMs | null;
}

/** The tokens of a pool, without their keys. */
export interface TokensView {
  readonly configs: readonly TokenConfigView[];
  /** Reserved: of removed backends that living tokens may name. Free: what every live configuration has room for. */
  readonly serverIds: { readonly used: number; readonly reserved: number; readonly free: number };
}

/** How active health checks keep up. */
export interface ProbesView {
  /** As configured. */
  readonly intervalMs: number;
  /**
   * How often every backend can be probed, by how long probes last took, five at a time; never less than `intervalMs`, nor
   * than the longest of them.
   */
  readonly heldIntervalMs: number;
}

/** What is going on in a pool. Counters begin anew when the object is restarted; `sinceMs` says when that was. */
export interface PoolStatus {
  readonly pool: PoolName;
  readonly version: number;
  readonly convergence: Convergence;
  readonly backends: readonly BackendStatus[];
  /** How new traffic is shared out between tiers. */
  readonly tiers: readonly Tier[];
  /** Null: the pool has no active health check. */
  readonly probes: ProbesView | null;
  /** Requests by client protocol; one that goes on to a fallback pool counts in both. */
  readonly protocols: Readonly<Record<Protocol, number>>;
  readonly incidents: Readonly<Record<Incident, number>>;
  /** Persistence: requests with a token, by what became of the session. */
  readonly sessions: Readonly<Record<SessionFate, number>>;
  readonly tokens: TokensView;
  readonly webhooks: readonly WebhookStatus[];
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
