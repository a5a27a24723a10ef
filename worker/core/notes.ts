import type { BackendId } from "../../durable/model/names.ts";
import type { Affinity, PolicyName } from "../../durable/model/pool.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Choosing } from "./choice.ts";
import type { Remembered } from "./connection-table.ts";
import type { Connection } from "./identify.ts";
import type { Gauge, GaugeReads } from "./policies/policy.ts";
import type { Selection, Turns } from "./selection.ts";
import type { Carried } from "./sessions.ts";

/**
 * What a step of the affinity chain found. `nothing`: the request has no such thing. `invalid`, `expired`: a token that binds
 * nothing. `nobody`: it leads to no backend that could take the request. After these the next step is asked; any other
 * decides. `opened`, `unknown`: a token that can be read, or that others may be able to read. `remembered`: this isolate
 * knows the connection. `placed`: a connection it does not know is led by hashing. `hashed`: so is a value.
 */
export const FINDINGS = [
  "nothing",
  "invalid",
  "expired",
  "nobody",
  "opened",
  "unknown",
  "remembered",
  "placed",
  "hashed",
] as const;
export type Finding = (typeof FINDINGS)[number];

export interface StepTaken {
  readonly step: Affinity[number];
  readonly found: Finding;
}

/** What an isolate knew by itself when it made a choice, as far as the choice looked. With it the choice can be repeated. */
export interface LocalState {
  readonly nowMs: EpochMs;
  readonly chance: number;
  readonly tried: readonly BackendId[];
  /** It had asked before, and waited for room. */
  readonly hasWaited: boolean;
  /** Only those were left who may be tried at last. */
  readonly isLast: boolean;
  /** Backends that had as much in flight as they may. */
  readonly full: readonly BackendId[];
  /** Backends that it skipped because they failed. */
  readonly skipped: readonly BackendId[];
  /** Of them, those that it skipped on one request's word, but not for what is bound there. */
  readonly suspected: readonly BackendId[];
  /** Connections that it remembered, of those looked for, and where they came from before. */
  readonly connections: readonly (Remembered & { readonly identity: string })[];
  /** Of the token that was read: the requests it had come with before, and the last of them's connection. */
  readonly token: { readonly requests: number; readonly connection: Connection | null } | null;
  /** Since when weights were as they were in slow start, and the turns before the pick; null: no policy was asked. */
  readonly ranked: { readonly atMs: EpochMs; readonly turns: Turns } | null;
  /** Gauges that were read; what is left out was idle. */
  readonly gauges: readonly Reading[];
}

/** What a gauge said. */
export interface Reading {
  readonly id: BackendId;
  readonly inFlight: number;
  readonly latencyMs: number | null;
}

/** Who cannot take a request at the moment, and whether those who should not are asked at last. */
interface Circumstances {
  readonly full: ReadonlySet<BackendId>;
  readonly skipped: ReadonlySet<BackendId>;
  readonly suspected: readonly BackendId[];
  readonly isLast: boolean;
}

/** Takes down what one choice looks at, while it is made. */
export class Notes implements GaugeReads {
  /** What the choice is made from; null before it has begun. */
  snapshot: Snapshot | null = null;
  steps: StepTaken[] = [];
  /** The policy that picked, and whether a key led it; null: the affinity chain decided. */
  policy: { readonly name: PolicyName; readonly isKeyed: boolean } | null = null;
  /** The token that decided; null: none did. */
  session: { readonly id: string; readonly serverId: number } | null = null;
  #begun: Pick<
    LocalState,
    "nowMs" | "chance" | "tried" | "hasWaited" | "isLast" | "full" | "skipped" | "suspected"
  > | null = null;
  #connections: LocalState["connections"][number][] = [];
  #token: LocalState["token"] = null;
  #ranked: LocalState["ranked"] = null;
  readonly #gauges = new Map<BackendId, Reading>();

  /** The choice begins. Of one that waits for room, only the last is kept. */
  begin(choosing: Choosing, snapshot: Snapshot, { full, skipped, suspected, isLast }: Circumstances): void {
    const { nowMs, chance, tried, hasWaited } = choosing;
    this.snapshot = snapshot;
    this.#begun = {
      nowMs,
      chance,
      tried: [...tried],
      hasWaited,
      isLast,
      full: [...full],
      skipped: [...skipped],
      suspected,
    };
    this.steps = [];
    this.policy = null;
    this.session = null;
    this.#connections = [];
    this.#token = null;
    this.#ranked = null;
    this.#gauges.clear();
  }

  get isLast(): boolean {
    return this.#begun?.isLast === true;
  }

  step(step: Affinity[number], found: Finding): void {
    this.steps.push({ step, found });
  }

  /** The chain came to its token step. */
  carried(step: Affinity[number], carried: Carried | null): void {
    this.step(step, carried?.kind ?? "nothing");
    if (carried?.kind !== "opened") return;
    const { requests, connection, sessionId, serverId } = carried.token;
    this.#token = { requests, connection };
    this.session = { id: sessionId, serverId };
  }

  /** A connection is one that the isolate remembers. */
  remembered(identity: string, { backend, from }: Remembered): void {
    this.#connections.push({ identity, backend, from });
  }

  /** Nothing binds the request, and a policy is about to pick. */
  free(name: PolicyName, among: Selection, isKeyed: boolean): void {
    this.policy = { name, isKeyed };
    this.#ranked = { atMs: among.rankedMs, turns: name === "round_robin" ? among.turns() : [] };
  }

  gauge(id: BackendId, gauge: Gauge, nowMs: EpochMs): void {
    const { inFlight } = gauge;
    const latencyMs = gauge.latencyMs(nowMs);
    if (inFlight > 0 || latencyMs !== null) this.#gauges.set(id, { id, inFlight, latencyMs });
  }

  /** The backend that the isolate remembered for the connection that decided; null: it remembered none. */
  get rememberedBackend(): BackendId | null {
    return this.#connections.at(-1)?.backend ?? null;
  }

  /** @throws before the choice has begun. */
  get local(): LocalState {
    if (this.#begun === null) throw new Error("notes are asked for what they were never told");
    return {
      ...this.#begun,
      connections: this.#connections,
      token: this.#token,
      ranked: this.#ranked,
      gauges: [...this.#gauges.values()],
    };
  }
}
