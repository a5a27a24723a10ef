import type { BackendId } from "../../durable/model/names.ts";
import type { PolicyName } from "../../durable/model/pool.ts";
import type { Snapshot, SnapshotBackend, Tier } from "../../durable/model/snapshot.ts";
import { type EpochMs, earliest } from "../../durable/model/time.ts";
import type { KeyedHash } from "./keyed-hash.ts";
import { LazyPicker } from "./lazy-picker.ts";
import { pickerBytes } from "./picker-bytes.ts";
import { BoundedLoad } from "./policies/bounded-load.ts";
import { isHashing, preparePicker } from "./policies/by-name.ts";
import type { Candidate, GaugeOf, Picker } from "./policies/policy.ts";
import { RoundRobin } from "./policies/round-robin.ts";
import { Tiered } from "./policies/tiered.ts";
import { warm } from "./slow-start.ts";

/** What a selection is made of at one moment. */
export interface Material {
  readonly snapshot: Snapshot;
  readonly hash: KeyedHash;
  readonly gauge: GaugeOf;
  readonly nowMs: EpochMs;
  /** A random number, 0 ≤ chance < 1: where a rotation that is new here begins. */
  readonly chance: number;
}

/** Turns of a round robin by the name of their tier. */
export type Turns = readonly (readonly [tier: string, turns: readonly number[]])[];

/** One tier that has backends to choose from. */
export interface Rank {
  /** The same for the same tier of another snapshot. */
  readonly name: string;
  readonly share: number;
  readonly members: readonly SnapshotBackend[];
  /** The members at the weights they have by now, for policies that let new ones begin slowly. */
  readonly warmed: readonly Candidate[];
}

/** The pickers of one policy by the name of their tier, and all of them as one. */
interface Prepared {
  readonly byTier: ReadonlyMap<string, Picker>;
  readonly picker: Picker;
  /** Backends or weights have changed since. */
  isOutdated: boolean;
}

/** Backends of one pool that new traffic may go to, all or a subset of them, and what picks among them. */
export class Selection {
  #material: Material;
  readonly #isMember: (backend: SnapshotBackend) => boolean;
  #ranks: readonly Rank[] = [];
  readonly #pickers = new Map<PolicyName, Prepared>();
  /** Those that bind a key for good, without a bound on their load. */
  readonly #placers = new Map<PolicyName, Picker>();
  /** Of policies that hash, by policy and tier, what both of these are made of. */
  readonly #hashers = new Map<string, Picker>();
  readonly #bytes = new Map<PolicyName, number>();
  readonly #grow: (bytes: number) => void;
  #warmAgainMs: EpochMs | null = null;

  /** `grow` is told how much more memory pickers take, bytes; less than nothing when they are let go. */
  constructor(
    material: Material,
    isMember: (backend: SnapshotBackend) => boolean,
    grow: (bytes: number) => void,
  ) {
    this.#material = material;
    this.#isMember = isMember;
    this.#grow = grow;
    this.#rank();
  }

  /** Whether there is anybody to choose. */
  get isEmpty(): boolean {
    return this.#ranks.length === 0;
  }

