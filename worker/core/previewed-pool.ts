import type { AdminState } from "../../durable/model/backend.ts";
import type { BackendId } from "../../durable/model/names.ts";
import type { PolicyName, PoolConfig } from "../../durable/model/pool.ts";
import type { RehearsedPool } from "../../durable/model/preview.ts";
import { regionOctet } from "../../durable/model/server-id.ts";
import type { Snapshot, SnapshotBackend } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { createKeyedHash, type Hash64 } from "./keyed-hash.ts";
import { isHashing } from "./policies/by-name.ts";
import type { Picker } from "./policies/policy.ts";
import { Regions } from "./regions.ts";
import { type Rank, Selection } from "./selection.ts";

const NOBODY: ReadonlySet<BackendId> = new Set();

/** One side of a preview: a pool as an isolate would choose from it that has nothing in flight and remembers nobody. */
export class PreviewedPool {
  readonly snapshot: Snapshot;
  readonly freeServerIds: number;
  readonly #nowMs: EpochMs;
  readonly #backends: ReadonlyMap<BackendId, SnapshotBackend>;
  readonly #admin: ReadonlyMap<BackendId, AdminState>;
  readonly #selection: Selection;
  readonly #regions: Regions;
  readonly #isRegional: boolean;

  constructor({ snapshot, admin, freeServerIds }: RehearsedPool, nowMs: EpochMs) {
    const { backends, secret, tokens } = snapshot;
    this.snapshot = snapshot;
    this.freeServerIds = freeServerIds;
    this.#nowMs = nowMs;
    this.#backends = new Map(backends.map((backend) => [backend.id, backend]));
    this.#admin = new Map(admin.map((each) => [each.id, each.admin]));
    const material = { snapshot, hash: createKeyedHash(secret), gauge: () => null, nowMs, chance: 0 };
    this.#selection = new Selection(
      material,
      () => true,
      () => {},
    );
    this.#regions = new Regions(backends);
    this.#isRegional = tokens.configs.some(
      ({ id, generator }) => id === tokens.writeId && generator === "regional",
    );
  }

  get config(): PoolConfig {
    return this.snapshot.config;
  }

  /** Those that take new traffic. */
  get members(): readonly SnapshotBackend[] {
    return this.snapshot.backends.filter(({ admits }) => admits === "new");
  }

  /** Whether anybody takes new traffic. */
  get takesNew(): boolean {
    return this.members.length > 0;
  }

  /** The hashing policy that leads keys. */
  get scheme(): PolicyName {
    const { policy } = this.config;
    return isHashing(policy) ? policy : "rendezvous";
  }

  backend(id: BackendId): SnapshotBackend | null {
    return this.#backends.get(id) ?? null;
  }

  /** What an operator wants of a backend. */
  admin(id: BackendId): AdminState | null {
    return this.#admin.get(id) ?? null;
  }

  /** The tiers that new traffic goes to at a time. Later ones must be asked for later. */
  ranks(nowMs: EpochMs): readonly Rank[] {
    return this.#selection.ranks(nowMs);
  }

  /** Where a key is led by hashing; null: nobody takes it. */
  place(key: Hash64): BackendId | null {
    return this.#lead(this.#placer, key, NOBODY);
  }

  /** The octet by which a backend's tokens tell its region; 0: they do not. */
  regionOf({ region }: SnapshotBackend): number {
    return this.#isRegional ? regionOctet(region) : 0;
  }

  /** Where a session is led that has to be placed anew, in a region first if its token tells one. */
  placeSession(key: Hash64, region: number): BackendId | null {
    const placer = this.#placer;
    const near = region === 0 ? null : this.#lead(placer, key, this.#regions.outside(region));
    return near ?? this.#lead(placer, key, NOBODY);
  }

  get #placer(): Picker {
    return this.#selection.placer(this.config.policy);
  }

  #lead(placer: Picker, key: Hash64, exclude: ReadonlySet<BackendId>): BackendId | null {
    return placer.pick({ exclude, isRetry: false, key, chance: 0, nowMs: this.#nowMs });
  }
}
