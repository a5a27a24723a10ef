import { now, randomHex } from "./io/clock.ts";
import { type Callable, DurableBase } from "./io/durable-base.ts";
import { Store } from "./io/store.ts";
import { Waiters } from "./io/waiters.ts";
import type { Applied, DirectoryChange } from "./model/command.ts";
import { parse } from "./model/parse.ts";
import { DEFAULT_POOL_CONFIG } from "./model/pool.ts";
import { ok, type Result } from "./model/result.ts";
import type { Route } from "./model/route.ts";
import type { RoutingTable } from "./model/snapshot.ts";
import { type SyncReply, SyncRequestSchema } from "./model/sync.ts";
import type { ConvergenceRequest, ConvergenceView, DirectoryView } from "./model/view.ts";
import { answerSync, lookForConvergence, projectConvergence } from "./state/answer-sync.ts";
import { applyDirectoryCommand } from "./state/directory-command.ts";
import {
  type DirectoryState,
  newDirectory,
  projectTable,
  type StoredDirectory,
  upgradeDirectory,
} from "./state/directory-state.ts";
import { LeaseLedger } from "./state/lease-ledger.ts";
import { pace } from "./state/pacing.ts";

/** Holds the routing table and the list of pools: load, pure function, save, reply. */
export class Directory extends DurableBase {
  protected override readonly callable: Callable = { reads: ["view"], writes: ["apply", "sync", "converge"] };

  #store!: Store<StoredDirectory, Route>;
  #state!: DirectoryState;
  #table!: RoutingTable;
  #ledger!: LeaseLedger;
  readonly #waiters = new Waiters();

  protected override async load(storage: DurableObjectStorage): Promise<void> {
    this.#store = new Store(storage);
    this.#ledger = new LeaseLedger(this.#store.readLongestLeaseMs(), now());
    const stored = this.#store.read();
    const secret = randomHex(16);
    // The first one is written at once: its name for this deployment must not change with the next restart. So is a secret.
    if (stored === null) this.#save(newDirectory(crypto.randomUUID(), secret));
    else if (stored.head.secret === undefined) this.#save(upgradeDirectory(stored.head, stored.rows, secret));
    else this.#adopt(upgradeDirectory(stored.head, stored.rows, secret));
  }

  /** Carries out one change. Nothing is changed when it is refused, or when storage fails. */
  async apply(change: DirectoryChange): Promise<Result<Applied>> {
    const next = applyDirectoryCommand(this.#state, change.command, change.precondition);
    if (!next.ok) return next;
    if (next.value.state !== this.#state) this.#save(next.value.state);
    await this.#store.settled();
    return ok(next.value.applied);
  }

  /** Answers an isolate that asks for changes. */
  async sync(untrusted: unknown): Promise<Result<SyncReply<RoutingTable>>> {
    const request = parse(SyncRequestSchema, untrusted);
    if (!request.ok) return request;
    const pacing = pace(DEFAULT_POOL_CONFIG.sync, this.#ledger.size, this.#waiters.isAwaited, Math.random());
    const reply = answerSync(this.#ledger, this.#table, request.value, pacing, now(), (leaseMs) =>
      this.#store.writeLongestLeaseMs(leaseMs),
    );
    this.#waiters.wake();
    return ok(reply);
  }

  /** How far a version of the routing table has come; waits for it to govern. */
  async converge(
    { version, waitMs }: ConvergenceRequest,
    gone: AbortSignal,
  ): Promise<Result<ConvergenceView>> {
    const asked = version ?? this.#state.version;
    return ok(await this.#waiters.until(() => lookForConvergence(this.#ledger, asked, now()), waitMs, gone));
  }

  /** Everything the directory holds. */
  async view(): Promise<Result<DirectoryView>> {
    const { version, deployment, pools, routes } = this.#state;
    return ok({
      version,
      deployment,
      pools,
      routes,
      convergence: projectConvergence(this.#ledger, version, now()),
    });
  }

  /** Writes first; memory follows only when that succeeded. */
  #save(next: DirectoryState): void {
    const { routes, ...head } = next;
    this.#store.write(head, routes);
    this.#adopt(next);
  }

  #adopt(state: DirectoryState): void {
    this.#state = state;
    this.#table = projectTable(state);
  }
}
