import type { PoolCommand } from "../../../durable/model/command.ts";
import type { Snapshot } from "../../../durable/model/snapshot.ts";
import type { SyncReply } from "../../../durable/model/sync.ts";
import { after, type EpochMs } from "../../../durable/model/time.ts";
import { isHurried, nextDeadlineMs, passDeadlines } from "../../../durable/state/agenda.ts";
import { answerSync } from "../../../durable/state/answer-sync.ts";
import { LeaseLedger } from "../../../durable/state/lease-ledger.ts";
import { pace } from "../../../durable/state/pacing.ts";
import { projectSnapshot } from "../../../durable/state/project.ts";
import { applyPoolCommand } from "../../../durable/state/ring-command.ts";
import type { LiveRing } from "../../../durable/state/ring-state.ts";
import type { Moment } from "../../../durable/state/token-configs.ts";
import type { Choice } from "../../../worker/core/choice.ts";
import { decideUse, type Held, install, mayServeStale } from "../../../worker/core/lease.ts";
import { PoolView } from "../../../worker/core/pool-view.ts";
import { TOKEN_RANDOM_BYTES } from "../../../worker/core/sessions.ts";
import { NOON } from "./build.ts";
import { Dice } from "./dice.ts";
import { frozen } from "./frozen.ts";
import { connection } from "./visit.ts";

export type Step =
  | { readonly kind: "command"; readonly command: PoolCommand }
  | { readonly kind: "wait"; readonly forMs: number }
  /** The ring looks at its deadlines. */
  | { readonly kind: "alarm" }
  /** The ring loses its memory; its state and the longest lease are stored, as text. */
  | { readonly kind: "evict" }
  /** An isolate is gone, and another begins in its place with nothing. */
  | { readonly kind: "restart"; readonly isolate: number }
  /** The ring hears an isolate, which gets no answer. */
  | { readonly kind: "lose"; readonly isolate: number }
  /** The answer comes only some steps later. */
  | { readonly kind: "delay"; readonly isolate: number }
  /** From now on an isolate cannot reach the ring; if it could not, it can. */
  | { readonly kind: "cut"; readonly isolate: number }
  /** A client loses its token. */
  | { readonly kind: "forget"; readonly session: number }
  /** So many requests of sessions, at isolates and with what else `seed` says; the other isolates sleep meanwhile. */
  | { readonly kind: "visits"; readonly seed: number; readonly count: number };

/** One request that an isolate served, as a client and an observer inside of the isolate see it. */
export interface Visit {
  readonly nowMs: EpochMs;
  readonly isolate: string;
  /** What the isolate routes from. */
  readonly version: number;
  readonly token: string | null;
  readonly connection: string | null;
  readonly choice: Choice;
  /** The token in the answer; null: none. */
  readonly given: string | null;
}

/** Is told what operators, ring and clients see. */
export interface Witness {
  /** The ring accepted a command. */
  accepted(command: PoolCommand, nowMs: EpochMs): void;
  /** The ring publishes a version. */
  published(snapshot: Snapshot, nowMs: EpochMs): void;
  served(visit: Visit): void;
}

/** A client: what it keeps, and the connection it comes by. */
interface Session {
  token: string | null;
  readonly connection: string;
}

interface Isolate {
  name: string;
  seq: number;
  held: Held<Snapshot> | null;
  view: PoolView | null;
  isCut: boolean;
  /** What is on its way, and is to come late. */
  late: { readonly answered: Answered; readonly dueStep: number } | null;
}

interface Answered {
  readonly reply: SyncReply<Snapshot>;
  readonly seq: number;
  readonly sentMs: EpochMs;
}

/** Steps that a late answer is on its way. */
const LATE_STEPS = 4;

interface WorldOptions {
  /** The pool at first. */
  readonly ring: LiveRing;
  readonly isolates: number;
  readonly sessions: number;
  readonly witness: Witness;
}

/**
 * A ring, isolates and clients in virtual time: the real commands, deadlines, ledger, answers to syncs, installation of
 * replies, views and tokens, put together as the object and the edge do it, without any I/O. It judges nothing.
 */
export class World {
  readonly #witness: Witness;
  readonly #isolates: readonly Isolate[];
  readonly #sessions: readonly Session[];
  #ring: LiveRing;
  #snapshot: Snapshot;
  #ledger = new LeaseLedger(0, NOON);
  #storedLeaseMs = 0;
  #nowMs: EpochMs = NOON;
  #steps = 0;
  #madeKeys = 0;
  #madeIsolates = 0;

