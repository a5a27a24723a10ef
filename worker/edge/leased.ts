import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import type { Versioned } from "../../durable/model/snapshot.ts";
import type { SyncReply, SyncRequest } from "../../durable/model/sync.ts";
import { after, type EpochMs, epochMs, later } from "../../durable/model/time.ts";
import { decideUse, type Held, install, mayServeStale } from "../core/lease.ts";
import { type ObjectFailure, ObjectUnavailable } from "../core/object-unavailable.ts";
import { quietMs } from "../core/quiet.ts";
import type { Freshness } from "../core/tracer.ts";
import { elapse } from "./elapse.ts";
import { createPledge } from "./pledge.ts";

/** A sync is lost that is not back after so long: its request has ended under it. Longer than a call may take, milliseconds. */
const MAX_FLIGHT_MS = 6_000;

/** An interrupted sync that has taken longer is not repeated at once: the runtime has tried again itself. Milliseconds. */
const MAX_INTERRUPTED_MS = 1_000;

/** Where an object says that there is nothing, nobody asks again for so long, milliseconds. */
const ABSENT_QUIET_MS = 500;

/** News are sent at most this often, milliseconds. */
const MIN_HURRY_MS = 500;

/** A document, and whether it is past its lease because its object could not be reached. */
export interface Obtained<Document> {
  readonly document: Document;
  readonly isDegraded: boolean;
}

/** Where a leased document comes from, and who is told when it changes. */
export interface Source<Document extends Versioned, Bindings> {
  /** Sends a sync. Rejects when the object cannot be reached. */
  send(env: Bindings, acknowledgement: Acknowledgement): Promise<SyncReply<Document>>;
  /** A newer document was installed, or the object says there is none (null). */
  adopt(document: Document | null): void;
  /** Whether the object was last told of something that it has to be told the end of. */
  readonly isOwing: boolean;
  /** How long a request may wait for the object, and how long a document may serve past its lease. */
  patience(document: Document | null): { readonly waitMs: number; readonly maxStaleMs: number };
}

/** The part of a sync that speaks of the document held. */
export type Acknowledgement = Pick<SyncRequest, "seq" | "incarnation" | "haveVersion">;

/** The part of a request's context that is needed here: it keeps work going after the answer. */
export interface Context {
  waitUntil(work: Promise<unknown>): void;
}

interface Flight {
  readonly startedMs: EpochMs;
  /** Never rejects. The number of the sync that it ended with. */
  readonly done: Promise<number>;
  /** Somebody has waited in vain, for it or just now for the one before; nobody who can serve without it waits for it. */
  isSlow: boolean;
}

/** The patience of a source that has nothing to say about it. */
export const DEFAULT_PATIENCE = DEFAULT_POOL_CONFIG.sync;

/** A document that this isolate holds under a lease, and keeps up to date behind its requests. */
export class Leased<Document extends Versioned, Bindings> {
  readonly #source: Source<Document, Bindings>;
  /** How often its object was last asked to be asked, milliseconds. */
  #paceMs: number = DEFAULT_PATIENCE.refreshMs;
  #held: Held<Document> | null = null;
  /** When the sync was sent that last said that this is the newest. */
  #heardMs: EpochMs = epochMs(0);
  #flight: Flight | null = null;
  #seq = 0;
  /** The latest sync that was answered with "there is nothing". */
  #absentSeq = 0;
  #failures = 0;
  #quietUntilMs: EpochMs = epochMs(0);
  /** Until then whoever can serve without the object does not wait for it. One that slept for longer waits again. */
  #doubtedUntilMs: EpochMs = epochMs(0);
  #hurriedMs: EpochMs = epochMs(0);

  constructor(source: Source<Document, Bindings>) {
    this.#source = source;
  }

  /** The document, if it may be used as it is and nothing needs doing. The hot path: no promise, no call. */
  fresh(nowMs: EpochMs): Document | null {
    const held = this.#held;
    return held !== null && nowMs < held.refreshAtMs && nowMs < held.leaseEndsMs ? held.document : null;
  }

