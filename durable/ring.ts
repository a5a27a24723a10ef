import { now, randomHex } from "./io/clock.ts";
import { type Callable, DurableBase } from "./io/durable-base.ts";
import { Store } from "./io/store.ts";
import type { Applied, PoolChange } from "./model/command.ts";
import { parse } from "./model/parse.ts";
import type { Refusal } from "./model/refusal.ts";
import { ok, type Result, refuse } from "./model/result.ts";
import type { Snapshot } from "./model/snapshot.ts";
import { type SyncReply, SyncRequestSchema } from "./model/sync.ts";
import { type EpochMs, epochMs } from "./model/time.ts";
import type { PoolStatus, PoolView } from "./model/view.ts";
import { isDraining, nextDeadlineMs, openDrainUntilMs, passDeadlines } from "./state/agenda.ts";
import { answerSync, projectConvergence } from "./state/answer-sync.ts";
import { Counters } from "./state/counters.ts";
import { LeaseLedger } from "./state/lease-ledger.ts";
import { pace } from "./state/pacing.ts";
import { projectAdmits, projectSnapshot } from "./state/project.ts";
import { applyPoolCommand } from "./state/ring-command.ts";
import {
  type AbsentRing,
  type HeldBackend,
  type LiveRing,
  NO_RING,
  type RingState,
  toDocument,
} from "./state/ring-state.ts";

/** A ring as stored: its backends are the rows. */
type StoredRing = Omit<LiveRing, "backends"> | AbsentRing;

/** Holds the truth of one pool: load, pure function, save, reply. */
export class Ring extends DurableBase {
  protected override readonly callable: Callable = { reads: ["view", "status"], writes: ["apply", "sync"] };

  #store!: Store<StoredRing, HeldBackend>;
  #ring: RingState = NO_RING;
  #snapshot: Snapshot | null = null;
  #ledger!: LeaseLedger;
  #counters = new Counters();
  #sinceMs: EpochMs = epochMs(0);

  protected override async load(storage: DurableObjectStorage): Promise<void> {
    this.#store = new Store(storage);
    this.#sinceMs = now();
    this.#ledger = new LeaseLedger(this.#store.readLongestLeaseMs(), this.#sinceMs);
    this.#adopt(fromStore(this.#store.read()));
    try {
      await this.#setAlarm();
    } catch (error) {
      // The pool serves without it too: every sync looks at the deadlines.
      console.error(error);
    }
  }

  /** Carries out one change. Nothing is changed when it is refused, or when storage fails. */
  async apply(change: PoolChange): Promise<Result<Applied>> {
    const nowMs = now();
    this.#passDeadlines(nowMs);
    const { pool, precondition } = change;
    const birth = { incarnation: crypto.randomUUID(), secret: randomHex(16) };
    const next = applyPoolCommand(this.#ring, change.command, { pool, nowMs, precondition, birth });
    if (!next.ok) return next;
    if (next.value.state !== this.#ring) this.#save(next.value.state);
    await this.#setAlarm();
    await this.#store.settled();
    return ok(next.value.applied);
  }

  /** Answers an isolate that asks for changes, and counts what it reports. */
  async sync(untrusted: unknown): Promise<Result<SyncReply<Snapshot>>> {
    const request = parse(SyncRequestSchema, untrusted);
    if (!request.ok) return request;
    const nowMs = now();
    if (this.#passDeadlines(nowMs)) await this.#setAlarm();
    if (this.#ring.kind === "absent" || this.#snapshot === null) return ok({ kind: "absent" });
    if (request.value.report !== null) this.#counters.add(request.value.isolate, request.value.report);
    const isolates = this.#ledger.size;
    const pacing = pace(this.#ring.config.sync, isolates, isDraining(this.#ring), Math.random());
    const reply = answerSync(this.#ledger, this.#snapshot, request.value, pacing, nowMs, (leaseMs) =>
      this.#store.writeLongestLeaseMs(leaseMs),
    );
    return ok(reply);
  }

  /** The pool as an operator wrote it. */
  async view(): Promise<Result<PoolView>> {
    if (this.#ring.kind === "absent") return refuse(NO_POOL);
    return ok({ version: this.#ring.version, document: toDocument(this.#ring) });
  }

  /** What is going on in the pool. */
  async status(): Promise<Result<PoolStatus>> {
    const nowMs = now();
    if (this.#passDeadlines(nowMs)) await this.#setAlarm();
    if (this.#ring.kind === "absent") return refuse(NO_POOL);
    const { pool, version, backends } = this.#ring;
    return ok({
      pool,
      version,
      convergence: projectConvergence(this.#ledger, version, nowMs),
      backends: backends.map((backend) => ({
        id: backend.id,
        admits: projectAdmits(backend),
        weight: backend.weight,
        drainsUntilMs: openDrainUntilMs(backend),
        inFlight: this.#ledger.inFlight(backend.id, nowMs),
        outcomes: this.#counters.outcomes(backend.id),
      })),
      protocols: this.#counters.protocols,
      incidents: this.#counters.incidents,
      sinceMs: this.#sinceMs,
    });
  }

  /** Wakes at the next deadline. Coming early, late or twice does no harm. */
  async alarm(): Promise<void> {
    this.#passDeadlines(now());
    await this.#setAlarm();
    await this.#store.settled();
  }

  /** True when a deadline had passed and a new version says so. */
  #passDeadlines(nowMs: EpochMs): boolean {
    const next = passDeadlines(this.#ring, nowMs);
    if (next === this.#ring) return false;
    this.#save(next);
    return true;
  }

  /** Writes first; memory follows only when that succeeded. */
  #save(next: RingState): void {
    const { head, rows } = toStore(next);
    this.#store.write(head, rows);
    this.#adopt(next);
  }

  #adopt(ring: RingState): void {
    this.#ring = ring;
    this.#snapshot = ring.kind === "live" ? projectSnapshot(ring) : null;
    if (ring.kind === "absent") this.#beginCounting();
    this.#counters.keepBackends(ring.kind === "live" ? ring.backends.map((backend) => backend.id) : []);
  }

  /** What was counted for a pool that is gone says nothing about one of the same name. */
  #beginCounting(): void {
    this.#counters = new Counters();
    this.#sinceMs = now();
  }

  async #setAlarm(): Promise<void> {
    const { storage } = this.state;
    const deadlineMs = nextDeadlineMs(this.#ring);
    if (deadlineMs !== null) {
      await storage.setAlarm(deadlineMs);
      return;
    }
    const isSet = (await storage.getAlarm()) !== null;
    // Looked at again: while the alarm was read, another command may have begun a drain that needs it.
    if (isSet && nextDeadlineMs(this.#ring) === null) await storage.deleteAlarm();
  }
}

const NO_POOL: Refusal = { kind: "not-found", detail: "this pool does not exist" };

function toStore(ring: RingState): { readonly head: StoredRing; readonly rows: readonly HeldBackend[] } {
  if (ring.kind === "absent") return { head: ring, rows: [] };
  const { backends, ...head } = ring;
  return { head, rows: backends };
}

function fromStore(
  stored: { readonly head: StoredRing; readonly rows: readonly HeldBackend[] } | null,
): RingState {
  if (stored === null) return NO_RING;
  return stored.head.kind === "absent" ? stored.head : { ...stored.head, backends: stored.rows };
}
