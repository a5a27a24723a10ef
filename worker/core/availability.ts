import type { BackendId } from "../../durable/model/names.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { SubChannel } from "./sub-channel.ts";

const NOBODY: ReadonlySet<BackendId> = new Set();

/** The sub-channels of a pool that cannot take a request at the moment. Nearly always there is none. */
export class Availability {
  readonly #full = new Set<BackendId>();
  readonly #failing = new Set<SubChannel>();
  /** Told of every sub-channel that was full when an attempt there ended. It may be full still, if its limit was lowered. */
  onRoom: (channel: SubChannel) => void = () => {};

  /** A sub-channel has changed. */
  note(channel: SubChannel): void {
    if (channel.isFull) this.#full.add(channel.id);
    else this.#full.delete(channel.id);
    if (channel.isFailing) this.#failing.add(channel);
    else this.#failing.delete(channel);
  }

  /** A sub-channel is of no backend of the pool any more. */
  forget(channel: SubChannel): void {
    this.#full.delete(channel.id);
    this.#failing.delete(channel);
  }

  /** Backends that have as much in flight as they may. */
  get full(): ReadonlySet<BackendId> {
    return this.#full;
  }

  /** Backends that this isolate skips because they failed. */
  skipped(nowMs: EpochMs): ReadonlySet<BackendId> {
    if (this.#failing.size === 0) return NOBODY;
    return new Set([...this.#failing].filter((channel) => channel.isSkipped(nowMs)).map(({ id }) => id));
  }

  /** Both. */
  missing(nowMs: EpochMs): ReadonlySet<BackendId> {
    if (this.#failing.size === 0) return this.#full;
    const skipped = this.skipped(nowMs);
    return this.#full.size === 0 ? skipped : new Set([...this.#full, ...skipped]);
  }
}
