import type { PoolCommand } from "../../../durable/model/command.ts";
import type { Receipt } from "../../../durable/model/receipt.ts";
import type { Snapshot } from "../../../durable/model/snapshot.ts";
import type { SyncReply } from "../../../durable/model/sync.ts";
import { type EpochMs, epochMs } from "../../../durable/model/time.ts";
import { passDeadlines } from "../../../durable/state/agenda.ts";
import { answerSync } from "../../../durable/state/answer-sync.ts";
import { LeaseLedger, leaseEndMs } from "../../../durable/state/lease-ledger.ts";
import { pace } from "../../../durable/state/pacing.ts";
import { projectSnapshot } from "../../../durable/state/project.ts";
import { lookForReceipts } from "../../../durable/state/receipt.ts";
import { applyPoolCommand } from "../../../durable/state/ring-command.ts";
import type { LiveRing, RingState } from "../../../durable/state/ring-state.ts";
import { stampStops } from "../../../durable/state/stops.ts";
import { decideUse, type Held, install, mayServeStale } from "../../../worker/core/lease.ts";
import { backendId, moment, pool } from "./build.ts";
import type { Clock } from "./lease-world.ts";

/** The backend that is drained, and what its pool begins with. */
const B = backendId("b");
const WAIT_MS = 2_000;
/** Longest body of an ordinary response in this world, milliseconds: the pool's `settleMs`. */
export const SETTLE_MS = 5_000;

/** An isolate's clock stands still between I/O, and so may read this much behind, milliseconds by the ring's clock. */
const LONGEST_STANDSTILL_MS = 1_000;

/** How often the context of a request that lasts asks, milliseconds by the isolate's clock. */
const OWN_SYNC_MS = 1_000;

/** By then the ring has heard of a request that lasts, if its isolate reaches the ring in time, milliseconds. */
const HEARD_OF_MS = 2_100 + WAIT_MS;

/** What becomes of an isolate's syncs, one after the other and again from the first. */
export interface Weather {
  readonly requestMs: number;
  readonly replyMs: number;
  readonly fates: readonly ("arrives" | "request lost" | "reply lost")[];
  readonly standstillMs: number;
}

export type ReceiptStep =
  /** A request that is bound to the backend comes to an isolate, which asks the ring first where it must. */
  | {
      readonly kind: "request";
      readonly isolate: number;
      readonly answerMs: number;
      readonly bodyMs: number;
      /** By nature of its response: a long body, an event stream. Others end within `SETTLE_MS` after their headers. */
      readonly isFollowed: boolean;
    }
  | { readonly kind: "weather"; readonly isolate: number; readonly weather: Weather }
  /** Nothing runs in an isolate for so long, though its backends go on. */
  | { readonly kind: "pause"; readonly isolate: number; readonly forMs: number }
  | { readonly kind: "evict"; readonly isolate: number }
  | { readonly kind: "restart" }
  | { readonly kind: "command"; readonly command: PoolCommand };

export interface TimedReceiptStep {
  readonly afterMs: number;
  readonly step: ReceiptStep;
}

interface Isolate {
  readonly clock: Clock;
  id: string;
  seq: number;
  held: Held<Snapshot> | null;
  readMs: number;
  pausedUntilMs: number;
  weather: Weather;
  syncs: number;
}

/** A request at the backend, from its sending to the end of its response. */
interface Work {
  readonly isolate: Isolate;
  readonly life: string;
  readonly sentMs: number;
  readonly bodyMs: number;
  /** It was sent by a snapshot past its lease, with the ring out of reach. */
  readonly isStray: boolean;
  isFollowed: boolean;
  phase: "waiting" | "body" | "over";
  /** The present life of the ring was told of it, last at this time. */
  toldMs: number | null;
  /** When the lease ends that was granted then: whoever is silent for longer does not reach the ring in time. */
  toldUntilMs: number;
  /** Until when its isolate may serve if nothing is heard of it after that. */
  staleUntilMs: number;
  /** It lasted for longer than it should without the ring being told: its isolate did not reach the ring in time. */
  isUntold: boolean;
}

