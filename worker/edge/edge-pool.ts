import type { PoolName } from "../../durable/model/names.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import type { SyncReply } from "../../durable/model/sync.ts";
import type { Choice, Choosing } from "../core/choice.ts";
import { PoolView } from "../core/pool-view.ts";
import { RetryBudget } from "../core/retry-budget.ts";
import { SubChannels } from "../core/sub-channels.ts";
import { Tally } from "../core/tally.ts";
import { WaitingLine } from "../core/waiting-line.ts";
import type { Env } from "../env.ts";
import {
  type Acknowledgement,
  type Context,
  clock,
  DEFAULT_PATIENCE,
  Leased,
  type Source,
} from "./leased.ts";
import { callObject } from "./ring-client.ts";
import { Roll } from "./roll.ts";
import type { Vigil } from "./vigil.ts";
import type { Room } from "./wait-for-room.ts";

/** One pool in this isolate: its leased snapshot, the view made of it, and what is to be reported. */
export class EdgePool implements Source<Snapshot, Env> {
  readonly leased: Leased<Snapshot, Env> = new Leased(this);
  readonly tally = new Tally();
  readonly retryBudget = new RetryBudget();
  readonly hedgeBudget = new RetryBudget();
  /** Who waits for room. */
  readonly line = new WaitingLine({
    mayChoose: (nowMs) => this.leased.mayUse(nowMs),
    choose: (choosing) => this.#choose(choosing),
  });
  /** What is open at its backends, and looks after itself. */
  readonly vigils = new Roll<Vigil>();
  readonly #name: PoolName;
  readonly #isolate: string;
  readonly #onSnapshot: () => void;
  /** They outlive the pool, since whoever makes one of that name again has to be told what is still open. */
  readonly #channels = new SubChannels();
  #view: PoolView | null = null;
  /** Whether the ring was last told of anything in flight. */
  #isOwing = false;
  #closesSockets = false;
  #blamed: ReadonlySet<number> = new Set(DEFAULT_POOL_CONFIG.health.failureStatuses);

  /** `onSnapshot` is called after every new one. */
  constructor(name: PoolName, isolate: string, onSnapshot: () => void) {
    this.#name = name;
    this.#isolate = isolate;
    this.#onSnapshot = onSnapshot;
  }

  /** What to choose a backend from; null while there is no snapshot. */
  get view(): PoolView | null {
    return this.#view;
  }

  /** The pool that serves what this one cannot; null: none does. */
  get fallback(): PoolName | null {
    return this.#view?.snapshot.config.tiers.fallbackPool ?? null;
  }

  /** Statuses that count against its backends. */
  get blamed(): ReadonlySet<number> {
    return this.#blamed;
  }

  /** Whether its backends are believed when they speak of their health. */
  get isTrusting(): boolean {
    return this.#view?.snapshot.config.health.trustAnnouncements ?? false;
  }

  get isOwing(): boolean {
    return this.#isOwing;
  }

  /** Whether sockets to a backend that admits nothing any more are closed; as it was last if the pool is gone. */
  get closesSockets(): boolean {
    return this.#closesSockets;
  }

  get isIdle(): boolean {
    return this.#channels.all().every((channel) => channel.isIdle);
  }

  /** The pool, as a request sees it that waits for room. */
  room(env: Env, context: Context): Room {
    const { leased, line, vigils } = this;
    return {
      line,
      vigils,
      keepUp: (nowMs) => leased.keepUp(env, context, nowMs),
      catchUp: async (nowMs) => (await leased.obtain(env, context, nowMs)) !== null,
      choose: (choosing) => this.#choose(choosing),
    };
  }

  #choose(choosing: Choosing): Choice {
    return this.#view?.choose(choosing) ?? { kind: "no_backend" };
  }

  /** One call does both: report what happened, ask what changed. */
  async send(env: Env, acknowledgement: Acknowledgement): Promise<SyncReply<Snapshot>> {
    const channels = this.#channels.all();
    const report = this.tally.take(channels, clock());
    const inFlight = channels
      .filter((channel) => channel.inFlight > 0)
      .map((channel) => ({ id: channel.id, count: channel.inFlight }));
    this.#isOwing = inFlight.length > 0;
    const request = { isolate: this.#isolate, ...acknowledgement, report, inFlight };
    const reply = await callObject<SyncReply<Snapshot>>(env.RING, this.#name, "sync", request);
    if (!reply.ok) throw new Error(`ring ${this.#name} refused a sync: ${JSON.stringify(reply.refusal)}`);
    this.tally.acknowledge(report.batch);
    return reply.value;
  }

  adopt(snapshot: Snapshot | null): void {
    if (snapshot === null) {
      this.#view = null;
      this.#channels.retire();
    } else if (this.#view === null) this.#view = this.#see(snapshot);
    else this.#view.adopt(snapshot, clock(), Math.random());
    if (snapshot !== null) {
      this.#blamed = new Set(snapshot.config.health.failureStatuses);
      this.#closesSockets = snapshot.config.closeSocketsAtDeadline;
    }
    this.#onSnapshot();
    this.line.serve(null, clock());
    // Nothing else in a snapshot is news to what is open.
    if (this.#closesSockets) for (const vigil of this.vigils.all()) vigil.call();
  }

  #see(snapshot: Snapshot): PoolView {
    const view = new PoolView(snapshot, clock(), Math.random(), this.#channels);
    view.onRoom = (channel) => this.line.serve(channel, clock());
    return view;
  }

  patience(snapshot: Snapshot | null): { readonly waitMs: number; readonly maxStaleMs: number } {
    return snapshot?.config.sync ?? DEFAULT_PATIENCE;
  }
}
