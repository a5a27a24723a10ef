import type { BackendId } from "../../durable/model/names.ts";
import type { SessionFate } from "../../durable/model/outcome.ts";
import type { Affinity } from "../../durable/model/pool.ts";
import { type Mark, markOf } from "../../durable/model/sketch.ts";
import type { Snapshot, SnapshotBackend } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { hashedText, usesTokens } from "./affinity.ts";
import type { Choice, Choosing, Chosen } from "./choice.ts";
import { ConnectionTable } from "./connection-table.ts";
import type { Connection } from "./identify.ts";
import { createKeyedHash, type Hash64, type KeyedHash, toHex } from "./keyed-hash.ts";
import { lastResorts } from "./last-resort.ts";
import type { Notes } from "./notes.ts";
import { isHashing } from "./policies/by-name.ts";
import type { GaugeOf, Picker } from "./policies/policy.ts";
import { Regions } from "./regions.ts";
import { type RetryRules, retryRules } from "./retry.ts";
import type { Destination } from "./route.ts";
import type { Material, Selection, Turns } from "./selection.ts";
import { Selections } from "./selections.ts";
import { type LossCause, Sessions, sessionIdOf } from "./sessions.ts";
import { Shedding } from "./shedding.ts";
import type { SubChannel } from "./sub-channel.ts";
import { SubChannels } from "./sub-channels.ts";
import type { WantedSubset } from "./subset.ts";
import type { OpenedToken } from "./token/keyring.ts";

const NOBODY: ReadonlySet<BackendId> = new Set();
const NO_BACKEND: Choice = { kind: "no_backend" };
const SESSION_REFUSED: Choice = { kind: "session_refused" };
const FULL: Choice = { kind: "full" };
const SHED: Choice = { kind: "shed" };

/** Nothing is new for the client, nor for anybody else. */
const NOTHING_NEW = {
  kind: "backend",
  fate: null,
  grant: null,
  inheritance: null,
  hasMigrated: false,
  isDesperate: false,
} as const;

/** A request that came to the chain's token step without a token that can be read. */
interface Arrival {
  /** Of the token that it carried; null when it carried none. */
  readonly fate: SessionFate | null;
}

/** Where a step of the affinity chain, or the policy, leads. */
interface Bound {
  readonly channel: SubChannel;
  readonly hasMigrated: boolean;
  /** The connection that led there; null when something else did. */
  readonly by: Connection | null;
  /** This isolate remembers the connection. */
  readonly isKnown: boolean;
}

/**
 * One isolate's view of one pool: the newest snapshot made ready to choose from, and what outlives snapshots, which is
 * sub-channels, rotations, remembered connections and tokens that were read.
 */
export class PoolView {
  #snapshot: Snapshot;
  #hash: KeyedHash;
  #sessions: Sessions;
  readonly #channels: SubChannels;
  #regions: Regions;
  readonly #gauge: GaugeOf = (id) => this.#channels.find(id);
  readonly #selections: Selections;
  #shedding: Shedding;
  #retry: RetryRules;
  readonly #connections: ConnectionTable;
  #hasTokens = false;