export interface ReceiptWorldOptions {
  readonly clocks: readonly Clock[];
  /** Something else in the place of the real ledger or receipts, to see that the world notices when they are broken. */
  readonly createLedger?: (storedLeaseMs: number, nowMs: EpochMs) => LeaseLedger;
  readonly look?: typeof lookForReceipts;
}

const FAIR: Weather = { requestMs: 20, replyMs: 20, fates: ["arrives"], standstillMs: 0 };

/**
 * A ring, isolates and the requests that these send to one backend, in virtual time: the real commands, deadlines, ledger
 * and receipts on one side, the real leases on the other. Every time is the ring's; only what an isolate reads is its own
 * clock's.
 */
export class ReceiptWorld {
  /** What went wrong, in words; empty while every promise holds. */
  readonly broken: string[] = [];
  /** How often the backend was seen to be safe, and how many requests it got. */
  readonly seen = { safe: 0, sent: 0, stray: 0 };

  readonly #options: Required<ReceiptWorldOptions>;
  readonly #isolates: readonly Isolate[];
  readonly #works = new Set<Work>();
  #events: { readonly atMs: number; readonly run: () => void }[] = [];
  #nowMs = 1_800_000_000_000;
  #evictions = 0;
  #ring: LiveRing;
  #snapshot: Snapshot;
  #ledger: LeaseLedger;
  #storedLeaseMs = 0;