  /** Whether its object said last that there is no document. */
  get isAbsent(): boolean {
    return this.#held === null && this.#absentSeq > 0;
  }

  /** Whether the document may be used without asking its object first: its lease lasts, or the object was asked in vain. */
  mayUse(nowMs: EpochMs): boolean {
    if (this.#held !== null && nowMs < this.#held.leaseEndsMs) return true;
    const flight = this.#flight;
    const isAskedInVain = flight?.isSlow === true && nowMs - flight.startedMs < MAX_FLIGHT_MS;
    return (isAskedInVain || nowMs < this.#quietUntilMs) && this.#best(nowMs) !== null;
  }

  /** How fresh the document is at this time. */
  freshness(nowMs: EpochMs): Freshness {
    const isDegraded = this.#held !== null && nowMs >= this.#held.leaseEndsMs;
    return { ageMs: nowMs - this.#heardMs, isDegraded };
  }

  /**
   * The document, asking its object as needed: behind the request while the lease lasts, before it when there is no
   * lease. Null when there is nothing to serve from.
   */
  async obtain(env: Bindings, context: Context, nowMs: EpochMs): Promise<Obtained<Document> | null> {
    const use = decideUse(this.#held, nowMs);
    if (use === "due" && nowMs >= this.#quietUntilMs) this.#takeOff(env, context, nowMs);
    if (use === "expired" || use === "missing") await this.#ask(env, context, nowMs);
    return this.#best(clock());
  }

  /** Asks its object soon, not waiting for the next refresh, because there is something that it should hear of. */
  hurry(env: Bindings, context: Context, nowMs: EpochMs): void {
    const waitMs = Math.max(this.#hurriedMs + MIN_HURRY_MS, this.#quietUntilMs) - nowMs;
    // What waits will tell this, too.
    if (waitMs > MIN_HURRY_MS || this.#hurriedMs > nowMs) return;
    this.#hurriedMs = after(nowMs, Math.max(0, waitMs));
    const flight = this.#flight;
    if (flight === null && waitMs <= 0) {
      this.#takeOff(env, context, nowMs);
      return;
    }
    // What is on its way has left without the news.
    const landed = Promise.all([flight?.done, elapse(waitMs)]);
    context.waitUntil(
      landed.then(async () => {
        const laterMs = clock();
        // It may have failed; then the next one tells this, too.
        if (laterMs >= this.#quietUntilMs) await this.#takeOff(env, context, laterMs).done;
      }),
    );
  }

  /**
   * Asks its object if it is time to, though no request needs it: for as long as something is open. Never waits.
   *
   * @returns in how many milliseconds it is time again.
   */
  keepUp(env: Bindings, context: Context, nowMs: EpochMs): number {
    const dueMs = Math.max(this.#held?.refreshAtMs ?? 0, this.#quietUntilMs);
    if (nowMs < dueMs) return dueMs - nowMs;
    this.#takeOff(env, context, nowMs);
    return this.#paceMs;
  }

  #best(nowMs: EpochMs): Obtained<Document> | null {
    const held = this.#held;
    if (held === null) return null;
    if (nowMs < held.leaseEndsMs) return { document: held.document, isDegraded: false };
    const { maxStaleMs } = this.#source.patience(held.document);
    return mayServeStale(held, maxStaleMs, nowMs) ? { document: held.document, isDegraded: true } : null;
  }

  /** Waits for the object, once and not for long. */
  async #ask(env: Bindings, context: Context, nowMs: EpochMs): Promise<void> {
    if (nowMs < this.#quietUntilMs) return;
    const flight = this.#takeOff(env, context, nowMs);
    if (flight.isSlow && this.#best(nowMs) !== null) return;
    const { waitMs } = this.#source.patience(this.#held?.document ?? null);
    // From its start: what has been waited for in vain by others is not waited for as long again.
    const leftMs = Math.max(0, flight.startedMs + waitMs - nowMs);
    const hasLanded = await landsWithin(leftMs, flight.done);
    if (!hasLanded) flight.isSlow = true;
  }

  /** Starts a sync unless one is on its way. It is held by `waitUntil`, or it would hang with the request that began it. */
  #takeOff(env: Bindings, context: Context, nowMs: EpochMs): Flight {
    if (this.#flight !== null && nowMs - this.#flight.startedMs < MAX_FLIGHT_MS) return this.#flight;
    const flight: Flight = {
      startedMs: nowMs,
      isSlow: nowMs < this.#doubtedUntilMs,
      done: this.#sync(env, this.#failures === 0),
    };
    this.#flight = flight;
    const landed = flight.done.then((seq) => {
      if (this.#flight === flight) this.#flight = null;
      return this.#askAgain(env, context, seq);
    });
    context.waitUntil(landed);
    return flight;
  }

  /** Asks once more when it is time, unless somebody else does: or the object would go on believing what it was told last. */
  async #askAgain(env: Bindings, context: Context, seq: number): Promise<void> {
    while (this.#source.isOwing && this.#seq === seq) {
      const waitMs = this.keepUp(env, context, clock());
      if (this.#seq === seq) await elapse(waitMs);
    }
  }

  /** Asks its object; if that is interrupted and `mayRepeat`, once more at once. Gives the number of the last sync. */
  async #sync(env: Bindings, mayRepeat: boolean): Promise<number> {
    const seq = ++this.#seq;
    const sentMs = clock();
    const held = this.#held?.document;
    try {
      const reply = await this.#source.send(env, {
        seq,
        incarnation: held?.incarnation ?? null,
        haveVersion: held?.version ?? 0,
      });
      this.#receive(reply, seq, sentMs);
    } catch (error) {
      console.warn("sync failed", error);
      const failure = error instanceof ObjectUnavailable ? error.failure : "failed";
      const wasQuick = clock() - sentMs < MAX_INTERRUPTED_MS;
      if (failure === "interrupted" && mayRepeat && wasQuick) return this.#sync(env, false);
      this.#keepQuiet(failure);
    }
    return seq;
  }

  #receive(reply: SyncReply<Document>, seq: number, sentMs: EpochMs): void {
    this.#failures = 0;
    this.#quietUntilMs = epochMs(0);
    this.#doubtedUntilMs = epochMs(0);
    switch (reply.kind) {
      case "leased": {
        // What was granted before the object said that there is nothing counts no more.
        if (seq <= this.#absentSeq) return;
        const before = this.#held;
        const held = install(before, reply, seq, sentMs);
        if (held !== null && held.document !== before?.document) this.#source.adopt(held.document);
        this.#held = held;
        this.#paceMs = reply.nextSyncMs;
        if (held?.document.version === reply.version) this.#heardMs = later(this.#heardMs, sentMs);
        return;
      }
      case "absent":
        if (seq <= (this.#held?.seq ?? 0)) return;
        this.#absentSeq = Math.max(seq, this.#absentSeq);
        this.#held = null;
        this.#source.adopt(null);
        this.#quietUntilMs = after(clock(), ABSENT_QUIET_MS);
        return;
      case "late":
        return;
    }
  }

  #keepQuiet(failure: ObjectFailure): void {
    this.#failures++;
    const nowMs = clock();
    const failing = { failure, failures: this.#failures, canServe: this.#best(nowMs) !== null };
    const durationMs = quietMs(failing, Math.random());
    this.#quietUntilMs = after(nowMs, durationMs);
    this.#doubtedUntilMs = after(this.#quietUntilMs, durationMs);
  }
}

/** The isolate's clock. It stands still between I/O. */
export function clock(): EpochMs {
  return epochMs(Date.now());
}

/** Whether a sync, which may be another request's, is back in time. */
async function landsWithin(waitMs: number, flight: Promise<unknown>): Promise<boolean> {
  const { promise, resolve } = createPledge<boolean>();
  const timer = setTimeout(() => resolve(false), waitMs);
  void flight.then(() => resolve(true));
  const hasLanded = await promise;
  // Here, since only the request that has set it can.
  clearTimeout(timer);
  return hasLanded;
}
