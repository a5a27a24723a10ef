import type { PoolConfig } from "../../../durable/model/pool.ts";
import type { Versioned } from "../../../durable/model/snapshot.ts";
import type { SyncReply, SyncRequest } from "../../../durable/model/sync.ts";
import { type EpochMs, epochMs } from "../../../durable/model/time.ts";
import { answerSync } from "../../../durable/state/answer-sync.ts";
import { LeaseLedger, leaseEndMs } from "../../../durable/state/lease-ledger.ts";
import { pace } from "../../../durable/state/pacing.ts";
import { decideUse, type Held, install } from "../../../worker/core/lease.ts";

/** An isolate's clock stands still between I/O, and so may read this much behind, milliseconds by the ring's clock. */
const LONGEST_STANDSTILL_MS = 1_000;

/** The edge gives up a sync that takes longer, milliseconds. */
const GIVEN_UP_AFTER_MS = 5_000;

/** An isolate's clock: its rate against the ring's, and what it reads when the ring's reads zero, milliseconds. */
export interface Clock {
  readonly rate: number;
  readonly offsetMs: number;
}

/** One sync, and what becomes of it on its way. */
export interface SyncStep {
  readonly kind: "sync";
  readonly isolate: number;
  /** How long the isolate's clock has stood still when it notes the time of sending. */
  readonly standstillMs: number;
  readonly requestMs: number;
  readonly replyMs: number;
  readonly isRequestLost: boolean;
  readonly isReplyLost: boolean;
  /** Jitter of the pacing, 0…1. */
  readonly chance: number;
}

export type Step =
  | SyncStep
  /** The document changes; its version grows by one. */
  | { readonly kind: "change" }
  /** The pool gets other lease settings, which is a change too. */
  | { readonly kind: "lease"; readonly leaseMs: number; readonly maxPerSecond: number }
  /** So many changes in a row, each followed by a sync whose reply is lost. */
  | { readonly kind: "burst"; readonly isolate: number; readonly changes: number }
  /** The pool is deleted and made again before anybody asks: another incarnation, while versions go on. */
  | { readonly kind: "re-create" }
  /** The pool is deleted; made again if it is. */
  | { readonly kind: "delete-or-create" }
  /** The ring loses its memory; only the longest lease is stored. */
  | { readonly kind: "restart" }
  /** An isolate is evicted, and another begins in its place. */
  | { readonly kind: "evict"; readonly isolate: number };

export interface TimedStep {
  readonly afterMs: number;
  readonly step: Step;
}

export interface WorldOptions {
  readonly clocks: readonly Clock[];
  /** False: an isolate sends a sync whatever became of the last one. True, as the edge does it: one by one. */
  readonly isOneByOne?: boolean;
  /** Something else in the place of the real ledger, to see that the world notices when it is broken. */
  readonly createLedger?: (storedLeaseMs: number, nowMs: EpochMs) => LeaseLedger;
  /** Something else in the place of the real installation. */
  readonly install?: typeof install;
}

interface Isolate {
  readonly clock: Clock;
  id: string;
  seq: number;
  held: Held<Versioned> | null;
  heldLeaseMs: number;
  /** When, by the ring's clock, its own clock last went on. */
  readMs: number;
  /** Until when, by the ring's clock, it waits for an answer before it asks again. */
  waitsUntilMs: number;
}

/** A reply on its way to the isolate that had this name. */
interface Flight {
  readonly isolate: Isolate;
  readonly id: string;
  readonly seq: number;
  readonly sentMs: EpochMs;
  readonly reply: SyncReply<Versioned>;
}

/**
 * A ring and some isolates in virtual time, made of the real ledger, the real answers to syncs and the real installation
 * of replies. Every time is the ring's; only what an isolate reads is its own clock's.
 *
 * It watches without a gap that no isolate may use anything older than what was said to govern. For that, every isolate
 * is taken at its worst: its clock stands still for as long as it may.
 */
export class LeaseWorld {
  /** What went wrong, in words; empty while every promise holds. */
  readonly broken: string[] = [];
  ledger: LeaseLedger;
  storedLeaseMs = 0;

