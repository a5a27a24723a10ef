import type { BackendId } from "../../../durable/model/names.ts";
import type { EpochMs } from "../../../durable/model/time.ts";
import type { Hash64 } from "../keyed-hash.ts";

/** A backend that admits new traffic, as a policy sees it. */
export interface Candidate {
  readonly id: BackendId;
  /** At least 1: a backend of weight 0 admits only sticky traffic and is no candidate. */
  readonly weight: number;
}

/** What one pick may depend on besides the picker's own counters. */
export interface PickContext {
  /** Backends that may not be chosen: tried before in this request, or unable to take it now. */
  readonly exclude: ReadonlySet<BackendId>;
  /** Whether this request was tried elsewhere before; a retry leaves the counters alone. */
  readonly isRetry: boolean;
  /** Names the client's connection; null when nothing does. */
  readonly key: Hash64 | null;
  /** A random number, 0 ≤ chance < 1. */
  readonly chance: number;
  readonly nowMs: EpochMs;
  /** Is told which gauges the pick reads; undefined: nobody asks. */
  readonly reads?: GaugeReads | undefined;
}

/** Takes note of gauges as they are read. */
export interface GaugeReads {
  gauge(id: BackendId, gauge: Gauge, nowMs: EpochMs): void;
}

/**
 * Picks one of the candidates it was prepared for: deterministic in its arguments and its own counters, and null only
 * when every candidate is excluded.
 */
export interface Picker {
  pick(context: PickContext): BackendId | null;
}

/** What a policy gets to prepare a picker. */
export interface Preparation<Previous extends Picker> {
  readonly candidates: readonly Candidate[];
  /** The picker that served until now, whose counters go on; null in a new isolate. */
  readonly previous: Previous | null;
  /** The pool's keyed hash. */
  readonly hash: (text: string) => Hash64;
  /** A random number, 0 ≤ chance < 1: where a new isolate begins its turns. */
  readonly chance: number;
}

/** What the isolate knows at any time of how a backend is doing. Reading it does nothing else. */
export interface Gauge {
  /** Requests that the isolate has open there. */
  readonly inFlight: number;
  /** How long it takes to answer, milliseconds; null while nobody knows. */
  latencyMs(nowMs: EpochMs): number | null;
}

/** The gauge of a backend, good for as long as it is a candidate; null: nothing is known of it. */
export type GaugeOf = (id: BackendId) => Gauge | null;

/** What a pool gives to prepare a picker of whatever policy it asks for. */
export interface PoolPreparation extends Preparation<Picker> {
  readonly gauge: GaugeOf;
  /** The pool's field of that name. */
  readonly ringPoints: number;
}