  /** Its tiers as they are at this time, in order. */
  ranks(nowMs: EpochMs): readonly Rank[] {
    if (this.#warmAgainMs !== null && nowMs >= this.#warmAgainMs) this.#warm(nowMs);
    return this.#ranks;
  }

  /** How much memory its pickers take, bytes. */
  get bytes(): number {
    return [...this.#bytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Goes on with a newer snapshot. Rotations go on where they are; tables have nothing to go on with, and are let go. */
  adopt(material: Material): void {
    this.#material = material;
    this.#rank();
    this.#placers.clear();
    this.#hashers.clear();
    for (const policy of this.#bytes.keys()) {
      if (!isHashing(policy)) continue;
      this.#pickers.delete(policy);
      this.#take(policy, 0);
    }
    this.#outdate(() => true);
  }

  /** What a policy picks with at this time. */
  picker(policy: PolicyName, nowMs: EpochMs): Picker {
    if (this.#warmAgainMs !== null && nowMs >= this.#warmAgainMs) this.#warm(nowMs);
    return this.#prepared(policy).picker;
  }

  /** What binds keys: by hashing whatever the policy, since a key has to lead to the same backend everywhere. */
  placer(policy: PolicyName): Picker {
    const scheme = isHashing(policy) ? policy : "rendezvous";
    // Without a bound on load it is what the policy picks with.
    if (this.#material.snapshot.config.hashBalanceFactor === null) return this.#prepared(scheme).picker;
    const ready = this.#placers.get(scheme);
    if (ready !== undefined) return ready;
    const placer = this.#join(this.#ranks.map((rank) => this.#hasher(scheme, rank)));
    this.#placers.set(scheme, placer);
    return placer;
  }

  /** Charges a request that was bound to a backend to the rotation that free traffic takes its turns in. */
  charge(id: BackendId, nowMs: EpochMs): void {
    this.picker("round_robin", nowMs);
    for (const picker of this.#prepared("round_robin").byTier.values()) {
      if (picker instanceof RoundRobin) picker.charge(id, this.#material.snapshot.config.stickyDebtRounds);
    }
  }

  /** Since when its candidates have had the weights that they have now. */
  get rankedMs(): EpochMs {
    return this.#material.nowMs;
  }

  /** Turns of the round robin as they stand, by tier, in the order of its candidates. */
  turns(): Turns {
    return [...this.#prepared("round_robin").byTier].flatMap(([name, picker]) =>
      picker instanceof RoundRobin ? [[name, [...picker.turns().values()]] as const] : [],
    );
  }

  /** The round robin goes on at these turns. */
  resume(turns: Turns): void {
    const before = new Map(turns);
    const pickers = this.#ranks.map((rank) =>
      RoundRobin.resume(candidatesFor("round_robin", rank), before.get(rank.name) ?? []),
    );
    const named = this.#ranks.flatMap(({ name }, index) => {
      const picker = pickers[index];
      return picker === undefined ? [] : [[name, picker] as const];
    });
    this.#pickers.set("round_robin", {
      byTier: new Map(named),
      picker: this.#join(pickers),
      isOutdated: false,
    });
  }

  #rank(): void {
    const { snapshot, nowMs } = this.#material;
    const members = snapshot.backends.filter(
      (backend) => backend.admits === "new" && this.#isMember(backend),
    );
    const byTier = Map.groupBy(members, ({ tier }) => tier);
    const due: (EpochMs | null)[] = [];
    this.#ranks = snapshot.tiers.flatMap((tier, index) => {
      const inTier = byTier.get(index);
      if (inTier === undefined) return [];
      const rank = { name: nameOf(tier), share: tier.sharePercent, members: inTier };
      // Those that are well again would be held back beside those that are not.
      if (tier.isPanicking) return [{ ...rank, warmed: inTier }];
      const { candidates, nextMs } = warm(inTier, snapshot.config.slowStart, nowMs);
      due.push(nextMs);
      return [{ ...rank, warmed: candidates }];
    });
    this.#warmAgainMs = earliest(due);
  }

  #warm(nowMs: EpochMs): void {
    this.#material = { ...this.#material, nowMs };
    this.#rank();
    this.#outdate(warms);
  }

  /** What is asked for again is prepared anew then: a table takes its time, and a pool may have one for every subset. */
  #outdate(isConcerned: (policy: PolicyName) => boolean): void {
    for (const [policy, prepared] of this.#pickers) if (isConcerned(policy)) prepared.isOutdated = true;
  }

  #prepared(policy: PolicyName): Prepared {
    const ready = this.#pickers.get(policy);
    if (ready?.isOutdated === false) return ready;
    const prepared = this.#prepareAll(policy, ready?.byTier ?? new Map());
    this.#pickers.set(policy, prepared);
    return prepared;
  }

  #prepareAll(policy: PolicyName, previous: ReadonlyMap<string, Picker>): Prepared {
    const pickers = this.#ranks.map((rank) =>
      isHashing(policy)
        ? this.#bound(this.#hasher(policy, rank), rank)
        : this.#prepare(policy, rank, previous.get(rank.name) ?? null),
    );
    if (!isHashing(policy)) {
      this.#take(
        policy,
        this.#ranks.reduce((sum, rank) => sum + this.#bytesOf(policy, rank), 0),
      );
    }
    const byTier = new Map(
      this.#ranks.flatMap(({ name }, index) => {
        const picker = pickers[index];
        return picker === undefined ? [] : [[name, picker] as const];
      }),
    );
    return { byTier, picker: this.#join(pickers), isOutdated: false };
  }

  /** What hashes keys in one tier, without a bound: the same for all that are led and all that are bound. */
  #hasher(policy: PolicyName, rank: Rank): Picker {
    const name = `${policy} ${rank.name}`;
    const known = this.#hashers.get(name);
    if (known !== undefined) return known;
    const hasher = new LazyPicker(() => {
      this.#take(policy, (this.#bytes.get(policy) ?? 0) + this.#bytesOf(policy, rank));
      return this.#prepare(policy, rank, null);
    });
    this.#hashers.set(name, hasher);
    return hasher;
  }

  #bound(picker: Picker, { members }: Rank): Picker {
    const { snapshot, gauge } = this.#material;
    const { hashBalanceFactor } = snapshot.config;
    if (hashBalanceFactor === null) return picker;
    return BoundedLoad.prepare(picker, { candidates: members, gauge, hashBalanceFactor });
  }

  #prepare(policy: PolicyName, rank: Rank, previous: Picker | null): Picker {
    const { snapshot, hash, gauge, chance } = this.#material;
    return preparePicker(policy, {
      candidates: candidatesFor(policy, rank),
      previous,
      hash,
      chance,
      gauge,
      ringPoints: snapshot.config.ringPoints,
    });
  }

  #bytesOf(policy: PolicyName, rank: Rank): number {
    return pickerBytes(policy, candidatesFor(policy, rank), this.#material.snapshot.config.ringPoints);
  }

  /** Pickers of a policy take so much memory from now on. */
  #take(policy: PolicyName, bytes: number): void {
    const before = this.#bytes.get(policy) ?? 0;
    this.#bytes.set(policy, bytes);
    this.#grow(bytes - before);
  }

  /** One tier is picked in directly. */
  #join(pickers: readonly Picker[]): Picker {
    const [only] = pickers;
    if (only !== undefined && pickers.length === 1) return only;
    return new Tiered(pickers.map((picker, index) => ({ picker, share: this.#ranks[index]?.share ?? 0 })));
  }
}

function candidatesFor(policy: PolicyName, { members, warmed }: Rank): readonly Candidate[] {
  return warms(policy) ? warmed : members;
}

/** Whether a policy lets new backends begin slowly. A key has to lead to the same backend in every isolate at all times. */
function warms(policy: PolicyName): boolean {
  return policy !== "first" && !isHashing(policy);
}

function nameOf({ priority, isDegraded }: Tier): string {
  return isDegraded ? `${priority} degraded` : String(priority);
}
