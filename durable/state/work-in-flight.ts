import type { BackendId } from "../model/names.ts";
import { type EpochMs, later } from "../model/time.ts";

/** Backends of which it is remembered when work there was last told of; the longest unheard of go first. */
const MAX_ENDED = 4_000;

export interface InFlight {
  readonly id: BackendId;
  readonly count: number;
}

/** What an isolate says of its work. */
interface Account {
  readonly isolate: string;
  readonly seq: number;
  readonly inFlight: readonly InFlight[];
}

/** Since when nobody is to send anything to a backend, and when nobody does any more, not even isolates that are cut off. */
export interface Closing {
  readonly atMs: EpochMs;
  readonly certainAtMs: EpochMs;
}

interface Told extends Account {
  leaseUntilMs: EpochMs;
  /** Until when it may serve without hearing from the ring. */
  staleUntilMs: EpochMs;
  keptUntilMs: EpochMs;
}

/** What is in flight at a closed backend. */
export interface Work {
  /** Requests, as last told by whoever counts. */
  readonly count: number;
  /** When it was last told that some of it may be over; null: it never was. */
  readonly lastMs: EpochMs | null;
}

/**
 * What is in flight where, as isolates last told. One that falls silent with work in flight is remembered for as long as it
 * may serve without the ring, since nobody knows whether it is idle, dead or cut off.
 */
export class WorkInFlight {
  /** Those that told of any. */
  readonly #told = new Map<string, Told>();
  /** The same by backend, so that a question about one asks nobody who has nothing there. */
  readonly #at = new Map<BackendId, Set<Told>>();
  /** When an isolate was heard again that had told of work at a backend; the latest last. */
  readonly #endedMs = new Map<BackendId, EpochMs>();

  /** Takes note of what an isolate tells; what comes after something later of the same isolate is nothing new. */
  hear({ isolate, seq, inFlight }: Account, nowMs: EpochMs): void {
    const before = this.#told.get(isolate);
    if (before !== undefined && seq <= before.seq) return;
    if (before !== undefined) this.#end(before, nowMs);
    const busy = inFlight.filter(({ count }) => count > 0);
    if (busy.length === 0) return;
    const told = {
      isolate,
      seq,
      inFlight: busy,
      leaseUntilMs: before?.leaseUntilMs ?? nowMs,
      staleUntilMs: before?.staleUntilMs ?? nowMs,
      keptUntilMs: before?.keptUntilMs ?? nowMs,
    };
    this.#told.set(isolate, told);
    for (const { id } of busy) this.#at.set(id, (this.#at.get(id) ?? new Set()).add(told));
  }

  /** Takes note of until when an isolate may use what it was granted, and until when it may serve without the ring. */
  lease(isolate: string, untilMs: EpochMs, staleUntilMs: EpochMs): void {
    const told = this.#told.get(isolate);
    if (told === undefined) return;
    told.leaseUntilMs = later(told.leaseUntilMs, untilMs);
    told.staleUntilMs = later(told.staleUntilMs, staleUntilMs);
    told.keptUntilMs = later(told.keptUntilMs, staleUntilMs);
  }

  /** A backend was closed: whoever may be sending it something is remembered until nobody can any more. */
  close({ atMs, certainAtMs }: Closing): void {
    for (const told of this.#told.values()) {
      if (told.staleUntilMs > atMs) told.keptUntilMs = later(told.keptUntilMs, certainAtMs);
    }
  }

  /** Requests in flight at a backend, as told by isolates that hold a lease. */
  count(backend: BackendId, nowMs: EpochMs): number {
    let sum = 0;
    for (const told of this.#toldOf(backend)) if (told.leaseUntilMs > nowMs) sum += countAt(told, backend);
    return sum;
  }

  /** Requests in flight anywhere, as an isolate last told. */
  toldBy(isolate: string): number {
    return this.#told.get(isolate)?.inFlight.reduce((sum, { count }) => sum + count, 0) ?? 0;
  }

  /**
   * What is in flight at a closed backend. Beside isolates that hold a lease, whoever could be serving when it was closed
   * counts until `certainAtMs`.
   */
  atClosed(backend: BackendId, closing: Closing, nowMs: EpochMs): Work {
    let count = 0;
    let lastMs = this.#endedMs.get(backend) ?? null;
    for (const told of this.#toldOf(backend)) {
      const here = countAt(told, backend);
      const mayServe = told.staleUntilMs > closing.atMs;
      const untilMs = mayServe ? later(told.leaseUntilMs, closing.certainAtMs) : told.leaseUntilMs;
      if (untilMs > nowMs) count += here;
      else lastMs = later(lastMs ?? untilMs, untilMs);
    }
    return { count, lastMs };
  }

  /** Forgets whoever fell silent and cannot serve any more. */
  sweep(nowMs: EpochMs): void {
    for (const told of this.#told.values()) if (told.keptUntilMs <= nowMs) this.#end(told, told.keptUntilMs);
  }

  #toldOf(backend: BackendId): Iterable<Told> {
    return this.#at.get(backend) ?? [];
  }

  /** What an isolate told does not hold any more. */
  #end(told: Told, atMs: EpochMs): void {
    this.#told.delete(told.isolate);
    for (const { id } of told.inFlight) {
      const others = this.#at.get(id);
      others?.delete(told);
      if (others?.size === 0) this.#at.delete(id);
      const lastMs = later(this.#endedMs.get(id) ?? atMs, atMs);
      this.#endedMs.delete(id);
      this.#endedMs.set(id, lastMs);
      const [longest] = this.#endedMs.keys();
      if (this.#endedMs.size > MAX_ENDED && longest !== undefined) this.#endedMs.delete(longest);
    }
  }
}

function countAt({ inFlight }: Told, backend: BackendId): number {
  return inFlight.find(({ id }) => id === backend)?.count ?? 0;
}