  /** `channels`: those of a pool of that name that was there before, of which something may be in flight. */
  constructor(snapshot: Snapshot, nowMs: EpochMs, chance: number, channels = new SubChannels()) {
    this.#snapshot = snapshot;
    this.#channels = channels;
    this.#hash = createKeyedHash(snapshot.secret);
    this.#sessions = new Sessions(snapshot, null);
    this.#regions = new Regions(snapshot.backends);
    this.#connections = new ConnectionTable(snapshot.config.connections);
    this.#shedding = new Shedding(snapshot.config.shed, this.#hash);
    this.#retry = retryRules(snapshot.config, {});
    this.#selections = new Selections(this.#material(nowMs, chance));
    this.adopt(snapshot, nowMs, chance);
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  get sessions(): Sessions {
    return this.#sessions;
  }

  /** What holds for the retries of requests that come by a route. */
  retryFor(route: Pick<Destination, "retry" | "headerTimeoutMs">): RetryRules {
    const isSilent = route.retry === undefined && route.headerTimeoutMs === undefined;
    return isSilent ? this.#retry : retryRules(this.#snapshot.config, route);
  }

  /** Whether the pool binds by tokens, wherever no route says otherwise. */
  get hasTokens(): boolean {
    return this.#hasTokens;
  }

  /**
   * What a request carries of this pool's tokens, where `affinity` or else the pool's chain asks for one: one that can be
   * read, or one that others may be able to read. Null: neither.
   */
  tokenOf(
    headers: { get(name: string): string | null },
    affinity: Affinity | undefined,
    nowMs: EpochMs,
  ): "opened" | "unknown" | null {
    const isAsked = affinity === undefined ? this.#hasTokens : usesTokens(affinity);
    const kind = isAsked ? this.#sessions.read(headers, nowMs)?.kind : undefined;
    return kind === "opened" || kind === "unknown" ? kind : null;
  }

  /** Makes a newer snapshot the one to choose from. `chance`: where a rotation that is new here begins. */
  adopt(snapshot: Snapshot, nowMs: EpochMs, chance: number): void {
    if (snapshot.secret !== this.#snapshot.secret) this.#hash = createKeyedHash(snapshot.secret);
    this.#snapshot = snapshot;
    this.#sessions = new Sessions(snapshot, this.#sessions);
    this.#hasTokens = usesTokens(snapshot.config.affinity);
    this.#channels.adopt(snapshot);
    this.#regions = new Regions(snapshot.backends);
    this.#connections.resize(snapshot.config.connections);
    this.#shedding = new Shedding(snapshot.config.shed, this.#hash);
    this.#retry = retryRules(snapshot.config, {});
    this.#selections.adopt(this.#material(nowMs, chance));
  }

  #material(nowMs: EpochMs, chance: number): Material {
    return { snapshot: this.#snapshot, hash: this.#hash, gauge: this.#gauge, nowMs, chance };
  }

  /** Where a request goes. Its backend, if there is one, counts it as in flight from here on. */
  choose(choosing: Choosing): Choice {
    const among = this.#selections.select(choosing.subset);
    const { notes, nowMs } = choosing;
    if (notes !== undefined) this.#beginNotes(notes, choosing, false);
    const choice =
      choosing.affinity.length === 0 ? this.#free(choosing, among, null) : this.#walk(choosing, among);
    if (choice.kind === "backend") choice.channel.begin(nowMs);
    return choice;
  }

  /**
   * The response headers that give a client the token it was granted, whose session is the named backend's from here on.
   * `random`: at least `TOKEN_RANDOM_BYTES` fresh random bytes.
   */
  issue(
    { channel, grant }: Chosen,
    nowMs: EpochMs,
    random: Uint8Array,
  ): readonly (readonly [name: string, value: string])[] {
    if (grant === null) return [];
    // A token renewed while its backend is away names that one, and not the one that helps out.
    if (grant.backend.serverId === channel.backend.serverId)
      channel.noteSession(this.#markOf(sessionIdOf(grant, random)));
    return this.#sessions.write(grant, nowMs, random);
  }

  /** From now on `listener` is told of every backend that was full and may have room again. */
  set onRoom(listener: (channel: SubChannel) => void) {
    this.#channels.availability.onRoom = listener;
  }

  /** Whether a backend is only chosen because its tier panics, and may be anything but well. */
  isPanicking({ tier, admits }: SnapshotBackend): boolean {
    return admits === "new" && this.#snapshot.tiers[tier]?.isPanicking === true;
  }

  /** Whether anybody else takes what was tried at these. */
  admitsBeside(tried: ReadonlySet<BackendId>): boolean {
    return this.#snapshot.backends.some(({ id, admits }) => admits === "new" && !tried.has(id));
  }

  /** Whether somebody is left who may be tried at last. */
  hasLastResort(choosing: Pick<Choosing, "tried" | "subset">): boolean {
    return lastResorts(this.#snapshot, choosing).length > 0;
  }

  /** Where a request goes at last that everybody else has failed: home, if its session's backend is among those, else by chance. */
  chooseLast(choosing: Choosing): Choice {
    const { notes } = choosing;
    if (notes !== undefined) this.#beginNotes(notes, choosing, true);
    const channels = lastResorts(this.#snapshot, choosing).flatMap(({ id }) => this.#channels.find(id) ?? []);
    const free = channels.filter((channel) => !channel.isFull);
    const token = this.#sessionOf(choosing);
    const home = token === null ? null : this.#channels.byServerId(token.serverId);
    const isHome = home !== null && free.includes(home);
    const isLost = token !== null && !isHome && !isWell(home, choosing);
    if (isLost && this.#sessions.ruleFor("ejected") === "refuse") return SESSION_REFUSED;
    const channel = isHome ? home : free[Math.floor(choosing.chance * free.length)];
    if (channel === undefined) return channels.length === 0 ? NO_BACKEND : FULL;
    channel.begin(choosing.nowMs);
    const previous =
      token === null || isHome ? null : (home?.id ?? this.#sessions.removedBackend(token.serverId));
    const inheritance = token === null || previous === null ? null : { sessionId: token.sessionId, previous };
    // It serves in need, and so it gets no session.
    return { ...NOTHING_NEW, channel, inheritance, isDesperate: true };
  }

  /** The session that a request goes on with; null when it carries no token that its chain asks for and that can be read. */
  #sessionOf({ affinity, credentials, nowMs }: Choosing): OpenedToken | null {
    const carried = usesTokens(affinity) ? this.#sessions.read(credentials.headers, nowMs) : null;
    return carried?.kind === "opened" ? carried.token : null;
  }

  #beginNotes(notes: Notes, choosing: Choosing, isLast: boolean): void {
    const { full } = this.#channels.availability;
    const skipped = this.#channels.availability.skipped(choosing.nowMs);
    const suspected = [...skipped].filter((id) => this.#channels.find(id)?.isSuspected === true);
    notes.begin(choosing, this.#snapshot, { full, skipped, suspected, isLast });
  }

  /** Binds a connection to a backend, as if it had been led there. */
  remember(connection: Pick<Connection, "identity" | "from">, backend: BackendId, nowMs: EpochMs): void {
    this.#connections.bind(connection, backend, nowMs);
  }

  /** The round robin that a subset is picked by goes on at these turns. */
  resume(subset: WantedSubset | null, turns: Turns): void {
    this.#selections.select(subset)?.resume(turns);
  }

  /** Every sub-channel that has something to report, those of removed backends included. */
  channels(): readonly SubChannel[] {
    return this.#channels.all();
  }

  /** Walks the affinity chain: the first step that the request can be bound by decides. */
  #walk(choosing: Choosing, among: Selection | null): Choice {
    const { affinity, credentials, nowMs, tried, notes } = choosing;
    // What was let in is not turned away for having failed.
    const isRetry = tried.size > 0;
    let arrival: Arrival | null = null;
    for (const step of affinity) {
      if (step.by === "token") {
        const carried = this.#sessions.read(credentials.headers, nowMs);
        notes?.carried(step, carried);
        if (carried?.kind === "opened") {
          if (!isRetry && this.#shedding.takesSession(`session ${carried.token.sessionId}`)) return SHED;
          const choice = this.#bind(this.#continue(carried.token, choosing, among), choosing, among);
          if (choice.kind === "backend" && choice.fate === "kept")
            this.#noteKept(choice.channel, carried.token);
          return choice;
        }
        if (carried?.kind === "unknown") {
          if (!isRetry && this.#shedding.takesSession(`token ${carried.text}`)) return SHED;
          return this.#bind(this.#serveUnknown(carried.text, choosing, among), choosing, among);
        }
        arrival = { fate: carried?.kind ?? null };
        continue;
      }
      const name = step.by === "connection" ? connectionName(choosing) : hashedText(step, credentials);
      if (name === null) {
        notes?.step(step, "nothing");
        continue;
      }
      const bound =
        step.by === "connection" ? this.#byConnection(choosing, among) : this.#byValue(name, choosing, among);
      if (bound === null) {
        notes?.step(step, "nobody");
        continue;
      }
      notes?.step(step, bound.by === null ? "hashed" : bound.isKnown ? "remembered" : "placed");
      const chosen = this.#settle(bound, arrival, choosing);
      if (!isRetry && this.#isShed(name, chosen, bound.isKnown)) return SHED;
      if (bound.by !== null && !bound.isKnown) this.#connections.bind(bound.by, bound.channel.id, nowMs);
      return this.#bind(chosen, choosing, among);
    }
    return this.#free(choosing, among, arrival);
  }

  /**
   * Whether the pool turns away what the chain binds: by the session that begins with it, as it will later, if that is known.
   * New is what would begin a session, unless this isolate remembers its connection.
   */
  #isShed(name: string, { grant }: Chosen, isKnown: boolean): boolean {
    const sessionId = grant?.sessionId ?? null;
    const called = sessionId === null ? name : `session ${sessionId}`;
    return grant === null || isKnown
      ? this.#shedding.takesSession(called)
      : this.#shedding.takesNewSession(called);
  }

  /**
   * What is bound to a backend goes to no other for want of room there, and is charged to the rotations that free traffic
   * takes its turns in.
   */
  #bind(choice: Choice, { policy, nowMs, tried }: Choosing, among: Selection | null): Choice {
    if (choice.kind !== "backend") return choice;
    if (choice.channel.isFull) return FULL;
    const free = isHashing(policy) ? this.#snapshot.config.keylessPolicy : policy;
    if (free === "round_robin" && tried.size === 0) {
      const { everyone } = this.#selections;
      // Its backend may be none of the subset's, and free requests may ask for no subset.
      everyone.charge(choice.channel.id, nowMs);
      if (among !== everyone) among?.charge(choice.channel.id, nowMs);
    }
    return choice;
  }

  #noteKept(channel: SubChannel, token: OpenedToken): void {
    token.mark ??= this.#markOf(token.sessionId);
    channel.noteSession(token.mark);
  }

  /**
   * Of a session, in sketches. Its id is hashed, though random: a client can read it, and could come back with those of its
   * sessions that make an estimate large. And not as where it is placed is hashed, or those of one backend would be alike.
   */
  #markOf(sessionId: string): Mark {
    return markOf(this.#hash(`mark of ${sessionId}`));
  }

  /** Goes on with a session where it is, if its backend takes it and it may stay. */
  #continue(token: OpenedToken, choosing: Choosing, among: Selection | null): Choice {
    const { nowMs, tried, hasWaited } = choosing;
    if (tried.size === 0 && !hasWaited) token.requests++;
    const home = this.#channels.byServerId(token.serverId);
    if (home === null || home.backend.admits === "none") return this.#rescue(token, home, choosing, among);
    const isFailing = home.isLeft(nowMs) && isBetter(this.#placeSession(token, choosing, among), choosing);
    if (tried.has(home.id) || isFailing) return this.#rescue(token, home, choosing, among);
    const hasMigrated = hasMoved(token, choosing);
    const kept = { ...NOTHING_NEW, channel: home, fate: "kept", hasMigrated } as const;
    if (!this.#sessions.isPlacedAnew(token, nowMs)) {
      return { ...kept, grant: this.#sessions.renewal(token, home.backend, nowMs) };
    }
    const { sessionId } = token;
    const next = this.#placeSession(token, choosing, among);
    // Only newcomers take over: among those that were there before, it is as well where it is.
    if (next === null || next === home || next.backend.addedMs <= token.startedMs) {
      return { ...kept, grant: { backend: home.backend, sessionId, startedMs: nowMs } };
    }
    const grant = { backend: next.backend, sessionId, startedMs: nowMs };
    const inheritance = { sessionId, previous: home.id };
    return { ...kept, channel: next, fate: "repinned", grant, inheritance };
  }

  /** Places a session whose backend is lost as the pool says. Requests with the same lost token land together. */
  #rescue(token: OpenedToken, home: SubChannel | null, choosing: Choosing, among: Selection | null): Choice {
    const { sessionId } = token;
    const { nowMs } = choosing;
    const previous = home?.id ?? this.#sessions.removedBackend(token.serverId);
    const channel = this.#placeSession(token, choosing, among);
    // Not lost, but newer than this snapshot: whoever has a newer one can lead it there.
    if (previous === null)
      return channel === null ? nobody(among) : { ...NOTHING_NEW, channel, fate: "unknown" };
    const cause = lossCause(home, choosing);
    // One request that failed there has lost it nothing.
    const rule = isWell(home, choosing) ? "temporary" : this.#sessions.ruleFor(cause);
    if (rule === "refuse") return SESSION_REFUSED;
    if (channel === null) return nobody(among);
    const grant =
      rule === "sticky"
        ? { backend: channel.backend, sessionId, startedMs: nowMs }
        : home === null
          ? null
          : this.#sessions.renewal(token, home.backend, nowMs);
    return { ...NOTHING_NEW, channel, fate: cause, grant, inheritance: { sessionId, previous } };
  }

  /** A backend for a session by its id; of its own region, where its token knows one and anybody there has room. */
  #placeSession(
    { sessionId, region }: OpenedToken,
    choosing: Choosing,
    among: Selection | null,
  ): SubChannel | null {
    if (among === null) return null;
    const key = this.#hash(`session ${sessionId}`);
    const placer = among.placer(choosing.policy);
    const { availability } = this.#channels;
    const missing = availability.missing(choosing.nowMs);
    if (region === 0) return this.#lead(placer, key, choosing, missing, availability.full);
    const near = new Set([...this.#regions.outside(region), ...missing]);
    return (
      this.#lead(placer, key, choosing, near, missing) ??
      this.#lead(placer, key, choosing, availability.full, availability.full)
    );
  }

  /**
   * A connection seen before stays; a new one is placed by hashing. It is known for each subset it asks for, and in that even
   * when nobody new is led there any more.
   */
  #byConnection(choosing: Choosing, among: Selection | null): Bound | null {
    const { subset } = choosing;
    const { connection } = choosing.credentials;
    if (connection === null) return null;
    const named = subset === null ? null : inSubset(connection, subset);
    const known = named === null ? null : this.#remembered(named, choosing, among);
    if (known !== null || among === null) return known;
    // One that asks for nobody in particular, or for what nobody has, is one more connection of the pool.
    const own = among === this.#selections.everyone ? connection : (named ?? connection);
    const held = own === named ? null : this.#remembered(own, choosing, among);
    if (held !== null) return held;
    const placed = this.#place(`connection ${own.identity}`, choosing, among);
    return placed === null ? null : { channel: placed, hasMigrated: false, by: own, isKnown: false };
  }

  /** Where a connection was led before, if it can stay there; elsewhere for as long as this isolate skips that backend. */
  #remembered(connection: Connection, choosing: Choosing, among: Selection | null): Bound | null {
    const { nowMs } = choosing;
    const held = this.#connections.find(connection.identity, nowMs);
    if (held !== null) choosing.notes?.remembered(connection.identity, held);
    const channel = held === null ? null : this.#channels.find(held.backend);
    if (held === null || channel === null || channel.backend.admits === "none") return null;
    const hasMigrated = connection.isExact && held.from !== connection.from;
    if (hasMigrated) held.from = connection.from;
    const other = isAvoided(channel, choosing)
      ? this.#place(`connection ${connection.identity}`, choosing, among)
      : null;
    const known = { hasMigrated, by: connection, isKnown: true };
    if (isBetter(other, choosing)) return { ...known, channel: other };
    return choosing.tried.has(channel.id) ? null : { ...known, channel };
  }

  /** A value is led by the pool's hashing policy, its bound on load included; by the usual one if the pool has another. */
  #byValue(text: string, choosing: Choosing, among: Selection | null): Bound | null {
    if (among === null) return null;
    const { policy, nowMs } = choosing;
    const picker = isHashing(policy) ? among.picker(policy, nowMs) : among.placer(policy);
    const skipped = this.#channels.availability.skipped(nowMs);
    const placed = this.#lead(picker, this.#hash(text), choosing, skipped, NOBODY);
    return placed === null ? null : { channel: placed, hasMigrated: false, by: null, isKnown: false };
  }

  /**
   * Serves a session whose token was made under keys that have not reached this isolate: by hashing, so that its like land
   * together, and without another token, since whoever holds the keys can read the one it has.
   */
  #serveUnknown(text: string, choosing: Choosing, among: Selection | null): Choice {
    const channel = this.#place(`token ${text}`, choosing, among);
    return channel === null ? nobody(among) : { ...NOTHING_NEW, channel, fate: "unknown" };
  }

  /** A backend for a request that nothing binds. */
  #free(choosing: Choosing, among: Selection | null, arrival: Arrival | null): Choice {
    if (among === null || among.isEmpty) return NO_BACKEND;
    const { affinity, credentials, nowMs, policy, notes } = choosing;
    const { tried } = choosing;
    const isRetry = tried.size > 0;
    if (!isRetry && this.#shedding.takesUnbound(choosing.chance)) return SHED;
    const chance = isRetry ? choosing.chance : this.#shedding.rest(choosing.chance);
    // A chain says what is hashed, and nothing of that has the request; without one it is the connection.
    const isHashed = isHashing(policy);
    const connection = isHashed && affinity.length === 0 ? credentials.connection : null;
    const isKeyless = isHashed && connection === null;
    const by = isKeyless ? this.#snapshot.config.keylessPolicy : policy;
    const picker = among.picker(by, nowMs);
    const key = connection === null ? null : this.#hash(`connection ${connection.identity}`);
    notes?.free(by, among, key !== null);
    const { availability } = this.#channels;
    const pick = (exclude: ReadonlySet<BackendId>) =>
      this.#find(picker.pick({ exclude: union(exclude, tried), isRetry, key, chance, nowMs, reads: notes }));
    const best = pick(availability.missing(nowMs));
    const channel = best ?? pick(availability.full);
    if (channel === null) return FULL;
    const chosen = this.#settle({ channel, hasMigrated: false, by: null, isKnown: false }, arrival, choosing);
    return best === null ? { ...chosen, isDesperate: true } : chosen;
  }

  /** The choice of a backend for a request without a readable token, which gets one if the chain asked for it. */
  #settle({ channel, hasMigrated, by }: Bound, arrival: Arrival | null, { nowMs }: Choosing): Chosen {
    const { backend } = channel;
    const sessionId = arrival === null ? null : this.#sessionIdOf(by, backend);
    const grant = arrival === null ? null : { backend, sessionId, startedMs: nowMs };
    return { ...NOTHING_NEW, channel, fate: arrival?.fate ?? null, grant, hasMigrated };
  }

  /**
   * Parallel first requests that one connection leads to one backend begin the same session; any other is a new one, also on
   * another backend, where isolates may lead it that find the first one full. Where it comes from counts too, since who
   * listens in on a handshake can repeat its random from elsewhere.
   */
  #sessionIdOf(connection: Connection | null, { id }: SnapshotBackend): string | null {
    if (connection?.isExact !== true) return null;
    return toHex(this.#hash(`session of ${connection.identity} from ${connection.from} with ${id}`));
  }

  /** Where a text leads that binds nothing here as yet: past what is full and what this isolate skips; to that if need be. */
  #place(text: string, choosing: Choosing, among: Selection | null): SubChannel | null {
    if (among === null) return null;
    const { availability } = this.#channels;
    const missing = availability.missing(choosing.nowMs);
    return this.#lead(among.placer(choosing.policy), this.#hash(text), choosing, missing, availability.full);
  }

  /** Where a key leads without some backends; without others, if that leaves nobody; never where the request has failed. */
  #lead(
    picker: Picker,
    key: Hash64,
    { nowMs, chance, tried, notes }: Pick<Choosing, "nowMs" | "chance" | "tried" | "notes">,
    without: ReadonlySet<BackendId>,
    orWithout: ReadonlySet<BackendId>,
  ): SubChannel | null {
    const isRetry = tried.size > 0;
    const pick = (exclude: ReadonlySet<BackendId>) =>
      picker.pick({ exclude: union(exclude, tried), isRetry, key, chance, nowMs, reads: notes });
    return this.#find(pick(without) ?? pick(orWithout));
  }

