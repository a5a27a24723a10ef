import type { BackendId } from "../../durable/model/names.ts";
import { regionOctet } from "../../durable/model/server-id.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";

/** Where the backends of one snapshot are, by the octet that tokens show of their region. */
export class Regions {
  readonly #backends: readonly SnapshotBackend[];
  /** By octet: the backends that are not in its region. */
  readonly #outside = new Map<number, ReadonlySet<BackendId>>();

  constructor(backends: readonly SnapshotBackend[]) {
    this.#backends = backends;
  }

  /** The backends that are not in a region. */
  outside(region: number): ReadonlySet<BackendId> {
    const known = this.#outside.get(region);
    if (known !== undefined) return known;
    const others = this.#backends.filter((backend) => regionOctet(backend.region) !== region);
    const outside = new Set(others.map(({ id }) => id));
    this.#outside.set(region, outside);
    return outside;
  }
}
