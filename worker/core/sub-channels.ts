import type { BackendId } from "../../durable/model/names.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { Availability } from "./availability.ts";
import { SubChannel } from "./sub-channel.ts";

/** The sub-channels of one pool: each is kept, by its backend's id, while snapshots come and go, and the pool itself. */
export class SubChannels {
  #byId: ReadonlyMap<BackendId, SubChannel> = new Map();
  #byServerId: ReadonlyMap<number, SubChannel> = new Map();
  /** Of removed backends that still have something in flight or to report. */
  #leaving: readonly SubChannel[] = [];
  readonly availability = new Availability();

  /** The backends of the newest snapshot. */
  adopt({ backends, config }: Pick<Snapshot, "backends" | "config">): void {
    const held = new Map([...this.#leaving, ...this.#byId.values()].map((channel) => [channel.id, channel]));
    const next = backends.map((backend) => {
      const channel = held.get(backend.id) ?? new SubChannel(backend, config, this.availability);
      channel.adopt(backend, config);
      return channel;
    });
    this.#byId = new Map(next.map((channel) => [channel.id, channel]));
    this.#byServerId = new Map(next.map((channel) => [channel.backend.serverId, channel]));
    this.#leave([...held.values()].filter((channel) => !this.#byId.has(channel.id)));
  }

  /** There is no pool any more, and so none of its backends. */
  retire(): void {
    this.#leave([...this.#leaving, ...this.#byId.values()]);
    this.#byId = new Map();
    this.#byServerId = new Map();
  }

  #leave(leaving: readonly SubChannel[]): void {
    this.#leaving = leaving;
    for (const channel of leaving) channel.retire();
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