  readonly #options: Required<WorldOptions>;
  readonly #isolates: readonly Isolate[];
  readonly #flights = new Set<Flight>();
  #events: readonly { readonly atMs: number; readonly run: () => void }[] = [];
  #nowMs = 1_000_000;
  #evictions = 0;
  #document: Versioned = { incarnation: "first", version: 1 };
  #isDeleted = false;
  #settings: PoolConfig["sync"] = {
    refreshMs: 500,
    leaseMs: 30_000,
    waitMs: 2_000,
    maxStaleMs: 0,
    maxPerSecond: 100,
  };
  /** The newest version that the ledger ever said governs. */
  #governing = 0;
  /** When the present version is to govern, as the ledger said last. */
  #forecastMs = Number.POSITIVE_INFINITY;

  constructor(options: WorldOptions) {
    this.#options = {
      isOneByOne: false,
      createLedger: (storedLeaseMs, nowMs) => new LeaseLedger(storedLeaseMs, nowMs),
      install,
      ...options,
    };
    this.ledger = this.#options.createLedger(0, this.nowMs);
    this.#isolates = options.clocks.map((clock, index) => ({
      clock,
      id: `isolate-${index}`,
      seq: 0,
      held: null,
      heldLeaseMs: 0,
      readMs: this.#nowMs,
      waitsUntilMs: this.#nowMs,
    }));
  }

  get nowMs(): EpochMs {
    return epochMs(this.#nowMs);
  }

  /** Of the document that the ring publishes. */
  get version(): number {
    return this.#document.version;
  }

  /** The version each isolate may use at this moment, by its own clock at its worst; null: none. */
  versionsInUse(): readonly (number | null)[] {
    return this.#isolates.map((isolate) =>
      mayUse(isolate, this.#nowMs) ? (isolate.held?.document.version ?? null) : null,
    );
  }

  run(steps: readonly TimedStep[]): this {
    for (const { afterMs, step } of steps) this.advance(afterMs).take(step);
    return this.advance(2 * this.storedLeaseMs);
  }

  /** Lets time pass, and what is on its way arrive. */
  advance(forMs: number): this {
    const untilMs = this.#nowMs + forMs;
    for (;;) {
      const [next] = this.#events.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#watchUntil(next.atMs);
      this.#events = this.#events.filter((event) => event !== next);
      next.run();
      this.#check();
    }
    this.#watchUntil(untilMs);
    return this;
  }

  take(step: Step): this {
    switch (step.kind) {
      case "sync":
        this.#send(step);
        break;
      case "change":
        this.#publish(this.#document.incarnation);
        break;
      case "lease":
        this.#settings = { ...this.#settings, leaseMs: step.leaseMs, maxPerSecond: step.maxPerSecond };
        this.#publish(this.#document.incarnation);
        break;
      case "burst":
        for (let change = 0; change < step.changes; change++) {
          this.#publish(this.#document.incarnation);
          this.#send({ ...PROMPT_SYNC, isolate: step.isolate, isReplyLost: true });
          this.advance(20);
        }
        break;
      case "re-create":
        this.#isDeleted = false;
        this.#publish(`again-${this.version}`);
        break;
      case "delete-or-create":
        this.#isDeleted = !this.#isDeleted;
        this.#publish(this.#isDeleted ? this.#document.incarnation : `again-${this.version}`);
        break;
      case "restart":
        this.ledger = this.#options.createLedger(this.storedLeaseMs, this.nowMs);
        this.#forecastMs = Number.POSITIVE_INFINITY;
        break;
      case "evict":
        this.#evict(this.#isolate(step.isolate));
        break;
    }
    this.#check();
    return this;
  }

  /** Every isolate asks as often as it was told to, until so much time has passed; nothing is lost. */
  syncAll(forMs: number, onTheWayMs: number): this {
    const untilMs = this.#nowMs + forMs;
    for (;;) {
      const nextMs = Math.min(...this.#isolates.map((isolate) => this.#asksAtMs(isolate)));
      if (nextMs > untilMs) return this.advance(untilMs - this.#nowMs);
      this.advance(nextMs - this.#nowMs);
      this.#isolates.forEach((isolate, index) => {
        if (this.#asksAtMs(isolate) <= this.#nowMs)
          this.#send({ ...PROMPT_SYNC, isolate: index, requestMs: onTheWayMs, replyMs: onTheWayMs });
      });
    }
  }

  #asksAtMs({ held, clock, waitsUntilMs }: Isolate): number {
    const dueMs = held === null ? 0 : Math.ceil((held.refreshAtMs - clock.offsetMs) / clock.rate);
    return Math.max(this.#nowMs, waitsUntilMs, dueMs);
  }

  #publish(incarnation: string): void {
    this.#document = { incarnation, version: this.version + 1 };
    this.#forecastMs = Number.POSITIVE_INFINITY;
  }

  #evict(isolate: Isolate): void {
    isolate.id = `isolate-after-${++this.#evictions}`;
    isolate.seq = 0;
    isolate.held = null;
    isolate.waitsUntilMs = this.#nowMs;
  }

  #send(step: SyncStep): void {
    const isolate = this.#isolate(step.isolate);
    const { isOneByOne } = this.#options;
    if (isOneByOne && this.#nowMs < isolate.waitsUntilMs) return;
    const tripMs = step.requestMs + step.replyMs;
    const isGivenUp = step.isReplyLost || (isOneByOne && tripMs >= GIVEN_UP_AFTER_MS);
    isolate.waitsUntilMs = this.#nowMs + (isGivenUp || step.isRequestLost ? GIVEN_UP_AFTER_MS : tripMs);
    isolate.readMs = Math.max(isolate.readMs, this.#nowMs - step.standstillMs);
    const sentMs = reading(isolate.clock, isolate.readMs);
    const { id } = isolate;
    const seq = ++isolate.seq;
    const incarnation = isolate.held?.document.incarnation ?? null;
    const haveVersion = isolate.held?.document.version ?? 0;
    if (step.isRequestLost) return;
    this.#later(step.requestMs, () => {
      const request = { isolate: id, seq, incarnation, haveVersion, report: null, inFlight: [] };
      const reply = this.#answer(request, step.chance);
      if (isGivenUp) return;
      const flight = { isolate, id, seq, sentMs, reply };
      this.#flights.add(flight);
      this.#later(step.replyMs, () => {
        this.#flights.delete(flight);
        this.#receive(flight);
      });
    });
  }

  /** As the ring answers. */
  #answer(request: SyncRequest, chance: number): SyncReply<Versioned> {
    if (this.#isDeleted) return { kind: "absent" };
    const pacing = pace(this.#settings, this.ledger.size, false, chance);
    return answerSync(this.ledger, this.#document, request, pacing, this.nowMs, (leaseMs) => {
      this.storedLeaseMs = leaseMs;
    });
  }

  /** As the edge takes an answer. */
  #receive({ isolate, id, seq, sentMs, reply }: Flight): void {
    if (isolate.id !== id) return;
    switch (reply.kind) {
      case "leased": {
        const endedMs = isolate.held?.leaseEndsMs;
        isolate.held = this.#options.install(isolate.held, reply, seq, sentMs);
        if (isolate.held?.leaseEndsMs !== endedMs) isolate.heldLeaseMs = reply.leaseMs;
        return;
      }
      case "absent":
        isolate.held = null;
        return;
      case "late":
        return;
    }
  }

  #later(delayMs: number, run: () => void): void {
    this.#events = [...this.#events, { atMs: this.#nowMs + delayMs, run }];
  }

  /** Goes to a time before which nothing happens, and looks around wherever a version was to govern on the way. */
  #watchUntil(atMs: number): void {
    for (let version = this.#governing + 1; version <= this.version; version++) {
      const governsAtMs = this.ledger.governsAtMs(version, this.nowMs);
      if (governsAtMs > atMs) break;
      this.#nowMs = Math.max(this.#nowMs, governsAtMs);
      this.#check();
    }
    this.#nowMs = atMs;
    this.#check();
  }

  #check(): void {
    while (this.#governing < this.version && this.ledger.governs(this.#governing + 1, this.nowMs))
      this.#governing++;
    for (const isolate of this.#isolates.filter((each) => mayUse(each, this.#nowMs))) {
      const used = isolate.held?.document.version ?? 0;
      if (used < this.#governing)
        this.#break(`${isolate.id} may use version ${used} though ${this.#governing} governs`);
      if (isolate.heldLeaseMs > this.storedLeaseMs)
        this.#break(`${isolate.id} uses a lease of ${isolate.heldLeaseMs} ms, stored ${this.storedLeaseMs}`);
    }
    for (const { isolate, id, sentMs, reply } of this.#flights) {
      const leaseMs = reply.kind === "leased" ? reply.leaseMs : 0;
      if (leaseMs > this.storedLeaseMs && sentMs + leaseMs > earliestReading(isolate, this.#nowMs))
        this.#break(`a lease of ${leaseMs} ms is on its way to ${id}, stored ${this.storedLeaseMs}`);
    }
    this.#checkForecast();
  }

  #checkForecast(): void {
    const { version, nowMs } = this;
    const atMs = this.ledger.governsAtMs(version, nowMs);
    const lastMs = leaseEndMs(nowMs, this.storedLeaseMs);
    if (atMs > lastMs)
      this.#break(`version ${version} is to govern at ${atMs}, every lease ends by ${lastMs}`);
    if (atMs > Math.max(nowMs, this.#forecastMs))
      this.#break(`version ${version} was to govern at ${this.#forecastMs}, and now is at ${atMs}`);
    this.#forecastMs = atMs;
  }

  #break(what: string): void {
    this.broken.push(`at ${this.#nowMs}: ${what}`);
  }

  #isolate(index: number): Isolate {
    const isolate = this.#isolates[index % this.#isolates.length];
    if (isolate === undefined) throw new Error(`there is no isolate ${index}`);
    return isolate;
  }
}

/** A sync of the first isolate that goes well. */
export const PROMPT_SYNC: SyncStep = {
  kind: "sync",
  isolate: 0,
  standstillMs: 0,
  requestMs: 1,
  replyMs: 1,
  isRequestLost: false,
  isReplyLost: false,
  chance: 0,
};

function reading({ rate, offsetMs }: Clock, atMs: number): EpochMs {
  return epochMs(Math.floor(offsetMs + rate * atMs));
}

/** What an isolate reads when its clock has stood still for as long as it may. */
function earliestReading({ clock, readMs }: Isolate, nowMs: number): EpochMs {
  return reading(clock, Math.max(readMs, nowMs - LONGEST_STANDSTILL_MS));
}

function mayUse(isolate: Isolate, nowMs: number): boolean {
  const use = decideUse(isolate.held, earliestReading(isolate, nowMs));
  return use === "fresh" || use === "due";
}