  constructor({ ring, isolates, sessions, witness }: WorldOptions) {
    this.#witness = witness;
    this.#ring = ring;
    this.#snapshot = this.#publish();
    this.#isolates = Array.from({ length: isolates }, () => ({
      name: this.#newName(),
      seq: 0,
      held: null,
      view: null,
      isCut: false,
      late: null,
    }));
    this.#sessions = Array.from({ length: sessions }, (_, index) => ({
      token: null,
      connection: `connection-${index}`,
    }));
  }

  /** How many clients hold a token. */
  get sessions(): number {
    return this.#sessions.filter(({ token }) => token !== null).length;
  }

  /** Milliseconds until the ring next has something to do by itself; null: never. */
  get dueInMs(): number | null {
    const dueMs = nextDeadlineMs(this.#ring, this.#moment().governsAtMs);
    return dueMs === null ? null : dueMs - this.#nowMs;
  }

  take(step: Step): this {
    this.#steps++;
    for (const isolate of this.#isolates) this.#receiveLate(isolate);
    this.#do(step);
    return this;
  }

  /** A request of every session, one isolate after another taking the next; `round` says which is the first. */
  visitAll(round: number): this {
    const dice = new Dice(round);
    this.#sessions.forEach((session, index) =>
      this.#visit(this.#isolate(index + round), session, true, dice),
    );
    return this;
  }

  /** A request of one session at one isolate, by a connection that nobody knows. */
  visit(session: number, isolate: number): this {
    this.#visit(this.#isolate(isolate), this.#session(session), false, new Dice(session));
    return this;
  }

  #do(step: Step): void {
    switch (step.kind) {
      case "command":
        this.#passDeadlines();
        this.#apply(step.command);
        break;
      case "wait":
        this.#nowMs = after(this.#nowMs, step.forMs);
        break;
      case "alarm":
        this.#passDeadlines();
        break;
      case "evict":
        this.#evict();
        break;
      case "restart":
        this.#restart(this.#isolate(step.isolate));
        break;
      case "lose":
        this.#ask(this.#isolate(step.isolate));
        break;
      case "delay": {
        const isolate = this.#isolate(step.isolate);
        const answered = this.#ask(isolate);
        if (answered !== null) isolate.late = { answered, dueStep: this.#steps + LATE_STEPS };
        break;
      }
      case "cut": {
        const isolate = this.#isolate(step.isolate);
        isolate.isCut = !isolate.isCut;
        break;
      }
      case "forget":
        this.#session(step.session).token = null;
        break;
      case "visits":
        this.#visits(step.count, new Dice(step.seed));
    }
  }

  #moment(): Moment {
    const [ledger, nowMs] = [this.#ledger, this.#nowMs];
    const key = (++this.#madeKeys).toString(16).padStart(32, "0");
    return {
      nowMs,
      longestLeaseMs: ledger.longestLeaseMs,
      governsAtMs: (version) => ledger.governsAtMs(version, nowMs),
      keys: { key, macKey: key },
    };
  }

  #passDeadlines(): void {
    const next = passDeadlines(this.#ring, this.#moment());
    if (next.kind === "live") this.#adopt(next);
  }

  #apply(command: PoolCommand): void {
    const result = applyPoolCommand(this.#ring, command, {
      ...this.#moment(),
      pool: this.#ring.pool,
      precondition: { ifMatch: null, ifAbsent: false },
      birth: { incarnation: "never", secret: "" },
    });
    if (!result.ok || result.value.state.kind !== "live") return;
    this.#witness.accepted(command, this.#nowMs);
    this.#adopt(result.value.state);
  }

  #adopt(ring: LiveRing): void {
    if (ring === this.#ring) return;
    this.#ring = ring;
    this.#snapshot = this.#publish();
  }

  #publish(): Snapshot {
    const snapshot = frozen(projectSnapshot(frozen(this.#ring)));
    this.#witness.published(snapshot, this.#nowMs);
    return snapshot;
  }

  #evict(): void {
    const stored: LiveRing = JSON.parse(JSON.stringify(this.#ring));
    this.#ring = stored;
    this.#snapshot = projectSnapshot(stored);
    this.#ledger = new LeaseLedger(this.#storedLeaseMs, this.#nowMs);
  }

  #restart(isolate: Isolate): void {
    isolate.name = this.#newName();
    isolate.seq = 0;
    isolate.held = null;
    isolate.view = null;
    isolate.late = null;
  }

  #newName(): string {
    return `isolate-${this.#madeIsolates++}`;
  }

  /** What the ring answers; null when it cannot be reached. */
  #ask(isolate: Isolate): Answered | null {
    if (isolate.isCut) return null;
    this.#passDeadlines();
    const held = isolate.held?.document;
    const seq = ++isolate.seq;
    const request = {
      isolate: isolate.name,
      seq,
      incarnation: held?.incarnation ?? null,
      haveVersion: held?.version ?? 0,
      report: null,
      inFlight: [],
    };
    const pacing = pace(this.#ring.config.sync, this.#ledger.size, isHurried(this.#ring), 0);
    const store = (leaseMs: number): void => {
      this.#storedLeaseMs = leaseMs;
    };
    const reply = answerSync(this.#ledger, this.#snapshot, request, pacing, this.#nowMs, store);
    return { reply, seq, sentMs: this.#nowMs };
  }

  #receive(isolate: Isolate, { reply, seq, sentMs }: Answered): void {
    if (reply.kind !== "leased") return;
    const before = isolate.held;
    isolate.held = install(before, reply, seq, sentMs);
    const next = isolate.held?.document;
    if (next === undefined || next === before?.document) return;
    if (isolate.view === null) isolate.view = new PoolView(next, this.#nowMs, 0.5);
    else isolate.view.adopt(next, this.#nowMs, 0.5);
  }

  #receiveLate(isolate: Isolate): void {
    if (isolate.late === null || isolate.late.dueStep > this.#steps) return;
    this.#receive(isolate, isolate.late.answered);
    isolate.late = null;
  }

  #sync(isolate: Isolate): void {
    const answered = this.#ask(isolate);
    if (answered !== null) this.#receive(isolate, answered);
  }

  #visits(count: number, dice: Dice): void {
    const awake = this.#isolates.filter(() => dice.isLucky(0.6));
    if (awake.length === 0) return;
    for (let done = 0; done < count; done++) {
      const session = dice.one(this.#sessions);
      const isFromConnection = dice.isLucky(0.5);
      if (dice.isLucky(0.01)) session.token = null;
      if (dice.isLucky(0.1)) this.#visitAtOnce(awake, session, isFromConnection, dice);
      else this.#visit(dice.one(awake), session, isFromConnection, dice);
    }
  }

  /** Requests of one client in parallel: all carry the token it had before. The last answer counts. */
  #visitAtOnce(awake: readonly Isolate[], session: Session, isFromConnection: boolean, dice: Dice): void {
    const { token } = session;
    const answers = awake.map((isolate) => {
      session.token = token;
      this.#visit(isolate, session, isFromConnection, dice);
      return session.token;
    });
    session.token = answers.findLast((answer) => answer !== token) ?? token;
  }

  /** Serves a request as the edge does: asks before it without a lease, behind it when the refresh is due. */
  #visit(isolate: Isolate, session: Session, isFromConnection: boolean, dice: Dice): void {
    const use = decideUse(isolate.held, this.#nowMs);
    if (use === "expired" || use === "missing") this.#sync(isolate);
    this.#serve(isolate, session, isFromConnection, dice);
    if (use === "due") this.#sync(isolate);
  }

  #serve(isolate: Isolate, session: Session, isFromConnection: boolean, dice: Dice): void {
    const { held, view, name } = isolate;
    if (held === null || view === null) return;
    if (!mayServeStale(held, held.document.config.sync.maxStaleMs, this.#nowMs)) return;
    const { policy, affinity } = view.snapshot.config;
    const { token } = session;
    const cookies = token === null ? null : `theme=dark; ${COOKIE}=${token}; lang=en`;
    const credentials = {
      headers: { get: (header: string) => (header === "cookie" ? cookies : null) },
      query: "",
      clientAddress: null,
      connection: isFromConnection ? connection(session.connection) : null,
    };
    const nowMs = this.#nowMs;
    const choice = view.choose({
      policy,
      affinity,
      subset: null,
      credentials,
      nowMs,
      chance: dice.next(),
      tried: new Set(),
      hasWaited: false,
    });
    const given = choice.kind === "backend" ? this.#answer(view, choice, dice) : null;
    const identity = credentials.connection?.identity ?? null;
    const { version } = held.document;
    this.#witness.served({ nowMs, isolate: name, version, token, connection: identity, choice, given });
    session.token = given ?? token;
  }

  /** The token in the response headers, as a client finds it. */
  #answer(
    view: PoolView,
    { channel, grant }: Extract<Choice, { kind: "backend" }>,
    dice: Dice,
  ): string | null {
    channel.end();
    if (grant === null) return null;
    const random = dice.bytes(TOKEN_RANDOM_BYTES);
    const headers = view.sessions.write(grant, this.#nowMs, random);
    const cookie = headers.find(([name]) => name === "set-cookie")?.[1] ?? "";
    const [name, value] = (cookie.split(";", 1)[0] ?? "").split("=");
    if (name !== COOKIE || value === undefined) throw new Error(`the answer sets no token: ${cookie}`);
    return value;
  }

  #session(index: number): Session {
    const session = this.#sessions[index];
    if (session === undefined) throw new Error(`there is no session ${index}`);
    return session;
  }

  #isolate(index: number): Isolate {
    const isolate = this.#isolates[index % this.#isolates.length];
    if (isolate === undefined) throw new Error("there are no isolates");
    return isolate;
  }
}

const COOKIE = "__Host-ring-shop";
