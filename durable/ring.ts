import { Archive } from "./archive.ts";
import { Courier } from "./courier.ts";
import { now, randomHex } from "./io/clock.ts";
import { type Callable, DurableBase } from "./io/durable-base.ts";
import { EventLog } from "./io/event-log.ts";
import { makeProbe } from "./io/probe.ts";
import { Prober } from "./io/prober.ts";
import { SnapshotArchive } from "./io/snapshot-archive.ts";
import { Store } from "./io/store.ts";
import { type Look, Waiters, type Watch } from "./io/waiters.ts";
import type { Applied, PoolChange } from "./model/command.ts";
import type { EventsRequest, EventsView, Occurrence } from "./model/event.ts";
import type { BegunProbe, ProbeResult } from "./model/health.ts";
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
import type { BackendId, PoolName } from "./model/names.ts";
import { parse } from "./model/parse.ts";
import type { Rehearsal } from "./model/preview.ts";
import type { QuicLbExport } from "./model/quic-lb-export.ts";
import type { ReceiptsRequest, ReceiptsView } from "./model/receipt.ts";
import type { Refusal } from "./model/refusal.ts";
import { ok, type Result, refuse } from "./model/result.ts";
import type { Snapshot, VersionWanted } from "./model/snapshot.ts";
import { type Report, type SyncReply, SyncRequestSchema } from "./model/sync.ts";
import { type EpochMs, earliest, epochMs } from "./model/time.ts";
import type {
  ConvergenceRequest,
  ConvergenceView,
  EstimatedSessions,
  PoolStatus,
  PoolView,
} from "./model/view.ts";
import { isHurried, nextDeadlineMs, openDrainUntilMs, passDeadlines } from "./state/agenda.ts";
import { answerSync, lookForConvergence, projectConvergence } from "./state/answer-sync.ts";
import { changeEvents } from "./state/change-events.ts";
import { Counters } from "./state/counters.ts";
import { diff } from "./state/diff.ts";
import { Evidence } from "./state/evidence.ts";
import { healthOf } from "./state/health.ts";
import { judge } from "./state/judge.ts";
import { LeaseLedger } from "./state/lease-ledger.ts";
import { pace, refreshIntervalMs } from "./state/pacing.ts";
import { ProbeSchedule } from "./state/probe-schedule.ts";
import { applyProbe } from "./state/probing.ts";
import { projectSnapshot } from "./state/project.ts";
import { projectQuicLbExport, projectTokensView } from "./state/project-tokens.ts";
import { lookForReceipts } from "./state/receipt.ts";
import { rehearse } from "./state/rehearse.ts";
import { applyPoolCommand, type CommandContext, type Transition } from "./state/ring-command.ts";
import { type LiveRing, NO_RING, type RingState, toDocument } from "./state/ring-state.ts";
import { SessionEstimates } from "./state/session-estimates.ts";
import { stampStops } from "./state/stops.ts";
import type { Moment, TokenKeys } from "./state/token-configs.ts";
import { tell } from "./state/told.ts";
import { type StoredRing, type StoredRow, upgradeRing } from "./state/upgrade.ts";

/** An alarm so late is not coming: it was not set, or given up after it had failed some times. */
const OVERDUE_MS = 5_000;

/** Holds the truth of one pool: load, pure function, save, reply. */
export class Ring extends DurableBase {
  protected override readonly callable: Callable = {
    reads: ["view", "status"],
    writes: [
      "apply",
      "check",
      "preview",
      "sync",
      "events",
      "versions",
      "documentAt",
      "difference",
      "lostLeases",
      "exportTokens",
      "converge",
      "receipts",
      "published",
    ],
  };

