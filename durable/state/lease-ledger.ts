import type { BackendId } from "../model/names.ts";
import { after, type EpochMs, later } from "../model/time.ts";
import { LeaseCensus } from "./lease-census.ts";
import type { Gone } from "./lost-leases.ts";
import { Retirements } from "./retirements.ts";
import { type Closing, type InFlight, type Work, WorkInFlight } from "./work-in-flight.ts";

/** Rate by which an isolate's clock may differ from the ring's. */
const CLOCK_DRIFT = 0.01;

/**
 * An isolate's clock stands still between I/O, so it may read a second behind when it uses a lease: a second of its own,
 * which may be longer than one of ours. Milliseconds.
 */
const CLOCK_SLACK_MS = 1_100;

/**
 * Longest time until an isolate asks again that could not reach its object, by its own clock, milliseconds: 6 s until a call
 * counts as lost (`worker/edge/leased.ts`), and the longest quiet time after it (`worker/core/quiet.ts`). Short leases have
 * ended by then, and it may have work in flight that it could tell nobody of.
 */
const RETURN_MS = 6_000 + 16_000;

/** Grants remembered per isolate; older ones are merged, which can only make the ledger more careful. */
const MAX_GRANTS = 8;

const SWEEP_MS = 1_000;

/** A version an isolate may be using, and until when by the ring's clock. */
interface Grant {
  /** The oldest, where several were merged. */
  readonly version: number;
  /** The newest of those merged; only an isolate that holds a newer one uses none of them. */
  readonly newestVersion: number;
  readonly untilMs: EpochMs;
}

interface Entry {
  lastSeq: number;
  heardMs: EpochMs;
  /** By rising version, no version in two of them: all it may still be using. */
  grants: readonly Grant[];
}

/** What an isolate said of itself when it asked for changes. */
export interface Heard {
  readonly isolate: string;
  readonly seq: number;
  /** The version it holds, 0 for none or one of another incarnation. The only acknowledgement there is. */
  readonly haveVersion: number;
  readonly inFlight: readonly InFlight[];
}

/** Until when, by the ring's clock, a lease granted at `nowMs` may be in use, whatever the isolate's clock does. */
export function leaseEndMs(nowMs: EpochMs, leaseMs: number): EpochMs {
  return after(nowMs, Math.ceil(leaseMs / (1 - CLOCK_DRIFT)) + CLOCK_SLACK_MS);
}

/**
 * Who may still be using which version, and until when. It learns only from what isolates say they hold and from the
 * leases granted to them; a reply sent proves nothing. It has no clock and does no I/O: the same events at the same
 * times give the same answers.
 *
 * It lives in memory. Only the longest lease is stored, before any as long is granted; after a restart the ledger
 * counts on unknown isolates holding anything for that long.
 */
export class LeaseLedger {
  readonly #entries = new Map<string, Entry>();
  readonly #retirements = new Retirements();
  readonly #work = new WorkInFlight();
  /** Of all entries as they are; null: they are others since. */
  #census: LeaseCensus | null = null;
  #storedLeaseMs: number;
  readonly #unknownUntilMs: EpochMs;
  readonly #unheardUntilMs: EpochMs;
  /** Longest time that an isolate may serve past its lease with the ring out of reach, by any version published so far. */
  #maxStaleMs = 0;
  #staleUntilMs: EpochMs;
  /** When the present period began; periods last until every lease granted in the one before has ended. */
  #periodMs: EpochMs;
  /** Longest lease granted in the present period. */
  #grantedLeaseMs = 0;
  #sweptMs: EpochMs;
  readonly #onGone: (gone: readonly Gone[]) => void;