  #find(picked: BackendId | null): SubChannel | null {
    return picked === null ? null : this.#channels.find(picked);
  }
}

/** What becomes of a request that is led to nobody. */
function nobody(among: Selection | null): Choice {
  return among === null || among.isEmpty ? NO_BACKEND : FULL;
}

/** A connection as it is known in a subset, in each of which it may be led to another backend; null: the request names none. */
function inSubset(connection: Connection, { label, value }: WantedSubset): Connection | null {
  return value === null ? null : { ...connection, identity: `${connection.identity} in ${label}=${value}` };
}

function connectionName({ credentials: { connection } }: Choosing): string | null {
  return connection === null ? null : `connection ${connection.identity}`;
}

/**
 * Whether a request goes elsewhere though its backend admits it: this isolate skips it, and not on one request's word; or the
 * request has failed there.
 */
function isAvoided(channel: SubChannel, { nowMs, tried }: Choosing): boolean {
  return channel.isLeft(nowMs) || tried.has(channel.id);
}

/** Whether a session's backend takes it as ever, as far as this isolate knows. */
function isWell(home: SubChannel | null, { nowMs }: Choosing): boolean {
  return home !== null && home.backend.admits !== "none" && !home.isLeft(nowMs);
}

function isBetter(channel: SubChannel | null, choosing: Choosing): channel is SubChannel {
  return channel !== null && !isAvoided(channel, choosing);
}

function union(one: ReadonlySet<BackendId>, other: ReadonlySet<BackendId>): ReadonlySet<BackendId> {
  if (other.size === 0) return one;
  return one.size === 0 ? other : new Set([...one, ...other]);
}

/** Why a session's backend takes it no more. */
function lossCause(home: SubChannel | null, choosing: Choosing): LossCause {
  if (home === null) return "removed";
  return home.backend.isEjected || (home.backend.admits !== "none" && isAvoided(home, choosing))
    ? "ejected"
    : "drained";
}

/** Whether the connection that a token came by before has come from elsewhere now. Told once per change. */
function hasMoved(token: OpenedToken, { affinity, credentials }: Choosing): boolean {
  if (!affinity.some(({ by }) => by === "connection")) return false;
  const { connection: before } = token;
  const { connection } = credentials;
  token.connection = connection;
  if (before === null || connection?.isExact !== true) return false;
  return before.identity === connection.identity && before.from !== connection.from;
}