  #store!: Store<StoredRing, StoredRow>;
  #log!: EventLog;
  #archive!: Archive;
  #snapshots!: SnapshotArchive<Snapshot>;
  #courier!: Courier;
  #ring: RingState = NO_RING;
  #snapshot: Snapshot | null = null;
  #ledger!: LeaseLedger;
  readonly #watchers = {
    convergence: new Waiters<ConvergenceView>(),
    receipts: new Waiters<Result<ReceiptsView>>(),
  };
  #counters = new Counters();
  readonly #evidence = new Evidence();
  readonly #sessions = new SessionEstimates();
  #sinceMs: EpochMs = epochMs(0);
  #schedule!: ProbeSchedule;
  readonly #prober = new Prober({
    begin: () => this.#beginProbe(),
    make: (task) => makeProbe(task, (name) => this.binding(name)),
    finish: (task, result) => this.#finishProbe(task, result),
    nextMs: () => earliest([this.#agendaMs(now()), this.#schedule.nextBeginMs(), this.#courier.setsOutMs]),
  });

  protected override async load(storage: DurableObjectStorage): Promise<void> {
    this.#store = new Store(storage);
    this.#log = new EventLog(storage);
    this.#archive = new Archive(storage, "backends");
    this.#snapshots = new SnapshotArchive(storage);
    this.#courier = new Courier(this.#log, this.environment, () => {
      this.#prober.wake();
      return this.#setAlarm();
    });
    this.#sinceMs = now();
    this.#ledger = new LeaseLedger(this.#store.readLongestLeaseMs(), this.#sinceMs, (gone) =>
      this.#archive.countGone(gone, this.#ring.version, now()),
    );
    this.#schedule = new ProbeSchedule(await alarmOr(this.#sinceMs, storage));
    this.#load(this.#store.read());
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
    const next = this.#try(change, nowMs);
    if (!next.ok) return next;
    const { state } = next.value;
    if (state !== this.#ring) {
      const occurrences = changeEvents(this.#ring, state, "operator", nowMs);
      this.#save(state, askedBy(change.author, change.command.kind), occurrences);
    }
    await this.#setAlarm();
    await this.#store.settled();
    return ok(next.value.applied);
  }

  /** What a change would do, or why it would be refused. Nothing is changed. */
  async check(change: PoolChange): Promise<Result<Applied>> {
    const next = this.#try(change, now());
    await this.#setAlarm();
    return next.ok ? ok(next.value.applied) : next;
  }

  /** What one change would do. Nothing is changed, not even what is due. */
  async preview(change: PoolChange): Promise<Result<Rehearsal>> {
    const nowMs = now();
    const moment = { ...this.#moment(nowMs), birth: newBirth() };
    return rehearse(this.#ring, change, moment, (id) => this.#sessions.of(id, nowMs));
  }

  /** Answers an isolate that asks for changes, and counts what it reports. */
  async sync(untrusted: unknown): Promise<Result<SyncReply<Snapshot>>> {
    const request = parse(SyncRequestSchema, untrusted);
    if (!request.ok) return request;
    const nowMs = now();
    const hasPassed = this.#passDeadlines(nowMs);
    const { isolate, report } = request.value;
    const hasJudged = report !== null && this.#hear(isolate, report, nowMs);
    if (hasPassed || hasJudged || this.#isOverdue(nowMs)) await this.#setAlarm();
    if (this.#ring.kind === "absent" || this.#snapshot === null) return ok({ kind: "absent" });
    const { sync } = this.#ring.config;
    const isolates = this.#ledger.size;
    const isUrgent =
      this.#isAwaited ||
      isHurried(this.#ring) ||
      this.#evidence.isWaiting(refreshIntervalMs(sync, isolates), nowMs);
    const pacing = pace(sync, isolates, isUrgent, Math.random());
    const reply = answerSync(this.#ledger, this.#snapshot, request.value, pacing, nowMs, (leaseMs) =>
      this.#store.writeLongestLeaseMs(leaseMs),
    );
    this.#wake();
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
    const admits = new Map(this.#snapshot?.backends.map((backend) => [backend.id, backend.admits]));
    return ok({
      pool,
      version,
      convergence: projectConvergence(this.#ledger, version, nowMs),
      backends: backends.map((backend) => ({
        id: backend.id,
        admits: admits.get(backend.id) ?? "none",
        weight: backend.weight,
        health: healthOf(backend),
        pin: backend.pin,
        observed: backend.observed,
        servingSinceMs: backend.servingSinceMs,
        drainsUntilMs: openDrainUntilMs(backend),
        inFlight: this.#ledger.inFlight(backend.id, nowMs),
        estimatedSessions: this.#sessions.of(backend.id, nowMs),
        outcomes: this.#counters.outcomes(backend.id),
      })),
      tiers: this.#snapshot?.tiers ?? [],
      probes: this.#schedule.view(),
      protocols: this.#counters.protocols,
      incidents: this.#counters.incidents,
      sessions: this.#counters.sessions,
      tokens: projectTokensView(this.#ring, this.#governsAtMs(nowMs)),
      webhooks: this.#courier.status(),
      sinceMs: this.#sinceMs,
    });
  }

  /**
   * How far a version has come; waits for it to govern. One that is named may be that of the pool's deletion; else there
   * must be a pool.
   */
  async converge(asked: ConvergenceRequest, gone: AbortSignal): Promise<Result<ConvergenceView>> {
    if (asked.version === null && this.#ring.kind === "absent") return refuse(NO_POOL);
    const version = asked.version ?? this.#ring.version;
    const look = (nowMs: EpochMs): Look<ConvergenceView> => lookForConvergence(this.#ledger, version, nowMs);
    const watch = { name: String(version), look, waitMs: asked.waitMs, gone };
    return ok(await this.#watch(this.#watchers.convergence, watch));
  }

  /** Whether backends can be stopped; waits until they can. */
  async receipts({ pool, of, waitMs }: ReceiptsRequest, gone: AbortSignal): Promise<Result<ReceiptsView>> {
    const look = (nowMs: EpochMs): Look<Result<ReceiptsView>> => {
      if (this.#ring.kind === "absent" || this.#snapshot === null)
        return { view: refuse(noPool(pool)), isDone: true, nextMs: null };
      const sessionsOf = (id: BackendId): EstimatedSessions => this.#sessions.of(id, nowMs);
      const kept = { ring: this.#ring, snapshot: this.#snapshot, ledger: this.#ledger };
      return lookForReceipts({ ...kept, sessionsOf, nowMs }, of);
    };
    return this.#watch(this.#watchers.receipts, { name: JSON.stringify(of), look, waitMs, gone });
  }

  /** What happened to the health of its backends. */
  async events(request: EventsRequest): Promise<Result<EventsView>> {
    if (this.#passDeadlines(now())) await this.#setAlarm();
    if (this.#ring.kind === "absent") return refuse(NO_POOL);
    return ok({ events: this.#log.read(request), lastId: this.#log.lastId });
  }

  /** Who changed what, and when. A pool that was deleted has a history, too. */
  async versions(request: VersionsRequest): Promise<Result<VersionsView>> {
    if (this.#passDeadlines(now())) await this.#setAlarm();
    return this.#archive.newest === 0 ? refuse(NO_POOL) : ok(this.#archive.versions(request));
  }

  /** The pool's document as it was at a version. */
  async documentAt({ version }: Pick<PastDocument, "version">): Promise<Result<PastDocument>> {
    return this.#archive.newest === 0 ? refuse(NO_POOL) : this.#archive.documentAt(version);
  }

  /** What is different between two versions. */
  async difference(between: Pick<Difference, "from" | "to">): Promise<Result<Difference>> {
    return this.#archive.newest === 0 ? refuse(NO_POOL) : this.#archive.difference(between);
  }

  /** When isolates were lost that may have been at work. */
  async lostLeases(): Promise<Result<LostLeasesView>> {
    if (this.#ring.kind === "absent") return refuse(NO_POOL);
    this.#ledger.sweep(now());
    return ok(this.#archive.lostLeases());
  }

  /** What isolates route from, or did at a version that is kept, secrets included: for the worker's own eyes. */
  async published(wanted: VersionWanted): Promise<Result<Snapshot>> {
    if (this.#passDeadlines(now())) await this.#setAlarm();
    return this.#snapshot === null ? refuse(NO_POOL) : this.#snapshots.find(this.#snapshot, wanted);
  }

  /** The token configurations with their keys in clear, for the operator alone. It takes no argument, and is no read. */
  async exportTokens(): Promise<Result<QuicLbExport>> {
    if (this.#passDeadlines(now())) await this.#setAlarm();
    return this.#ring.kind === "absent" ? refuse(NO_POOL) : ok(projectQuicLbExport(this.#ring));
  }

  /**
   * Wakes at the next deadline, or when a probe is due. Coming early, late or twice does no harm. What `info` says is new
   * to an object that was evicted: until when the alarm before has done its work.
   */
  async alarm(info?: AlarmInvocationInfo): Promise<void> {
    if (info !== undefined) this.#schedule.catchUp(epochMs(info.scheduledTime), now());
    this.#passDeadlines(now());
    await this.#prober.run();
    await this.#setAlarm();
    await this.#store.settled();
  }

  /** Looks, and goes on looking until it is done. What is due by then is done first, in case the alarm is late. */
  async #watch<View>(waiters: Waiters<View>, watch: Watch<View>): Promise<View> {
    const { version } = this.#ring;
    const look = (nowMs: EpochMs): Look<View> => {
      this.#passDeadlines(nowMs);
      return watch.look(nowMs);
    };
    const view = await waiters.until({ ...watch, look });
    if (this.#ring.version !== version) await this.#setAlarm();
    return view;
  }

  get #isAwaited(): boolean {
    return this.#watchers.convergence.isAwaited || this.#watchers.receipts.isAwaited;
  }

  #wake(): void {
    this.#watchers.convergence.wake();
    this.#watchers.receipts.wake();
  }

  /** What would come of a change at this moment. */
  #try({ pool, command, precondition }: PoolChange, nowMs: EpochMs): Result<Transition<RingState>> {
    this.#passDeadlines(nowMs);
    const context = { ...this.#moment(nowMs), pool, precondition, birth: newBirth() };
    return applyPoolCommand(this.#ring, command, context);
  }

  /** The next probe. Deadlines and webhooks come first, or a drain or an event would wait until all probes are over. */
  #beginProbe(): BegunProbe | null {
    this.#passDeadlines(now());
    this.#courier.setOut();
    return this.#schedule.begin(now());
  }

  #finishProbe(task: BegunProbe, result: ProbeResult): void {
    const nowMs = now();
    this.#schedule.end(task, result.tookMs, nowMs);
    if (this.#ring.kind === "absent") return;
    const { state, occurrences } = applyProbe(this.#ring, task, result, nowMs);
    if (state === this.#ring) return;
    this.#save(state, selfMade("probe"), occurrences);
    this.#courier.setOut();
  }

  /**
   * Counts what an isolate reports, and judges by all that was reported. True when that changed anything. A report that is
   * sent again is not counted again, but judged, in case that what came of it could not be written before.
   */
  #hear(isolate: string, report: Report, nowMs: EpochMs): boolean {
    if (this.#ring.kind === "absent") return false;
    if (this.#counters.add(isolate, report)) {
      this.#evidence.add(report, nowMs);
      this.#sessions.add(report, nowMs);
    }
    const suspects = report.backends.map(({ id }) => id);
    const refreshMs = refreshIntervalMs(this.#ring.config.sync, this.#ledger.size);
    const { state, occurrences } = judge(this.#ring, this.#evidence, suspects, { nowMs, refreshMs });
    if (state === this.#ring && occurrences.length === 0) return false;
    this.#save(state, selfMade("verdict"), occurrences);
    this.#evidence.told(occurrences);
    return true;
  }

  /** True when a deadline had passed and a new version says so. */
  #passDeadlines(nowMs: EpochMs): boolean {
    const dueMs = this.#agendaMs(nowMs);
    if (dueMs === null || dueMs > nowMs) return false;
    const next = passDeadlines(this.#ring, this.#moment(nowMs));
    if (next === this.#ring) return false;
    this.#save(next, selfMade("time"), changeEvents(this.#ring, next, "time", nowMs));
    return true;
  }

  #agendaMs(nowMs: EpochMs): EpochMs | null {
    return nextDeadlineMs(this.#ring, this.#governsAtMs(nowMs));
  }

  /** When there is something to do next, probes included; null: never. */
  #nextWakeMs(nowMs: EpochMs): EpochMs | null {
    return earliest([this.#agendaMs(nowMs), this.#schedule.nextDueMs(), this.#courier.nextMs]);
  }

  #isOverdue(nowMs: EpochMs): boolean {
    const dueMs = this.#nextWakeMs(nowMs);
    return !this.#prober.isRunning && dueMs !== null && nowMs - dueMs > OVERDUE_MS;
  }

  #governsAtMs(nowMs: EpochMs): Moment["governsAtMs"] {
    return (version) => this.#ledger.governsAtMs(version, nowMs);
  }

  #moment(nowMs: EpochMs): Moment {
    const { longestLeaseMs } = this.#ledger;
    return { nowMs, longestLeaseMs, governsAtMs: this.#governsAtMs(nowMs), keys: freshKeys() };
  }

  /** Takes over what is stored; what an older version of this code stored is brought into shape, and saved so. */
  #load(stored: Stored | null): void {
    if (stored === null) return this.#adopt(NO_RING);
    const { head, rows } = stored;
    const ring = upgradeRing(head, rows, { nowMs: now(), keys: freshKeys() });
    this.#courier.adopt(ring);
    // What was stored before there was a history is its first entry.
    const isKnown = ring.version === head.version && ring.version === this.#archive.newest;
    if (isKnown) this.#adopt(ring);
    else this.#save(ring, selfMade("start"));
  }

  /**
   * Writes the pool, who made it so, what happened to it and who is to be told, all or nothing; memory follows only when that
   * succeeded.
   */
  #save(changed: RingState, cause: Cause, occurrences: readonly Occurrence[] = []): void {
    const { longestLeaseMs } = this.#ledger;
    const next = stampStops(this.#ring, changed, { nowMs: now(), longestLeaseMs });
    const { head, rows } = toStore(next);
    const events = this.#log.number(occurrences, next.version);
    const outbox = this.#courier.plan(next, events);
    this.#store.write(head, rows, () => {
      this.#log.append(events);
      if (next.version !== this.#ring.version) this.#record(next, cause);
      this.#courier.write(outbox);
      if (next.kind === "absent") this.#forget();
      else if (next.version !== this.#snapshot?.version) this.#snapshots.add(projectSnapshot(next));
    });
    this.#courier.adopt(next, outbox);
    this.#adopt(next);
  }

  /** What happened to the backends of a pool that is gone, and what was routed from, is told to nobody. */
  #forget(): void {
    this.#log.clear();
    this.#snapshots.clear();
  }

  #record(next: RingState, cause: Cause): void {
    const changes = diff(tell(this.#ring), tell(next));
    const entry = { ...cause, version: next.version, atMs: now(), changes };
    this.#archive.record(entry, documentOf(this.#ring), documentOf(next));
  }

  #adopt(ring: RingState): void {
    if (ring.version !== this.#ring.version) this.#ledger.sweep(now());
    this.#ring = ring;
    this.#snapshot = ring.kind === "live" ? projectSnapshot(ring) : null;
    if (ring.kind === "absent") this.#beginCounting();
    this.#counters.keepBackends(ring.kind === "live" ? ring.backends.map((backend) => backend.id) : []);
    this.#schedule.follow(ring, now());
    this.#prober.wake();
    this.#evidence.adopt(ring.kind === "live" ? ring : null);
    this.#sessions.adopt(ring.kind === "live" ? ring : null, now());
    if (ring.kind === "live") this.#keepLedger(ring);
    this.#wake();
  }

  /** What the ledger has to know of a version before any isolate gets it. */
  #keepLedger({ config, stops, version }: LiveRing): void {
    this.#ledger.allowStale(config.sync.maxStaleMs, stops.staleUntilMs);
    for (const stop of stops.closed) if (stop.version === version) this.#ledger.close(stop);
  }

  /** What was counted for a pool that is gone says nothing about one of the same name. */
  #beginCounting(): void {
    this.#counters = new Counters();
    this.#sinceMs = now();
  }

  async #setAlarm(): Promise<void> {
    const { storage } = this.state;
    const wakeMs = this.#nextWakeMs(now());
    if (wakeMs !== null) {
      await storage.setAlarm(wakeMs);
      return;
    }
    const isSet = (await storage.getAlarm()) !== null;
    // Looked at again: while the alarm was read, another command may have begun a drain that needs it.
    if (isSet && this.#nextWakeMs(now()) === null) await storage.deleteAlarm();
  }
}

const NO_POOL: Refusal = { kind: "not-found", detail: "this pool does not exist" };

function noPool(pool: PoolName): Refusal {
  return { kind: "not-found", detail: `pool ${pool} does not exist` };
}

/** What the alarm is set to; the time given where it is not, or where nobody can tell. */
async function alarmOr(otherwiseMs: EpochMs, storage: DurableObjectStorage): Promise<EpochMs> {
  try {
    return epochMs((await storage.getAlarm()) ?? otherwiseMs);
  } catch (error) {
    console.error(error);
    return otherwiseMs;
  }
}

interface Stored {
  readonly head: StoredRing;
  readonly rows: readonly StoredRow[];
}

function toStore(ring: RingState): Stored {
  if (ring.kind === "absent") return { head: ring, rows: [] };
  const { backends, stops, ...rest } = ring;
  const { leaving, ...head } = stops;
  return {
    head: { ...rest, stops: head },
    rows: [...backends, ...leaving.map((each) => ({ leaving: each }))],
  };
}

function documentOf(ring: RingState): ReturnType<typeof toDocument> | null {
  return ring.kind === "absent" ? null : toDocument(ring);
}

function newBirth(): CommandContext["birth"] {
  return { incarnation: crypto.randomUUID(), secret: randomHex(16) };
}

function freshKeys(): TokenKeys {
  return { key: randomHex(16), macKey: randomHex(16) };
}
