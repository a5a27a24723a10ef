import type { Announcement } from "../../durable/model/health.ts";
import type { BackendId } from "../../durable/model/names.ts";
import {
  blameOf,
  type Counts,
  isGatewayFailure,
  OUTCOMES,
  type Outcome,
  zeros,
} from "../../durable/model/outcome.ts";
import type { PoolConfig } from "../../durable/model/pool.ts";
import { type Mark, Sketch } from "../../durable/model/sketch.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";
import type { BackendReport } from "../../durable/model/sync.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import type { Availability } from "./availability.ts";
import { LatencyEstimate, latencyOf, type Wait } from "./latency.ts";
import type { Gauge } from "./policies/policy.ts";
import { ShortCircuit } from "./short-circuit.ts";

/** Attempts in flight at most, and failures borne, as a pool has it. */
type ChannelRules = Pick<PoolConfig, "maxInFlight" | "health">;

/** What happened since the last report. */
interface Ledger {
  readonly outcomes: Counts<Outcome>;
  readonly latencyMs: { success: number; failure: number };
  readonly gatewayRun: { length: number; isWhole: boolean };
  announced: Announcement | null;
  /** When it last said so. */
  announcedMs: EpochMs | null;
  /** Sessions that came; null: none did. */
  sessions: Sketch | null;
  /** When the first of it happened, an attempt when it ended; null: nothing did. */
  sinceMs: EpochMs | null;
}

/** What a report is made of. */
export interface Taken {
  readonly report: Omit<BackendReport, "ageMs" | "announcedAfterMs">;
  readonly sinceMs: EpochMs;
  readonly announcedMs: EpochMs;
}

/**
 * An isolate's record of one backend. It is kept by the backend's id while snapshots come and go, so what is in flight,
 * what was counted and the latency survive a change of weight or URL.
 */
export class SubChannel implements Gauge {
  #backend: SnapshotBackend;
  #inFlight = 0;
  /** Attempts of which nothing has been counted yet. */
  #waiting = 0;
  #maxInFlight = Number.POSITIVE_INFINITY;
  readonly #availability: Availability;
  readonly #circuit: ShortCircuit;
  readonly #latency = new LatencyEstimate();
  #ledger: Ledger = blank();
  #announced: Announcement = "healthy";
  #isRetired = false;

  constructor(backend: SnapshotBackend, rules: ChannelRules, availability: Availability) {
    this.#backend = backend;
    this.#availability = availability;
    this.#circuit = new ShortCircuit(rules.health.local);
    this.adopt(backend, rules);
  }

  /** The backend as the newest snapshot has it; as the last one had it once it was removed. */
  get backend(): SnapshotBackend {
    return this.#backend;
  }

  get id(): BackendId {
    return this.backend.id;
  }

  /** Whether it admits nothing because an operator wants it so: its drain is over, or it is disabled or removed. */
  get isWithdrawn(): boolean {
    return this.#isRetired || (this.#backend.admits === "none" && !this.#backend.isEjected);
  }

  /** Attempts begun and not ended: until the response headers, or to the end for what is followed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether it has as much in flight as it may. */
  get isFull(): boolean {
    return this.#inFlight >= this.#maxInFlight;
  }

  /** Whether it failed so often lately that this isolate skips it, or tries it with one request at a time. */
  get isFailing(): boolean {
    return this.#circuit.isOpen;
  }