  /**
   * `storedLeaseMs`: what was last stored, 0 for an object that never granted a lease. `onGone`: told of isolates when they
   * are forgotten.
   */
  constructor(storedLeaseMs: number, nowMs: EpochMs, onGone: (gone: readonly Gone[]) => void = () => {}) {
    this.#onGone = onGone;
    this.#storedLeaseMs = storedLeaseMs;
    this.#unknownUntilMs = storedLeaseMs === 0 ? nowMs : leaseEndMs(nowMs, storedLeaseMs);
    this.#unheardUntilMs =
      storedLeaseMs === 0 ? nowMs : later(this.#unknownUntilMs, leaseEndMs(nowMs, RETURN_MS));
    this.#periodMs = nowMs;
    this.#sweptMs = nowMs;
    this.#staleUntilMs = nowMs;
  }

  /** The longest lease that may be in anybody's hands, milliseconds. */
  get longestLeaseMs(): number {
    return this.#storedLeaseMs;
  }

  /**
   * Takes note that isolates may serve for so long past their lease when the ring is out of reach, or until `untilMs` by
   * what was published before this ledger began.
   */
  allowStale(maxStaleMs: number, untilMs: EpochMs): void {
    this.#maxStaleMs = Math.max(this.#maxStaleMs, maxStaleMs);
    this.#staleUntilMs = later(this.#staleUntilMs, untilMs);
  }

  /** Takes note of a sync. False for one that comes after a later one of the same isolate: it must get no lease. */
  hear(heard: Heard, nowMs: EpochMs): boolean {
    // Not each time, so that a sync stays O(1) on average.
    if (nowMs - this.#sweptMs >= SWEEP_MS) this.sweep(nowMs);
    this.#census = null;
    const entry = this.#entries.get(heard.isolate);
    if (entry === undefined) {
      this.#entries.set(heard.isolate, {
        lastSeq: heard.seq,
        heardMs: nowMs,
        grants: [],
      });
      this.#work.hear(heard, nowMs);
      return true;
    }
    if (heard.seq <= entry.lastSeq) return false;
    entry.lastSeq = heard.seq;
    entry.heardMs = nowMs;
    this.#work.hear(heard, nowMs);
    this.#keep(
      entry,
      entry.grants.filter((grant) => grant.newestVersion >= heard.haveVersion),
      nowMs,
    );
    return true;
  }

  /**
   * The value that has to be stored before a lease of `leaseMs` is granted; null when what is stored will do. Rises in
   * powers of two of a second, and falls when a period is over in which nothing as long was granted: then whatever was
   * granted before it has ended.
   */
  leaseToStoreMs(leaseMs: number, nowMs: EpochMs): number | null {
    const needMs = roundUpMs(Math.max(leaseMs, this.#grantedLeaseMs));
    if (needMs > this.#storedLeaseMs) return needMs;
    return needMs < this.#storedLeaseMs && this.#isPeriodOver(nowMs) ? needMs : null;
  }

  /** Takes note that `leaseToStoreMs` was stored. */
  stored(leaseMs: number, nowMs: EpochMs): void {
    this.#storedLeaseMs = leaseMs;
    this.#beginPeriod(nowMs);
  }

  /** Takes note that an isolate was, or is about to be, granted a version. Its `hear` came first. */
  grant(isolate: string, version: number, leaseMs: number, nowMs: EpochMs): void {
    const entry = this.#entries.get(isolate);
    if (entry === undefined) throw new Error(`lease granted to isolate ${isolate}, which never asked`);
    if (leaseMs > this.#storedLeaseMs)
      throw new Error(`lease of ${leaseMs} ms granted, ${this.#storedLeaseMs} ms stored`);
    if (this.#isPeriodOver(nowMs)) this.#beginPeriod(nowMs);
    this.#grantedLeaseMs = Math.max(this.#grantedLeaseMs, leaseMs);
    const untilMs = leaseEndMs(nowMs, leaseMs);
    this.#census = null;
    this.#keep(
      entry,
      entry.grants.filter((grant) => grant.untilMs > nowMs),
      nowMs,
    );
    entry.grants = withGrant(entry.grants, { version, newestVersion: version, untilMs });
    const staleUntilMs = later(leaseEndMs(nowMs, leaseMs + this.#maxStaleMs), this.#staleUntilMs);
    this.#work.lease(isolate, untilMs, staleUntilMs);
  }

  /**
   * When `version` governs every isolate that reaches the ring in time: from then on none uses an older one. At most
   * `nowMs`: it does already.
   */
  governsAtMs(version: number, nowMs: EpochMs): EpochMs {
    return later(nowMs, this.governsSinceMs(version));
  }

  /**
   * Since when `version` governs every isolate that reaches the ring in time, or from when on by what is known: sooner, if
   * isolates acknowledge it before their leases end.
   */
  governsSinceMs(version: number): EpochMs {
    const sinceMs = later(
      this.#unknownUntilMs,
      this.#retirements.lastBeforeMs(version) ?? this.#unknownUntilMs,
    );
    // Of whatever moment: until when versions were granted does not depend on it.
    const census = this.#census ?? this.#count(this.#unknownUntilMs);
    return later(sinceMs, census.olderUntilMs(version) ?? sinceMs);
  }

  /**
   * Until when, after a restart, isolates that were not heard since may serve, or have work in flight from before that they
   * are about to tell of. In the past: all are known.
   */
  get unheardUntilMs(): EpochMs {
    return this.#unheardUntilMs;
  }

  /** Whether no isolate that reaches the ring in time uses anything older than `version` any more. */
  governs(version: number, nowMs: EpochMs): boolean {
    return this.governsAtMs(version, nowMs) <= nowMs;
  }

  /** How many isolates are known, give or take those whose lease ended within the last second. */
  get size(): number {
    return this.#entries.size;
  }

  /** How many isolates hold a lease. */
  isolates(nowMs: EpochMs): number {
    return this.#count(nowMs).isolates;
  }

  /** How many isolates may still use something older than `version`. */
  outstandingIsolates(version: number, nowMs: EpochMs): number {
    return this.#count(nowMs).outstandingIsolates(version);
  }

  /** When that one of them was heard which has been silent for the longest; null: there is none. */
  longestUnheardMs(version: number, nowMs: EpochMs): EpochMs | null {
    return this.#count(nowMs).longestUnheardMs(version);
  }

  /** The oldest version that anybody known may still use; null: nobody holds a lease. */
  oldestVersion(nowMs: EpochMs): number | null {
    return this.#count(nowMs).oldestVersion;
  }

  /** Requests in flight at one backend, as last told by every isolate that holds a lease. */
  inFlight(backend: BackendId, nowMs: EpochMs): number {
    return this.#work.count(backend, nowMs);
  }

  /** What is in flight at a backend that was closed, and who fell silent since counted until nobody can send it anything. */
  workAt(backend: BackendId, closing: Closing, nowMs: EpochMs): Work {
    return this.#work.atClosed(backend, closing, nowMs);
  }

  /** Takes note that a backend was closed. */
  close(closing: Closing): void {
    this.#work.close(closing);
  }

  /** Counted once for all questions between two syncs, as long as no time passes. */
  #count(nowMs: EpochMs): LeaseCensus {
    if (this.#census?.atMs !== nowMs) this.#census = new LeaseCensus(this.#entries.values(), nowMs);
    return this.#census;
  }

  /** Of an isolate's grants only these are left; the others fall out of use now, if they had not before. */
  #keep(entry: Entry, kept: readonly Grant[], nowMs: EpochMs): void {
    for (const grant of entry.grants) {
      if (!kept.includes(grant))
        this.#retirements.add(grant.version, grant.untilMs < nowMs ? grant.untilMs : nowMs);
    }
    entry.grants = kept;
  }

  /** Forgets isolates whose every lease has ended; to be called before a new version, so that none counts as unknown to them. */
  sweep(nowMs: EpochMs): void {
    this.#sweptMs = nowMs;
    this.#census = null;
    const gone: Gone[] = [];
    for (const [isolate, entry] of this.#entries) {
      if (holdsLease(entry, nowMs) || nowMs - entry.heardMs < SWEEP_MS) continue;
      gone.push({ version: entry.grants[0]?.version ?? null, inFlight: this.#work.toldBy(isolate) });
      this.#keep(entry, [], nowMs);
      this.#entries.delete(isolate);
    }
    this.#work.sweep(nowMs);
    if (gone.length > 0) this.#onGone(gone);
  }

  #isPeriodOver(nowMs: EpochMs): boolean {
    return nowMs > leaseEndMs(this.#periodMs, this.#storedLeaseMs);
  }

  #beginPeriod(nowMs: EpochMs): void {
    this.#periodMs = nowMs;
    this.#grantedLeaseMs = 0;
  }
}

function holdsLease(entry: Entry, nowMs: EpochMs): boolean {
  return entry.grants.some((grant) => grant.untilMs > nowMs);
}

function withGrant(grants: readonly Grant[], granted: Grant): readonly Grant[] {
  const others = grants.filter((grant) => grant.version !== granted.version);
  const same = grants.find((grant) => grant.version === granted.version);
  const merged = same === undefined ? granted : { ...granted, untilMs: later(same.untilMs, granted.untilMs) };
  const sorted = [...others, merged].toSorted((a, b) => a.version - b.version);
  const [oldest, second, ...rest] = sorted;
  if (sorted.length <= MAX_GRANTS || oldest === undefined || second === undefined) return sorted;
  const untilMs = later(oldest.untilMs, second.untilMs);
  return [{ version: oldest.version, newestVersion: second.newestVersion, untilMs }, ...rest];
}

function roundUpMs(leaseMs: number): number {
  return 1_000 * 2 ** Math.ceil(Math.log2(Math.max(leaseMs, 1_000) / 1_000));
}
