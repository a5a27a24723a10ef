import type { BackendId } from "../model/names.ts";
import { type EpochMs, later } from "../model/time.ts";

/** Backends of which it is remembered when work there was last told of; the longest unheard of go first. */
const MAX_TIMES = 4_000;

export interface InFlight {
  readonly id: BackendId;
  readonly count: number;
}

/** When nobody was to send anything to a backend any more, and when nobody does, not even isolates that are cut off. */
export interface Closing {
  readonly atMs: EpochMs;
  readonly certainAtMs: EpochMs;
}

interface Told {
  readonly seq: number;
  readonly inFlight: readonly InFlight[];
  leaseUntilMs: EpochMs;
  /** Until when it may serve without hearing from the ring. */
  staleUntilMs: EpochMs;
  keptUntilMs: EpochMs;
}

/** What is in flight at a backend. */
export interface Work {
  /** Requests, as last told by whoever counts. */
  readonly count: number;
  /** When there last was any; null: none was told of. Of no meaning while there is. */
  readonly lastMs: EpochMs | null;
}

/**
 * What is in flight where, as isolates last told. One that falls silent with work in flight is remembered for as long as it
 * may serve without the ring, since nobody knows whether it is idle, dead or cut off.
 */
export class WorkInFlight {
  /** Those that told of any. */
  readonly #told = new Map<string, Told>();
  /** When an isolate last told that its work at a backend is over; the latest last. */
  readonly #endedMs = new Map<BackendId, EpochMs>();

  /** Takes note of what an isolate tells; what comes after something later of the same isolate is nothing new. */
  hear(isolate: string, seq: number, inFlight: readonly InFlight[], nowMs: EpochMs): void {
    const before = this.#told.get(isolate);
    if (before !== undefined && seq <= before.seq) return;
    const busy = inFlight.filter(({ count }) => count > 0);
    const ids = new Set(busy.map(({ id }) => id));
    for (const { id } of before?.inFlight ?? []) if (!ids.has(id)) this.#end(id, nowMs);
    if (busy.length === 0) {
      this.#told.delete(isolate);
      return;
    }
    this.#told.set(isolate, {
      seq,
      inFlight: busy,
      leaseUntilMs: before?.leaseUntilMs ?? nowMs,
      staleUntilMs: before?.staleUntilMs ?? nowMs,
      keptUntilMs: before?.keptUntilMs ?? nowMs,
    });
  }

  /** Takes note of until when an isolate may use what it was granted, and until when it may serve without the ring. */
  lease(isolate: string, untilMs: EpochMs, staleUntilMs: EpochMs): void {
    const told = this.#told.get(isolate);
    if (told === undefined) return;
    told.leaseUntilMs = later(told.leaseUntilMs, untilMs);
    told.staleUntilMs = later(told.staleUntilMs, staleUntilMs);
    told.keptUntilMs = later(told.keptUntilMs, staleUntilMs);
  }

  /** A backend was closed: whoever may have sent it something is remembered until nobody can any more. */
  hold({ atMs, certainAtMs }: Closing): void {
    for (const told of this.#told.values()) {
      if (told.staleUntilMs > atMs) told.keptUntilMs = later(told.keptUntilMs, certainAtMs);
    }
  }

  /**
   * What is in flight at a backend. Isolates that hold a lease count; where the backend is closed, so does until
   * `certainAtMs` whoever could have been serving when that was done.
   */
  at(backend: BackendId, closing: Closing | null, nowMs: EpochMs): Work {
    let count = 0;
    let lastMs = this.#endedMs.get(backend) ?? null;
    for (const { inFlight, leaseUntilMs, staleUntilMs } of this.#told.values()) {
      const here = inFlight.find(({ id }) => id === backend)?.count ?? 0;
      if (here === 0) continue;
      const isHeld = closing !== null && staleUntilMs > closing.atMs;
      const untilMs = isHeld ? later(leaseUntilMs, closing.certainAtMs) : leaseUntilMs;
      if (untilMs > nowMs) count += here;
      else lastMs = lastMs === null ? untilMs : later(lastMs, untilMs);
    }
    return { count, lastMs };
  }

  /** Forgets whoever fell silent and cannot serve any more. */
  sweep(nowMs: EpochMs): void {
    for (const [isolate, told] of this.#told) {
      if (told.keptUntilMs > nowMs) continue;
      for (const { id } of told.inFlight) this.#end(id, told.keptUntilMs);
      this.#told.delete(isolate);
    }
  }

  #end(id: BackendId, atMs: EpochMs): void {
    const knownMs = this.#endedMs.get(id) ?? atMs;
    this.#endedMs.delete(id);
    this.#endedMs.set(id, later(knownMs, atMs));
    const [longest] = this.#endedMs.keys();
    if (this.#endedMs.size > MAX_TIMES && longest !== undefined) this.#endedMs.delete(longest);
  }
}
