import type { BackendId } from "../../durable/model/names.ts";
import type { SessionFate } from "../../durable/model/outcome.ts";
import type { Affinity, PolicyName } from "../../durable/model/pool.ts";
import { regionOctet } from "../../durable/model/server-id.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { type HashedStep, hashedText, usesTokens } from "./affinity.ts";
import type { Choice, Choosing, Chosen } from "./choice.ts";
import { ConnectionTable } from "./connection-table.ts";
import type { Connection } from "./identify.ts";
import { createKeyedHash, type KeyedHash, toHex } from "./keyed-hash.ts";
import { isHashing, preparePicker } from "./policies/by-name.ts";
import type { Candidate, Load, Picker } from "./policies/policy.ts";
import { Rendezvous } from "./policies/rendezvous.ts";
import { RoundRobin } from "./policies/round-robin.ts";
import { type LossCause, Sessions } from "./sessions.ts";
import type { SubChannel } from "./sub-channel.ts";
import { SubChannels } from "./sub-channels.ts";
import type { OpenedToken } from "./token/keyring.ts";

const NOBODY: ReadonlySet<BackendId> = new Set();
const NO_BACKEND: Choice = { kind: "no_backend" };
const SESSION_REFUSED: Choice = { kind: "session_refused" };

/** Nothing is new for the client, nor for anybody else. */
const NOTHING_NEW = {
  kind: "backend",
  fate: null,
  grant: null,
  inheritance: null,
  hasMigrated: false,
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
}

/**
 * One isolate's view of one pool: the newest snapshot made ready to choose from, and what outlives snapshots, which is
 * sub-channels, rotations, remembered connections and tokens that were read.
 */
export class PoolView {
  #snapshot: Snapshot;
  #hash: KeyedHash;
  #sessions: Sessions;
  readonly #channels = new SubChannels();
  #candidates: readonly Candidate[] = [];
  /** By the octet of a region: the candidates that are not in it. */
  #elsewhere = new Map<number, ReadonlySet<BackendId>>();
  readonly #load: Load = (id) => this.#channels.find(id)?.inFlight ?? 0;
  readonly #pickers = new Map<PolicyName, Picker>();
  /** What binds goes by hashing whatever the policy, and never by load. Null: not prepared for this snapshot. */
  #placing: Rendezvous | null = null;
  readonly #connections: ConnectionTable;
  #hasTokens = false;

