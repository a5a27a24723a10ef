import type { Backend } from "../model/backend.ts";
import type { Observed, Pin } from "../model/health.ts";
import type { PoolName } from "../model/names.ts";
import type { PoolConfig, PoolDocument } from "../model/pool.ts";
import type { EpochMs } from "../model/time.ts";
import type { ReservedServerId, RestingServerId } from "./server-ids.ts";
import type { Stops } from "./stops.ts";
import type { HeldConfig, RestingCodepoint } from "./token-configs.ts";

/** A backend and whether its drain deadline has passed, which the alarm records so that state alone tells what it admits. */
export interface HeldBackend extends Backend {
  readonly isDrained: boolean;
  /** When it came to the pool. */
  readonly addedMs: EpochMs;
  /** What tokens call it; unique in the pool, and kept through every change of it. */
  readonly serverId: number;
  /** Since when it takes new traffic, as `stampServing` keeps it. */
  readonly servingSinceMs: EpochMs;
  readonly pin: Pin | null;
  readonly observed: Observed;
}

/** What the ring holds of a pool's tokens. */
export interface HeldTokens {
  /** By age, the newest last. */
  readonly configs: readonly HeldConfig[];
  readonly reserved: readonly ReservedServerId[];
  /** Given up, and not to be given out before every isolate that may still know what they meant has forgotten it. */
  readonly resting: {
    readonly serverIds: readonly RestingServerId[];
    readonly codepoints: readonly RestingCodepoint[];
  };
  /** Latest expiry of tokens made under settings that no longer hold, so that a shorter lifetime cuts none short. */
  readonly issuedUntilMs: EpochMs;
}

/** A pool's truth. */
export interface LiveRing {
  readonly kind: "live";
  readonly pool: PoolName;
  readonly incarnation: string;
  readonly version: number;
  /** 32 hexadecimal digits. */
  readonly secret: string;
  readonly config: PoolConfig;
  readonly tokens: HeldTokens;
  readonly stops: Stops;
  readonly backends: readonly HeldBackend[];
}

/** No pool: never made, or deleted. Its version is kept, so that a re-created pool goes on counting. */
export interface AbsentRing {
  readonly kind: "absent";
  readonly version: number;
}

export type RingState = LiveRing | AbsentRing;

export const NO_RING: AbsentRing = { kind: "absent", version: 0 };

/** The document an operator would `PUT` to get this pool. */
export function toDocument(ring: LiveRing): PoolDocument & { readonly backends: readonly Backend[] } {
  return { ...ring.config, backends: ring.backends.map(toBackend) };
}

function toBackend({ id, url, weight, via, labels, priority, admin }: HeldBackend): Backend {
  return { id, url, weight, via, labels, priority, admin };
}
