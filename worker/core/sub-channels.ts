import type { BackendId } from "../../durable/model/names.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";
import { SubChannel } from "./sub-channel.ts";

/** The sub-channels of one pool: each is kept, by its backend's id, while snapshots come and go. */
export class SubChannels {
  #byId: ReadonlyMap<BackendId, SubChannel> = new Map();
  #byServerId: ReadonlyMap<number, SubChannel> = new Map();
  /** Of removed backends that still have something in flight or to report. */
  #leaving: readonly SubChannel[] = [];
  readonly #full = new Set<BackendId>();

  /** Backends that have as much in flight as they may. */
  get full(): ReadonlySet<BackendId> {
    return this.#full;
  }

  /** The backends of the newest snapshot, and how many requests may be in flight at each; null: any number. */
  adopt(backends: readonly SnapshotBackend[], maxInFlight: number | null): void {
    const held = new Map([...this.#leaving, ...this.#byId.values()].map((channel) => [channel.id, channel]));
    const next = backends.map((backend) => {
      const channel = held.get(backend.id) ?? new SubChannel(backend, this.#full);
      channel.backend = backend;
      channel.limit(maxInFlight);
      return channel;
    });
    this.#byId = new Map(next.map((channel) => [channel.id, channel]));
    this.#byServerId = new Map(next.map((channel) => [channel.backend.serverId, channel]));
    this.#leaving = [...held.values()].filter((channel) => !this.#byId.has(channel.id));
  }

  /** That of a backend in the newest snapshot; null for any other. */
  find(id: BackendId): SubChannel | null {
    return this.#byId.get(id) ?? null;
  }

  /** That of the backend which tokens call so; null when the newest snapshot has none. */
  byServerId(serverId: number): SubChannel | null {
    return this.#byServerId.get(serverId) ?? null;
  }

  /** Every one that has something to report, those of removed backends included. */
  all(): readonly SubChannel[] {
    this.#leaving = this.#leaving.filter((channel) => !channel.isIdle);
    return [...this.#byId.values(), ...this.#leaving];
  }
}