  constructor(snapshot: Snapshot, chance: number) {
    this.#snapshot = snapshot;
    this.#hash = createKeyedHash(snapshot.secret);
    this.#sessions = new Sessions(snapshot, null);
    this.#connections = new ConnectionTable(snapshot.config.connections);
    this.adopt(snapshot, chance);
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  get sessions(): Sessions {
    return this.#sessions;
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
  adopt(snapshot: Snapshot, chance: number): void {
    if (snapshot.secret !== this.#snapshot.secret) this.#hash = createKeyedHash(snapshot.secret);
    this.#snapshot = snapshot;
    this.#sessions = new Sessions(snapshot, this.#sessions);
    this.#hasTokens = usesTokens(snapshot.config.affinity);
    this.#channels.adopt(snapshot.backends);
    this.#candidates = snapshot.backends.filter((backend) => backend.admits === "new");
    this.#elsewhere = new Map();
    this.#placing = null;
    this.#connections.resize(snapshot.config.connections);
    for (const [policy, previous] of this.#pickers)
      this.#pickers.set(policy, this.#prepare(policy, previous, chance));
  }

  /** Where a request goes. Its backend, if there is one, counts it as in flight from here on. */
  choose(choosing: Choosing): Choice {
    const choice = choosing.affinity.length === 0 ? this.#free(choosing, null) : this.#walk(choosing);
    if (choice.kind === "backend") choice.channel.begin();
    return choice;
  }

  /** Every sub-channel that has something to report, those of removed backends included. */
  channels(): readonly SubChannel[] {
    return this.#channels.all();
  }

  /** Walks the affinity chain: the first step that the request can be bound by decides. */
  #walk(choosing: Choosing): Choice {
    const { affinity, credentials, nowMs } = choosing;
    let arrival: Arrival | null = null;
    for (const step of affinity) {
      if (step.by === "token") {
        const carried = this.#sessions.read(credentials.headers, nowMs);
        if (carried?.kind === "opened")
          return this.#charge(this.#continue(carried.token, choosing), choosing);
        if (carried?.kind === "unknown")
          return this.#charge(this.#serveUnknown(carried.text, choosing), choosing);
        arrival = { fate: carried?.kind ?? null };
        continue;
      }
      const bound = step.by === "connection" ? this.#byConnection(choosing) : this.#byValue(step, choosing);
      if (bound !== null) return this.#charge(this.#settle(bound, arrival, choosing), choosing);
    }
    return this.#free(choosing, arrival);
  }

  /** Charges bound traffic to the rotation that free traffic of the same policy takes its turns in. */
  #charge(choice: Choice, { policy, chance }: Choosing): Choice {
    if (choice.kind !== "backend" || policy !== "round_robin") return choice;
    const picker = this.#picker(policy, chance);
    if (picker instanceof RoundRobin)
      picker.charge(choice.channel.id, this.#snapshot.config.stickyDebtRounds);
    return choice;
  }

  /** Goes on with a session where it is, if its backend takes it and it may stay. */
  #continue(token: OpenedToken, choosing: Choosing): Choice {
    const { nowMs } = choosing;
    token.requests++;
    const home = this.#channels.byServerId(token.serverId);
    if (home === null || home.backend.admits === "none") return this.#rescue(token, home, choosing);
    const hasMigrated = hasMoved(token, choosing);
    const kept = { ...NOTHING_NEW, channel: home, fate: "kept", hasMigrated } as const;
    if (!this.#sessions.isPlacedAnew(token, nowMs)) {
      return { ...kept, grant: this.#sessions.renewal(token, home.backend, nowMs) };
    }
    const { sessionId } = token;
    const next = this.#placeSession(token, choosing);
    // Only newcomers take over: among those that were there before, it is as well where it is.
    if (next === null || next === home || next.backend.addedMs <= token.startedMs) {
      return { ...kept, grant: { backend: home.backend, sessionId, startedMs: nowMs } };
    }
    const grant = { backend: next.backend, sessionId, startedMs: nowMs };
    const inheritance = { sessionId, previous: home.id };
    return { ...kept, channel: next, fate: "repinned", grant, inheritance };
  }

  /** Places a session whose backend is lost as the pool says. Requests with the same lost token land together. */
  #rescue(token: OpenedToken, home: SubChannel | null, choosing: Choosing): Choice {
    const { sessionId } = token;
    const previous = home?.id ?? this.#sessions.removedBackend(token.serverId);
    const channel = this.#placeSession(token, choosing);
    // Not lost, but newer than this snapshot: whoever has a newer one can lead it there.
    if (previous === null)
      return channel === null ? NO_BACKEND : { ...NOTHING_NEW, channel, fate: "unknown" };
    const cause: LossCause = home === null ? "removed" : "drained";
    const rule = this.#sessions.ruleFor(cause);
    if (rule === "refuse") return SESSION_REFUSED;
    if (channel === null) return NO_BACKEND;
    const { nowMs } = choosing;
    const grant =
      rule === "sticky"
        ? { backend: channel.backend, sessionId, startedMs: nowMs }
        : home === null
          ? null
          : this.#sessions.renewal(token, home.backend, nowMs);
    return { ...NOTHING_NEW, channel, fate: cause, grant, inheritance: { sessionId, previous } };
  }

  /** A backend for a session by its id; of its own region, where its token knows one and anybody there is left. */
  #placeSession({ sessionId, region }: OpenedToken, { chance }: Choosing): SubChannel | null {
    const key = this.#hash(`session ${sessionId}`);
    const picker = this.#placer(chance);
    const near = region === 0 ? null : picker.pick({ exclude: this.#outside(region), key, chance });
    const picked = near ?? picker.pick({ exclude: NOBODY, key, chance });
    return picked === null ? null : this.#channels.find(picked);
  }

  #outside(region: number): ReadonlySet<BackendId> {
    const known = this.#elsewhere.get(region);
    if (known !== undefined) return known;
    const outside = new Set(
      this.#snapshot.backends.filter((backend) => regionOctet(backend.region) !== region).map(({ id }) => id),
    );
    this.#elsewhere.set(region, outside);
    return outside;
  }

  /** A connection seen before stays; a new one is placed by hashing, then remembered. */
  #byConnection({ credentials: { connection }, nowMs, chance }: Choosing): Bound | null {
    if (connection === null) return null;
    const { identity } = connection;
    const held = this.#connections.find(identity, nowMs);
    const channel = held === null ? null : this.#channels.find(held.backend);
    if (held !== null && channel !== null && channel.backend.admits !== "none") {
      const hasMigrated = connection.isExact && held.from !== connection.from;
      if (hasMigrated) held.from = connection.from;
      return { channel, hasMigrated, by: connection };
    }
    const placed = this.#place(`connection ${identity}`, chance);
    if (placed === null) return null;
    this.#connections.bind(connection, placed.id, nowMs);
    return { channel: placed, hasMigrated: false, by: connection };
  }

  #byValue(step: HashedStep, { credentials, chance }: Choosing): Bound | null {
    const text = hashedText(step, credentials);
    const placed = text === null ? null : this.#place(text, chance);
    return placed === null ? null : { channel: placed, hasMigrated: false, by: null };
  }

