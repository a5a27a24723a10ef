import type { BackendId } from "../../../durable/model/names.ts";
import type { PolicyName } from "../../../durable/model/pool.ts";
import type { EpochMs } from "../../../durable/model/time.ts";
import { createKeyedHash, type Hash64 } from "../../../worker/core/keyed-hash.ts";
import { BoundedLoad } from "../../../worker/core/policies/bounded-load.ts";
import { preparePicker } from "../../../worker/core/policies/by-name.ts";
import type { PickContext, Picker } from "../../../worker/core/policies/policy.ts";
import { candidates, NOON } from "../support/build.ts";
import { gaugesOf } from "../support/gauges.ts";

/** Backends by weight. */
export type Weights = Readonly<Record<string, number>>;

/** Excludes nobody. */
export const NOTHING: ReadonlySet<BackendId> = new Set();

/** The keyed hash of the pool. */
export const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");

/** The keys of 60,000 connections. */
export const KEYS: readonly Hash64[] = Array.from({ length: 60_000 }, (_, index) =>
  hash(`connection ${index}`),
);

/** What a policy may be told besides its candidates. */
interface Told {
  readonly ringPoints?: number;
  readonly hashBalanceFactor?: number;
  readonly load?: (id: BackendId) => number;
  readonly latencyMs?: (id: BackendId, nowMs: EpochMs) => number | null;
}

/** The picker of a policy for backends of these weights. */
export function prepare(name: PolicyName, weights: Weights, told: Told = {}): Picker {
  const { ringPoints = 160, hashBalanceFactor } = told;
  const among = { candidates: candidates(weights), gauge: gaugesOf(told.load ?? (() => 0), told.latencyMs) };
  const picker = preparePicker(name, { ...among, previous: null, hash, chance: 0, ringPoints });
  return hashBalanceFactor === undefined
    ? picker
    : BoundedLoad.prepare(picker, { ...among, hashBalanceFactor });
}

/** What a pick is given; what differs from a free request at noon is told. */
export function asking(told: Partial<PickContext> = {}): PickContext {
  return { exclude: NOTHING, isRetry: false, key: null, chance: 0, nowMs: NOON, ...told };
}

/** Where every key leads. */
export function placed(picker: Picker, keys = KEYS, exclude = NOTHING): readonly (BackendId | null)[] {
  return keys.map((key) => picker.pick(asking({ exclude, key })));
}

/** How often each was picked. */
export function counted(places: readonly (string | null)[]): ReadonlyMap<string | null, number> {
  const counts = new Map<string | null, number>();
  for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1);
  return counts;
}
