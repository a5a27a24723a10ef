import type { BackendId } from "../../durable/model/names.ts";
import type { Affinity, PolicyName } from "../../durable/model/pool.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { ConnectionTable } from "./connection-table.ts";
import { createKeyedHash, type KeyedHash } from "./keyed-hash.ts";
import { preparePicker } from "./policies/by-name.ts";
import type { Candidate, Picker } from "./policies/policy.ts";
import { SubChannel } from "./sub-channel.ts";

/** What a request brings to the choice of its backend. */
export interface Choosing {
  /** The route's word, else the pool's. */
  readonly policy: PolicyName;
  readonly affinity: Affinity;
  /** What names the client's connection, unhashed; null when nothing does. */
  readonly connection: string | null;
  readonly nowMs: EpochMs;
  /** A random number, 0 ≤ chance < 1. */
  readonly chance: number;
}

const NOTHING: ReadonlySet<BackendId> = new Set();

/**
 * One isolate's view of one pool: the newest snapshot made ready to choose from, and what outlives snapshots, which is
 * sub-channels, rotations and remembered connections.
 */
export class PoolView {
  #snapshot: Snapshot;
  #hash: KeyedHash;
  #channels: ReadonlyMap<BackendId, SubChannel> = new Map();
  #candidates: readonly Candidate[] = [];
  readonly #pickers = new Map<PolicyName, Picker>();
  readonly #connections: ConnectionTable;
  /** Sub-channels of removed backends that still have something in flight or to report. */
  #leaving: readonly SubChannel[] = [];

  constructor(snapshot: Snapshot, chance: number) {
    this.#snapshot = snapshot;
    this.#hash = createKeyedHash(snapshot.secret);
    this.#connections = new ConnectionTable(snapshot.config.connections);
    this.adopt(snapshot, chance);
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Makes a newer snapshot the one to choose from. `chance`: where a rotation that is new here begins. */
  adopt(snapshot: Snapshot, chance: number): void {
    if (snapshot.secret !== this.#snapshot.secret) this.#hash = createKeyedHash(snapshot.secret);
    this.#snapshot = snapshot;
    this.#channels = this.#adoptChannels(snapshot);
    this.#candidates = snapshot.backends.filter((backend) => backend.admits === "new");
    this.#connections.resize(snapshot.config.connections);
    for (const [policy, previous] of this.#pickers)
      this.#pickers.set(policy, this.#prepare(policy, previous, chance));
  }

  /** The backend for a request, already counted as in flight there; null when none admits it. */
  choose(choosing: Choosing): SubChannel | null {
    const channel = this.#bound(choosing) ?? this.#free(choosing);
    channel?.begin();
    return channel;
  }

  /** Every sub-channel that has something to report, those of removed backends included. */
  channels(): readonly SubChannel[] {
    this.#leaving = this.#leaving.filter((channel) => !channel.isIdle);
    return [...this.#channels.values(), ...this.#leaving];
  }

  /** Walks the affinity chain. A connection seen before stays; a new one is placed by hashing, then remembered. */
  #bound({ affinity, connection, nowMs, chance }: Choosing): SubChannel | null {
    if (affinity.length === 0 || connection === null) return null;
    const held = this.#connections.find(connection, nowMs);
    const channel = held === null ? undefined : this.#channels.get(held);
    if (channel !== undefined && channel.backend.admits !== "none") return channel;
    const key = this.#hash(`connection ${connection}`);
    const placed = this.#picker("rendezvous", chance).pick({ exclude: NOTHING, key, chance });
    if (placed === null) return null;
    this.#connections.bind(connection, placed, nowMs);
    return this.#channels.get(placed) ?? null;
  }

  #free({ policy, connection, chance }: Choosing): SubChannel | null {
    const key =
      policy === "rendezvous" && connection !== null ? this.#hash(`connection ${connection}`) : null;
    const picked = this.#picker(policy, chance).pick({ exclude: NOTHING, key, chance });
    return picked === null ? null : (this.#channels.get(picked) ?? null);
  }

  #picker(policy: PolicyName, chance: number): Picker {
    const ready = this.#pickers.get(policy);
    if (ready !== undefined) return ready;
    const prepared = this.#prepare(policy, null, chance);
    this.#pickers.set(policy, prepared);
    return prepared;
  }

  #prepare(policy: PolicyName, previous: Picker | null, chance: number): Picker {
    return preparePicker(policy, { candidates: this.#candidates, previous, hash: this.#hash, chance });
  }

  #adoptChannels(snapshot: Snapshot): ReadonlyMap<BackendId, SubChannel> {
    const held = new Map(
      [...this.#leaving, ...this.#channels.values()].map((channel) => [channel.id, channel]),
    );
    const next = new Map(
      snapshot.backends.map((backend) => {
        const channel = held.get(backend.id) ?? new SubChannel(backend);
        channel.backend = backend;
        return [backend.id, channel];
      }),
    );
    this.#leaving = [...held.values()].filter((channel) => !next.has(channel.id));
    return next;
  }
}