  /**
   * Serves a session whose token was made under keys that have not reached this isolate: by hashing, so that its like land
   * together, and without another token, since whoever holds the keys can read the one it has.
   */
  #serveUnknown(text: string, { chance }: Choosing): Choice {
    const channel = this.#place(`token ${text}`, chance);
    return channel === null ? NO_BACKEND : { ...NOTHING_NEW, channel, fate: "unknown" };
  }

  /** A backend for a request that nothing binds. */
  #free(choosing: Choosing, arrival: Arrival | null): Choice {
    const { policy, credentials, chance } = choosing;
    const connection = isHashing(policy) ? credentials.connection : null;
    const key = connection === null ? null : this.#hash(`connection ${connection.identity}`);
    const picked = this.#picker(policy, chance).pick({ exclude: NOBODY, key, chance });
    const channel = picked === null ? null : this.#channels.find(picked);
    return channel === null
      ? NO_BACKEND
      : this.#settle(
          { channel, hasMigrated: false, by: this.#isBounded ? null : connection },
          arrival,
          choosing,
        );
  }

  /** Whether the load has a say in where a key leads, so that one connection may be led to several backends. */
  get #isBounded(): boolean {
    return this.#snapshot.config.hashBalanceFactor !== null;
  }

  /** The choice of a backend for a request without a readable token, which gets one if the chain asked for it. */
  #settle({ channel, hasMigrated, by }: Bound, arrival: Arrival | null, { nowMs }: Choosing): Chosen {
    const { backend } = channel;
    const grant = arrival === null ? null : { backend, sessionId: this.#sessionIdOf(by), startedMs: nowMs };
    return { kind: "backend", channel, fate: arrival?.fate ?? null, grant, inheritance: null, hasMigrated };
  }

  /**
   * Parallel first requests that one connection leads to one backend begin the same session; any other is a new one. Where
   * it comes from counts too, since who listens in on a handshake can repeat its random from elsewhere.
   */
  #sessionIdOf(connection: Connection | null): string | null {
    if (connection?.isExact !== true) return null;
    return toHex(this.#hash(`session of ${connection.identity} from ${connection.from}`));
  }

  #place(text: string, chance: number): SubChannel | null {
    const key = this.#hash(text);
    const picked = this.#placer(chance).pick({ exclude: NOBODY, key, chance });
    return picked === null ? null : this.#channels.find(picked);
  }

  #placer(chance: number): Rendezvous {
    this.#placing ??= Rendezvous.prepare({
      candidates: this.#candidates,
      previous: null,
      hash: this.#hash,
      chance,
    });
    return this.#placing;
  }

  #picker(policy: PolicyName, chance: number): Picker {
    const ready = this.#pickers.get(policy);
    if (ready !== undefined) return ready;
    const prepared = this.#prepare(policy, null, chance);
    this.#pickers.set(policy, prepared);
    return prepared;
  }

  #prepare(policy: PolicyName, previous: Picker | null, chance: number): Picker {
    const { ringPoints, hashBalanceFactor } = this.#snapshot.config;
    return preparePicker(policy, {
      candidates: this.#candidates,
      previous,
      hash: this.#hash,
      chance,
      load: this.#load,
      ringPoints,
      hashBalanceFactor,
    });
  }
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
