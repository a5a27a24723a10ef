import type { BackendId } from "../../durable/model/names.ts";
import { type Counts, OUTCOMES, type Outcome, zeros } from "../../durable/model/outcome.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { LatencyEstimate, latencyOf, type Wait } from "./latency.ts";
import type { Gauge } from "./policies/policy.ts";

/**
 * An isolate's record of one backend. It is kept by the backend's id while snapshots come and go, so what is in flight,
 * what was counted and the latency survive a change of weight or URL.
 */
export class SubChannel implements Gauge {
  /** The backend as the newest snapshot has it; as the last one had it once it was removed. */
  backend: SnapshotBackend;
  #inFlight = 0;
  #maxInFlight = Number.POSITIVE_INFINITY;
  readonly #full: Set<BackendId>;
  #outcomes: Counts<Outcome> = zeros(OUTCOMES);
  #isCounted = false;
  readonly #latency = new LatencyEstimate();

  /** While the channel is full, its backend's id is in `full`. */
  constructor(backend: SnapshotBackend, full: Set<BackendId>) {
    this.backend = backend;
    this.#full = full;
  }

  /** Attempts begun and not ended: until the response headers, or to the end for what is followed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether it has as much in flight as it may. */
  get isFull(): boolean {
    return this.#inFlight >= this.#maxInFlight;
  }

  /** From now on so many attempts may be in flight, `limited`; null: any number, `shared`. What is open already goes on. */
  limit(maxInFlight: number | null): void {
    this.#maxInFlight = maxInFlight ?? Number.POSITIVE_INFINITY;
    if (this.isFull) this.#full.add(this.id);
    else this.#full.delete(this.id);
  }

  get id(): BackendId {
    return this.backend.id;
  }

  /** Nothing is open, and everything counted was taken. */
  get isIdle(): boolean {
    return this.#inFlight === 0 && !this.#isCounted;
  }

  /** From sending a request to its response headers, as estimated; null while there is nothing to estimate from. */
  latencyMs(nowMs: EpochMs): number | null {
    return this.#latency.read(nowMs);
  }

  /** An attempt begins. */
  begin(): void {
    this.#inFlight++;
    if (this.isFull) this.#full.add(this.id);
  }

  /** Counts what became of an attempt, and learns from it how long the backend takes. Once per attempt. */
  count(outcome: Outcome, wait: Wait): void {
    this.#outcomes[outcome]++;
    this.#isCounted = true;
    const latencyMs = latencyOf(outcome, wait, this.#latency);
    if (latencyMs !== null) this.#latency.observe(latencyMs, wait.nowMs);
  }

  /** An attempt is over; nothing of it is open any more. */
  end(): void {
    this.#inFlight--;
    if (!this.isFull) this.#full.delete(this.id);
  }

  /** What was counted since the last call; null when nothing was. */
  takeOutcomes(): Counts<Outcome> | null {
    if (!this.#isCounted) return null;
    const taken = this.#outcomes;
    this.#outcomes = zeros(OUTCOMES);
    this.#isCounted = false;
    return taken;
  }
}
