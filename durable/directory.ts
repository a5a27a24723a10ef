import { Archive } from "./archive.ts";
import { now, randomHex } from "./io/clock.ts";
import { type Callable, DurableBase } from "./io/durable-base.ts";
import { SnapshotArchive } from "./io/snapshot-archive.ts";
import { Store } from "./io/store.ts";
import { type Look, Waiters } from "./io/waiters.ts";
import type { Applied, DirectoryChange } from "./model/command.ts";
import {
  askedBy,
  type Cause,
  type Difference,
  type LostLeasesView,
  type PastDocument,
  selfMade,
  type VersionsRequest,
  type VersionsView,
} from "./model/history.ts";
import { parse } from "./model/parse.ts";
import { DEFAULT_POOL_CONFIG } from "./model/pool.ts";
import type { RouteRehearsal } from "./model/preview.ts";
import { ok, type Result } from "./model/result.ts";
import type { Route } from "./model/route.ts";
import type { RoutingTable, VersionWanted } from "./model/snapshot.ts";
import { type SyncReply, SyncRequestSchema } from "./model/sync.ts";
import type { EpochMs } from "./model/time.ts";
import type { ConvergenceRequest, ConvergenceView, DirectoryView } from "./model/view.ts";
import { answerSync, lookForConvergence, projectConvergence } from "./state/answer-sync.ts";
import { applyDirectoryCommand } from "./state/directory-command.ts";
import {
  type DirectoryState,
  newDirectory,
  projectTable,
  type StoredDirectory,
  toDirectoryDocument,
  upgradeDirectory,
} from "./state/directory-state.ts";
import { LeaseLedger } from "./state/lease-ledger.ts";
import { pace } from "./state/pacing.ts";
import { rehearseRoute } from "./state/rehearse-route.ts";

/** Holds the routing table and the list of pools: load, pure function, save, reply. */
export class Directory extends DurableBase {
  protected override readonly callable: Callable = {
    reads: ["view"],
    writes: [
      "apply",
      "check",
      "preview",
      "sync",
      "converge",
      "versions",
      "documentAt",
      "difference",
      "lostLeases",
      "published",
    ],
  };

  #store!: Store<StoredDirectory, Route>;
  #archive!: Archive;
  #snapshots!: SnapshotArchive<RoutingTable>;
  #state!: DirectoryState;
  #table!: RoutingTable;
  #ledger!: LeaseLedger;
  readonly #waiters = new Waiters<ConvergenceView>();

  protected override async load(storage: DurableObjectStorage): Promise<void> {
    this.#store = new Store(storage);
    this.#archive = new Archive(storage, "routes");
    this.#snapshots = new SnapshotArchive(storage);
    this.#ledger = new LeaseLedger(this.#store.readLongestLeaseMs(), now(), (gone) =>
      this.#archive.countGone(gone, this.#state.version, now()),
    );
    const stored = this.#store.read();
    const secret = randomHex(16);
    const state =
      stored === null
        ? newDirectory(crypto.randomUUID(), secret)
        : upgradeDirectory(stored.head, stored.rows, secret);
    // The first one is written at once: its name for this deployment must not change with the next restart. So is a secret,
    // and what was stored before there was a history is its first entry.
    const isKnown = stored?.head.version === state.version && state.version === this.#archive.newest;
    if (isKnown) this.#adopt(state);
    else this.#save(null, state, selfMade("start"));
  }

  /** Carries out one change. Nothing is changed when it is refused, or when storage fails. */
  async apply(change: DirectoryChange): Promise<Result<Applied>> {
    const next = applyDirectoryCommand(this.#state, change.command, change.precondition);
    if (!next.ok) return next;
    const { state } = next.value;
    if (state !== this.#state) this.#save(this.#state, state, askedBy(change.author, change.command.kind));
    await this.#store.settled();
    return ok(next.value.applied);
  }

  /** What a change would do, or why it would be refused. Nothing is changed. */
  async check({ command, precondition }: DirectoryChange): Promise<Result<Applied>> {
    const next = applyDirectoryCommand(this.#state, command, precondition);
    return next.ok ? ok(next.value.applied) : next;
  }

  /** What one change would do. Nothing is changed. */
  async preview(change: DirectoryChange): Promise<Result<RouteRehearsal>> {
    return rehearseRoute(this.#state, change);
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
    const look = (nowMs: EpochMs): Look<ConvergenceView> => lookForConvergence(this.#ledger, asked, nowMs);
    return ok(await this.#waiters.until({ name: String(asked), look, waitMs, gone }));
  }

  /** What isolates route from, or did at a version that is kept, the secret included: for the worker's own eyes. */
  async published(wanted: VersionWanted): Promise<Result<RoutingTable>> {
    return this.#snapshots.find(this.#table, wanted);
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

  /** Who changed what, and when. */
  async versions(request: VersionsRequest): Promise<Result<VersionsView>> {
    return ok(this.#archive.versions(request));
  }

  /** The routes and the list of pools as they were at a version. */
  async documentAt({ version }: Pick<PastDocument, "version">): Promise<Result<PastDocument>> {
    return this.#archive.documentAt(version);
  }

  /** What is different between two versions. */
  async difference(between: Pick<Difference, "from" | "to">): Promise<Result<Difference>> {
    return this.#archive.difference(between);
  }

  /** When isolates were lost that may have been at work. */
  async lostLeases(): Promise<Result<LostLeasesView>> {
    this.#ledger.sweep(now());
    return ok(this.#archive.lostLeases());
  }

  /** Writes first, together with who made it so; memory follows only when that succeeded. */
  #save(before: DirectoryState | null, next: DirectoryState, cause: Cause): void {
    const { routes, ...head } = next;
    this.#store.write(head, routes, () => {
      this.#archive.record(
        { ...cause, version: next.version, atMs: now(), changes: [] },
        before === null ? null : toDirectoryDocument(before),
        toDirectoryDocument(next),
      );
      this.#snapshots.add(projectTable(next));
    });
    if (before !== null) this.#ledger.sweep(now());
    this.#adopt(next);
  }

  #adopt(state: DirectoryState): void {
    this.#state = state;
    this.#table = projectTable(state);
  }
}
