import type { BackendId, PoolName } from "./names.ts";
import type { PoolConfig } from "./pool.ts";
import type { Route } from "./route.ts";
import type { EpochMs } from "./time.ts";
import type { GeneratorName } from "./token.ts";

/**
 * What a backend may be sent. `new`: anything. `sticky`: only requests bound to it. `none`: nothing. Derived from what
 * the operator wants and what is observed, in `state/project.ts` and nowhere else.
 */
export type Admits = "new" | "sticky" | "none";

/** Backends of one priority and one state of health, and what of the new traffic they take. */
export interface Tier {
  readonly priority: number;
  /** Whether these are the degraded ones of that priority, which come after all healthy ones. */
  readonly isDegraded: boolean;
  /** Of the pool's new traffic, 0…100; all tiers together have 100, or 0 where nobody takes any. */
  readonly sharePercent: number;
  /** So few of its priority are healthy that health is ignored: all of its backends are in here. */
  readonly isPanicking: boolean;
}

/** A backend as an isolate routes to it. */
export interface SnapshotBackend {
  readonly id: BackendId;
  /** Without trailing slash. */
  readonly url: string;
  readonly weight: number;
  readonly via: string | null;
  readonly admits: Admits;
  /** Index of its tier in the snapshot's. Of no consequence while it admits no new traffic. */
  readonly tier: number;
  /** Since when it has admitted new traffic without a break, by the ring's clock. */
  readonly servingSinceMs: EpochMs;
  /** It admits nothing because of its health, and not because an operator wants it so. */
  readonly isEjected: boolean;
  /** It admits nothing because of what is observed of its health, and would admit new traffic if it were well. */
  readonly isLastResort: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** What tokens call it: unique in its pool, and not given to another while a token that names it may be alive. */
  readonly serverId: number;
  /** When it came to the pool, by the ring's clock. */
  readonly addedMs: EpochMs;
  /** Its label `region`; null when it has none. */
  readonly region: string | null;
}

/** How tokens of one configuration are made and read. */
export interface TokenConfig {
  /** The draft's config rotation codepoint, 0…6. */
  readonly id: number;
  readonly generator: GeneratorName;
  readonly serverIdBytes: number;
  readonly nonceBytes: number;
  /** AES-128 key of the connection id, 32 hexadecimal digits; not used by `plaintext`. */
  readonly key: string;
  /** Key of the MAC over the whole token, 32 hexadecimal digits. */
  readonly macKey: string;
}

/** What an isolate needs to read and make tokens. */
export interface SnapshotTokens {
  /** The configuration that new tokens are made under. */
  readonly writeId: number;
  /** All that can be read, that one included. */
  readonly configs: readonly TokenConfig[];
  /** Backends that were removed while tokens that name them may be alive. */
  readonly removed: readonly { readonly serverId: number; readonly id: BackendId }[];
}

/** One version of a document that isolates hold under a lease. */
export interface Versioned {
  /** Names one life of the object that publishes it; a re-created or restored one has another. */
  readonly incarnation: string;
  /** Grows by one with every change. */
  readonly version: number;
}

/** Which version of a document is asked for. */
export interface VersionWanted {
  /** Null: the present one. */
  readonly version: number | null;
}

/** The immutable view of one pool from which an isolate routes. */
export interface Snapshot extends Versioned {
  readonly pool: PoolName;
  /** 32 hexadecimal digits: the key of every hash made for this pool, so that clients cannot aim at a backend. */
  readonly secret: string;
  readonly config: PoolConfig;
  readonly tokens: SnapshotTokens;
  readonly tiers: readonly Tier[];
  readonly backends: readonly SnapshotBackend[];
}

/** The immutable view of the directory from which an isolate finds the pool. */
export interface RoutingTable extends Versioned {
  /** Names this deployment in `Via` and `CDN-Loop`: `ringmaster-1f2e3d4c`. */
  readonly deployment: string;
  /** 32 hexadecimal digits: the key of the hash that splits clients between pools. */
  readonly secret: string;
  readonly routes: readonly Route[];
}
