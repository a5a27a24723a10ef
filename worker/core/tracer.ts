import type { PoolName } from "../../durable/model/names.ts";
import type { Outcome } from "../../durable/model/outcome.ts";
import type { Versioned } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Choice } from "./choice.ts";
import type { Client } from "./client.ts";
import { Notes } from "./notes.ts";
import type { PoolView } from "./pool-view.ts";
import { type Reason, reasonOf } from "./reason.ts";
import type { Destination } from "./route.ts";
import type { Cause, Trace, TracedAttempt } from "./trace.ts";

/** How fresh a document is that a request is routed from. */
export interface Freshness {
  /** Since the isolate last heard that it is the newest, milliseconds. */
  readonly ageMs: number;
  /** It is past its lease, since its object cannot be reached. */
  readonly isDegraded: boolean;
}

/** Takes down how one request is routed, while it is. */
export class Tracer {
  #route: Pick<Trace, "table" | "route" | "client"> = { table: null, route: null, client: null };
  #split: Trace["split"] = null;
  #reason: Reason = "NS";
  readonly #attempts: AttemptTracer[] = [];

  /** A route matched, or there are none. */
  routed(table: Versioned, freshness: Freshness, { route }: Destination, client: Client): void {
    const { clientAddress: address, connection, country, colo } = client;
    this.#route = { table: told(table, freshness), route, client: { address, connection, country, colo } };
  }

  /** It ends at the routing table, without a choice of a backend. */
  refused(
    reason: "NR" | "LP",
    table: Versioned,
    freshness: Freshness,
    destination: Destination | null,
  ): void {
    this.#reason = reason;
    this.#route = { table: told(table, freshness), route: destination?.route ?? null, client: null };
  }

  /** One pool of a split was chosen. `sides`: what there was of each. */
  chosenSide(nowMs: EpochMs, chance: number, pool: PoolName | null, sides: readonly PoolView[]): void {
    const versions = sides.map(({ snapshot }) => {
      const { pool: name, incarnation, version } = snapshot;
      return { pool: name, incarnation, version };
    });
    this.#split = { nowMs, chance, pool, sides: versions };
    if (pool === null) this.#reason = "NB";
  }

  /** A backend is about to be chosen. */
  attempt(freshness: Freshness, cause: Cause): AttemptTracer {
    return new AttemptTracer(freshness, cause, (attempt) => this.#attempts.push(attempt));
  }

  get trace(): Trace {
    const attempts = this.#attempts.flatMap(({ attempt }) => attempt ?? []);
    const reason = attempts.at(-1)?.reason ?? this.#reason;
    return { format: 1, ...this.#route, split: this.#split, reason, attempts };
  }
}

/** Takes down one attempt. */
export class AttemptTracer {
  readonly notes = new Notes();
  readonly #freshness: Freshness;
  readonly #cause: Cause;
  readonly #onChosen: (attempt: AttemptTracer) => void;
  #choice: Pick<TracedAttempt, "backend" | "reason"> = { backend: null, reason: "NS" };
  #end: Pick<TracedAttempt, "outcome" | "tookMs"> = { outcome: null, tookMs: null };

  constructor(freshness: Freshness, cause: Cause, onChosen: (attempt: AttemptTracer) => void) {
    this.#freshness = freshness;
    this.#cause = cause;
    this.#onChosen = onChosen;
  }

  chose(choice: Choice, view: PoolView): void {
    const reason = reasonOf(choice, this.notes, (backend) => view.isPanicking(backend));
    this.#choice = { backend: choice.kind === "backend" ? choice.channel.id : null, reason };
    this.#onChosen(this);
  }

  /** @param tookMs until its response headers, or its failure. */
  ended(outcome: Outcome, tookMs: number): void {
    this.#end = { outcome, tookMs };
  }

  /** Null before a choice was made. */
  get attempt(): TracedAttempt | null {
    const { snapshot } = this.notes;
    if (snapshot === null) return null;
    const made = { pool: snapshot.pool, ...told(snapshot, this.#freshness), cause: this.#cause };
    return { ...made, ...this.#choice, ...this.#end, local: this.notes.local };
  }
}

function told(
  { incarnation, version }: Versioned,
  { ageMs, isDegraded }: Freshness,
): NonNullable<Trace["table"]> {
  return { incarnation, version, ageMs, isDegraded };
}