  constructor(options: ReceiptWorldOptions) {
    this.#options = {
      createLedger: (storedLeaseMs, nowMs) => new LeaseLedger(storedLeaseMs, nowMs),
      look: lookForReceipts,
      ...options,
    };
    const { sync, ...config } = pool().config;
    this.#ring = pool(
      { a: 1, b: 1 },
      { ...config, settleMs: SETTLE_MS, sync: { ...sync, waitMs: WAIT_MS, maxStaleMs: 600_000 } },
    );
    this.#snapshot = projectSnapshot(this.#ring);
    this.#ledger = this.#options.createLedger(0, this.nowMs);
    this.#ledger.allowStale(this.#ring.config.sync.maxStaleMs, this.#ring.stops.staleUntilMs);
    this.#isolates = options.clocks.map((clock, index) => ({
      clock,
      id: `isolate-${index}`,
      seq: 0,
      held: null,
      readMs: this.#nowMs,
      pausedUntilMs: this.#nowMs,
      weather: FAIR,
      syncs: 0,
    }));
  }

  get nowMs(): EpochMs {
    return epochMs(this.#nowMs);
  }

  /** Null: the ring has never heard of the backend, or has forgotten it. */
  get receipt(): Receipt | null {
    const { view } = this.#options.look(this.#books(), { id: B });
    return view.ok ? (view.value.receipts[0] ?? null) : null;
  }

  run(steps: readonly TimedReceiptStep[]): this {
    for (const { afterMs, step } of steps) this.advance(afterMs).take(step);
    return this.advance(10_000);
  }

  /** Lets time pass, and looks around wherever a receipt said that it would be safe, or certain. */
  advance(forMs: number): this {
    const untilMs = this.#nowMs + forMs;
    for (;;) {
      const eventMs = Math.min(untilMs, ...this.#events.map(({ atMs }) => atMs));
      const forecastMs = this.#forecastMs();
      if (forecastMs !== null && forecastMs <= eventMs) {
        this.#nowMs = forecastMs;
        this.#check();
        continue;
      }
      const event = this.#events.find(({ atMs }) => atMs === eventMs);
      this.#nowMs = Math.max(this.#nowMs, eventMs);
      this.#check();
      if (event === undefined) return this;
      this.#events = this.#events.filter((each) => each !== event);
      event.run();
      this.#check();
    }
  }

  take(step: ReceiptStep): this {
    switch (step.kind) {
      case "request":
        this.#request(this.#isolate(step.isolate), step);
        break;
      case "weather":
        this.#isolate(step.isolate).weather = step.weather;
        break;
      case "pause": {
        const isolate = this.#isolate(step.isolate);
        isolate.pausedUntilMs = Math.max(isolate.pausedUntilMs, this.#nowMs + step.forMs);
        break;
      }
      case "evict": {
        const isolate = this.#isolate(step.isolate);
        for (const work of this.#works) if (work.isolate === isolate) this.#end(work);
        Object.assign(isolate, { id: `isolate-after-${++this.#evictions}`, seq: 0, held: null });
        break;
      }
      case "restart":
        this.#ledger = this.#options.createLedger(this.#storedLeaseMs, this.nowMs);
        this.#ledger.allowStale(this.#ring.config.sync.maxStaleMs, this.#ring.stops.staleUntilMs);
        for (const work of this.#works) {
          work.toldMs = null;
          this.#at(this.#nowMs + HEARD_OF_MS, () => this.#expectTold(work));
        }
        break;
      case "command":
        this.#command(step.command);
        break;
    }
    this.#check();
    return this;
  }

  #books() {
    const sessionsOf = () => ({ count: 0, sinceMs: this.nowMs });
    return {
      ring: this.#ring,
      snapshot: this.#snapshot,
      ledger: this.#ledger,
      sessionsOf,
      nowMs: this.nowMs,
    };
  }

  /** As `Ring` saves and adopts. */
  #publish(changed: RingState): void {
    const context = { nowMs: this.nowMs, longestLeaseMs: this.#ledger.longestLeaseMs };
    const next = stampStops(this.#ring, changed, context);
    if (next.kind !== "live" || next.version === this.#ring.version) return;
    this.#ring = next;
    this.#snapshot = projectSnapshot(next);
    this.#ledger.allowStale(next.config.sync.maxStaleMs, next.stops.staleUntilMs);
    for (const stop of next.stops.closed) if (stop.version === next.version) this.#ledger.close(stop);
  }

  #passDeadlines(): void {
    this.#publish(passDeadlines(this.#ring, this.#moment()));
  }

  #moment() {
    const { longestLeaseMs } = this.#ledger;
    const governsAtMs = (version: number): EpochMs => this.#ledger.governsAtMs(version, this.nowMs);
    return moment(this.nowMs, { longestLeaseMs, governsAtMs });
  }

  #command(command: PoolCommand): void {
    this.#passDeadlines();
    const next = applyPoolCommand(this.#ring, command, {
      ...this.#moment(),
      pool: this.#ring.pool,
      precondition: { ifMatch: null, ifAbsent: false },
      birth: { incarnation: "never", secret: "" },
    });
    if (next.ok) this.#publish(next.value.state);
    for (const { admin } of this.#ring.backends) {
      if (admin.kind === "draining") this.#at(admin.untilMs, () => this.#passDeadlines());
    }
  }

  #request(isolate: Isolate, step: Extract<ReceiptStep, { kind: "request" }>): void {
    this.#whenRunning(isolate, () => {
      const { id } = isolate;
      const use = decideUse(isolate.held, this.#reading(isolate));
      if (use === "fresh" || use === "due") {
        this.#forward(isolate, step);
        if (use === "due") this.#sync(isolate);
        return;
      }
      const arrivesInMs = this.#sync(isolate) ?? WAIT_MS;
      this.#at(this.#nowMs + Math.min(arrivesInMs, WAIT_MS), () =>
        this.#whenRunning(isolate, () => {
          if (isolate.id === id) this.#forward(isolate, step);
        }),
      );
    });
  }

  /** Sends it to the backend, if what the isolate holds may be used, in need past its lease, and lets it. */
  #forward(isolate: Isolate, step: Extract<ReceiptStep, { kind: "request" }>): void {
    const { held } = isolate;
    if (held === null) return;
    const readMs = this.#reading(isolate);
    const isLeased = readMs < held.leaseEndsMs;
    if (!isLeased && !mayServeStale(held, held.document.config.sync.maxStaleMs, readMs)) return;
    if (admitsOf(held.document) === null || admitsOf(held.document) === "none") return;
    const { receipt } = this;
    const isClosed = receipt !== null && !["active", "ejected", "draining"].includes(receipt.state);
    if (isClosed && (receipt.certainAtMs ?? 0) <= this.#nowMs)
      this.#break(
        `${isolate.id} sends by version ${held.document.version} though it is certain that none does`,
      );
    this.seen.sent++;
    if (!isLeased) this.seen.stray++;
    const work: Work = {
      isolate,
      life: isolate.id,
      sentMs: this.#nowMs,
      bodyMs: step.bodyMs,
      isStray: !isLeased,
      isFollowed: step.isFollowed,
      phase: "waiting",
      toldMs: null,
      toldUntilMs: 0,
      staleUntilMs: 0,
      isUntold: false,
    };
    this.#works.add(work);
    this.#at(this.#nowMs + step.answerMs, () => this.#whenRunning(isolate, () => this.#answer(work)));
    this.#at(this.#nowMs + HEARD_OF_MS, () => this.#expectTold(work));
    this.#keepTelling(work);
  }

  /** Its headers have come. Whatever comes from a backend that the isolate knows to be draining is followed to its end. */
  #answer(work: Work): void {
    if (work.phase === "over") return;
    work.phase = "body";
    const { held } = work.isolate;
    const admits = held === null ? null : admitsOf(held.document);
    if (admits === "sticky" || admits === "none") work.isFollowed = true;
    if (!work.isFollowed && work.toldMs !== null) this.#sync(work.isolate);
    this.#at(this.#nowMs + work.bodyMs, () =>
      work.isFollowed ? this.#whenRunning(work.isolate, () => this.#finish(work)) : this.#end(work),
    );
  }

  #finish(work: Work): void {
    if (work.phase === "over") return;
    this.#end(work);
    if (work.toldMs !== null) this.#sync(work.isolate);
  }

  #end(work: Work): void {
    work.phase = "over";
    this.#works.delete(work);
  }

  /** The context of a request that lasts asks once a second. */
  #keepTelling(work: Work): void {
    const { isolate } = work;
    this.#at(this.#nowMs + Math.ceil(OWN_SYNC_MS / isolate.clock.rate), () =>
      this.#whenRunning(isolate, () => {
        if (!isInFlight(work)) return;
        this.#sync(isolate);
        this.#keepTelling(work);
      }),
    );
  }

  #expectTold(work: Work): void {
    if (isInFlight(work) && work.toldMs === null) work.isUntold = true;
  }

  /** Sends a sync; in how long its reply will be there, null: never. */
  #sync(isolate: Isolate): number | null {
    const { requestMs, replyMs, fates, standstillMs } = isolate.weather;
    const fate = fates[isolate.syncs++ % fates.length] ?? "arrives";
    isolate.readMs = Math.max(isolate.readMs, this.#nowMs - standstillMs);
    const sentMs = reading(isolate.clock, isolate.readMs);
    const { id, held } = isolate;
    const seq = ++isolate.seq;
    const flying = [...this.#works].filter((work) => work.isolate === isolate && isInFlight(work));
    const request = {
      isolate: id,
      seq,
      incarnation: held?.document.incarnation ?? null,
      haveVersion: held?.document.version ?? 0,
      report: null,
      inFlight: flying.length === 0 ? [] : [{ id: B, count: flying.length }],
    };
    if (fate === "request lost") return null;
    this.#at(this.#nowMs + requestMs, () => {
      this.#passDeadlines();
      const pacing = pace(this.#ring.config.sync, this.#ledger.size, false, 0);
      const reply = answerSync(this.#ledger, this.#snapshot, request, pacing, this.nowMs, (leaseMs) => {
        this.#storedLeaseMs = leaseMs;
      });
      if (reply.kind === "leased") {
        for (const work of flying) {
          work.toldMs = this.#nowMs;
          work.toldUntilMs = leaseEndMs(this.nowMs, reply.leaseMs);
          const { config, stops } = this.#ring;
          const staleUntilMs = leaseEndMs(this.nowMs, reply.leaseMs + config.sync.maxStaleMs);
          work.staleUntilMs = Math.max(staleUntilMs, stops.staleUntilMs);
          if (isInFlight(work)) work.isUntold = false;
        }
      }
      if (fate === "reply lost") return;
      this.#at(this.#nowMs + replyMs, () =>
        this.#whenRunning(isolate, () => this.#receive(isolate, id, reply, seq, sentMs)),
      );
    });
    return fate === "reply lost" ? null : requestMs + replyMs;
  }

  #receive(isolate: Isolate, id: string, reply: SyncReply<Snapshot>, seq: number, sentMs: EpochMs): void {
    if (isolate.id !== id || reply.kind !== "leased") return;
    isolate.held = install(isolate.held, reply, seq, sentMs);
  }

  /** Now, or when the isolate goes on. */
  #whenRunning(isolate: Isolate, run: () => void): void {
    if (this.#nowMs >= isolate.pausedUntilMs) run();
    else this.#at(isolate.pausedUntilMs, () => this.#whenRunning(isolate, run));
  }

  #at(atMs: number, run: () => void): void {
    this.#events.push({ atMs: Math.max(atMs, this.#nowMs), run });
  }

  /** When the receipt is to turn by itself; null: it is not. */
  #forecastMs(): number | null {
    const { receipt } = this;
    const times = [receipt?.safeAtMs ?? null, receipt?.certainAtMs ?? null];
    const coming = times.filter((time) => time !== null && time > this.#nowMs);
    return coming.length === 0 ? null : Math.min(...coming.map(Number));
  }

  #check(): void {
    const { receipt } = this;
    if ((receipt?.safeAtMs ?? 0) > (receipt?.certainAtMs ?? 0))
      this.#break(`certain ${receipt?.certainAtMs} before it is safe ${receipt?.safeAtMs}`);
    if (receipt?.safe !== true) return;
    this.seen.safe++;
    for (const isolate of this.#isolates) {
      const use = decideUse(isolate.held, this.#reading(isolate));
      const admits = isolate.held === null ? null : admitsOf(isolate.held.document);
      if ((use === "fresh" || use === "due") && admits !== "none" && admits !== null)
        this.#break(`${isolate.id} may send by version ${isolate.held?.document.version} though it is safe`);
    }
    for (const work of this.#works) {
      if (this.#isInTime(work)) {
        const { life, sentMs, phase, isFollowed, toldMs } = work;
        this.#break(`safe while open: ${JSON.stringify({ life, sentMs, phase, isFollowed, toldMs })}`);
      }
    }
  }

  /** Whether the ring has to know of a request: its isolate held a lease when it sent it, and could tell. */
  #isInTime(work: Work): boolean {
    if (work.isStray || work.isUntold) return false;
    // Silent for so long that it could serve no more, either when the backend was closed or by now.
    const stop = this.#ring.stops.closed.find(({ id }) => id === B);
    const isOver = (stop?.atMs ?? 0) >= work.staleUntilMs || this.#nowMs >= (stop?.certainAtMs ?? 0);
    return !(isOver && work.toldMs !== null && this.#nowMs >= work.toldUntilMs);
  }

  /** What an isolate reads when its clock has stood still for as long as it may. */
  #reading({ clock, readMs }: Isolate): EpochMs {
    return reading(clock, Math.max(readMs, this.#nowMs - LONGEST_STANDSTILL_MS));
  }

  #isolate(index: number): Isolate {
    const isolate = this.#isolates[index % this.#isolates.length];
    if (isolate === undefined) throw new Error(`there is no isolate ${index}`);
    return isolate;
  }

  #break(what: string): void {
    this.broken.push(`at ${this.#nowMs}: ${what}`);
  }
}

/** What an isolate counts: until the headers, and to the end of what it follows. */
function isInFlight({ phase, isFollowed }: Work): boolean {
  return phase === "waiting" || (phase === "body" && isFollowed);
}

function admitsOf({ backends }: Snapshot): "new" | "sticky" | "none" | null {
  return backends.find(({ id }) => id === B)?.admits ?? null;
}

function reading({ rate, offsetMs }: Clock, atMs: number): EpochMs {
  return epochMs(Math.floor(offsetMs + rate * atMs));
}