  /** Nothing is open, and everything counted was taken. */
  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#ledger.sinceMs === null;
  }

  /** Whether what may go elsewhere has to, because of failures. */
  isSkipped(nowMs: EpochMs): boolean {
    return this.#circuit.isSkipping(nowMs);
  }

  /** Whether what is bound there has to go elsewhere, too. */
  isLeft(nowMs: EpochMs): boolean {
    return this.isSkipped(nowMs) && !this.isSuspected;
  }

  /** Whether it is skipped on one request's word: what is bound there goes on. */
  get isSuspected(): boolean {
    return this.#circuit.isSuspicion;
  }

  /**
   * The backend is so from now on. So many attempts may be in flight, `limited`, or any number, `shared`: what is open
   * already goes on. And so many failures are borne. One that is elsewhere now, or back in the pool, has failed nobody.
   */
  adopt(backend: SnapshotBackend, { maxInFlight, health }: ChannelRules): void {
    const { url, via } = this.#backend;
    if (this.#isRetired || url !== backend.url || via !== backend.via) this.#circuit.close();
    this.#isRetired = false;
    this.#backend = backend;
    this.#maxInFlight = maxInFlight ?? Number.POSITIVE_INFINITY;
    this.#circuit.configure(health.local);
    this.#availability.note(this);
  }

  /** The backend is in the pool no more. */
  retire(): void {
    this.#isRetired = true;
    this.#availability.forget(this);
  }

  /** From sending a request to its response headers, as estimated; null while there is nothing to estimate from. */
  latencyMs(nowMs: EpochMs): number | null {
    return this.#latency.read(nowMs);
  }

  /** An attempt begins. */
  begin(nowMs: EpochMs): void {
    this.#inFlight++;
    this.#waiting++;
    if (this.isFailing) this.#circuit.begin(nowMs);
    if (this.isFull) this.#note();
  }

  /**
   * Counts what became of an attempt, and learns from it how the backend is and how long it takes. Once per attempt.
   *
   * @returns true when the ring should hear of it at once: the backend is skipped from now on.
   */
  count(outcome: Outcome, wait: Wait): boolean {
    this.#waiting--;
    return this.#count(outcome, wait, after(wait.nowMs, -wait.waitedMs));
  }

  /**
   * Counts that the answer to an attempt that began at `beganMs` broke off, after `count` was told of its headers.
   *
   * @returns true when the ring should hear of it at once, as there.
   */
  countCut(beganMs: EpochMs, wait: Wait): boolean {
    return this.#count("cut", wait, beganMs);
  }

  #count(outcome: Outcome, wait: Wait, beganMs: EpochMs): boolean {
    const { waitedMs, nowMs, isUnhindered } = wait;
    const ledger = this.#ledger;
    const blame = blameOf(outcome);
    ledger.outcomes[outcome]++;
    ledger.sinceMs ??= nowMs;
    if (blame !== "none") ledger.latencyMs[blame] += Math.max(0, waitedMs);
    if (isGatewayFailure(outcome)) ledger.gatewayRun.length++;
    else if (blame !== "none") {
      ledger.gatewayRun.length = 0;
      ledger.gatewayRun.isWhole = false;
    }
    const latencyMs = latencyOf(outcome, wait, this.#latency);
    if (latencyMs !== null) this.#latency.observe(latencyMs, nowMs);
    const wasFailing = this.isFailing;
    const othersWaiting = Math.max(0, this.#waiting);
    const isTripped = this.#circuit.observe(outcome, { beganMs, nowMs, isUnhindered, othersWaiting });
    if (wasFailing || isTripped) this.#note();
    return isTripped && !this.isSuspected;
  }

  /**
   * Takes note of what the backend says of itself.
   *
   * @returns true when it is news.
   */
  hear(said: Announcement, nowMs: EpochMs): boolean {
    const isNews = said !== this.#announced;
    if (isNews || said !== "healthy") {
      this.#ledger.announced = said;
      this.#ledger.announcedMs = nowMs;
      this.#ledger.sinceMs ??= nowMs;
    }
    this.#announced = said;
    return isNews;
  }

  /** Notes that a session is the backend's. It is reported with the attempt that came of it. */
  noteSession(session: Mark): void {
    this.#ledger.sessions ??= new Sketch();
    this.#ledger.sessions.note(session);
  }

  /** An attempt that began will not be made. */
  callOff(): void {
    this.#waiting--;
    this.end();
  }

  /** An attempt is over; nothing of it is open any more. */
  end(): void {
    const wasFull = this.isFull;
    this.#inFlight--;
    if (!wasFull) return;
    this.#note();
    this.#availability.onRoom(this);
  }

  /**
   * What happened since the last call, when the first of it did, and when it was last heard; null when nothing did, and this
   * isolate does not skip the backend either, which the ring is told as long as it is so.
   */
  takeReport(nowMs: EpochMs): Taken | null {
    const { sinceMs: firstMs, announcedMs, sessions, ...happened } = this.#ledger;
    const skipping = this.isFailing && !this.isSuspected;
    const sinceMs = firstMs ?? (skipping ? nowMs : null);
    if (sinceMs === null) return null;
    this.#ledger = blank();
    const sketch = sessions === null ? {} : { sessionSketch: sessions.toText() };
    const report = { id: this.id, ...happened, skipping, ...sketch };
    return { report, sinceMs, announcedMs: announcedMs ?? sinceMs };
  }

  #note(): void {
    if (!this.#isRetired) this.#availability.note(this);
  }
}

function blank(): Ledger {
  return {
    outcomes: zeros(OUTCOMES),
    latencyMs: { success: 0, failure: 0 },
    gatewayRun: { length: 0, isWhole: true },
    announced: null,
    announcedMs: null,
    sessions: null,
    sinceMs: null,
  };
}
