import type { PoolConfig } from "../../durable/model/pool.ts";
import type { PoolPreview } from "../../durable/model/preview.ts";
import type { Hash64 } from "./keyed-hash.ts";
import { isHashing } from "./policies/by-name.ts";
import type { PreviewedPool } from "./previewed-pool.ts";
import { keyCount, sampleKeys, slotKeys } from "./sample-keys.ts";

type Moved = Pick<PoolPreview, "hashSpaceMovedPercent" | "hashSpaceErrorPercent">;

const NOTHING_LED: Moved = { hashSpaceMovedPercent: null, hashSpaceErrorPercent: 0 };
const ALL_MOVED: Moved = { hashSpaceMovedPercent: 100, hashSpaceErrorPercent: 0 };

/** Whether a pool leads what is new by hashing: what its chain names, or connections where there is no chain. */
export function isLed({ policy, affinity }: PoolConfig): boolean {
  return affinity.length === 0 ? isHashing(policy) : affinity.some(({ by }) => by !== "token");
}

/** Keys to try on one or both sides of a preview. One for every slot of a maglev table leaves nothing out. */
export function keysFor(pools: readonly PreviewedPool[]): { keys: readonly Hash64[]; isExact: boolean } {
  // Which of several tiers takes a key depends on other bits than its slot.
  const isExact = pools.every((pool) => pool.scheme === "maglev" && pool.snapshot.tiers.length === 1);
  if (isExact) return { keys: slotKeys(), isExact };
  const most = Math.max(...pools.map(({ snapshot }) => snapshot.backends.length));
  return { keys: sampleKeys(keyCount(most)), isExact };
}

/** What of all that a pool leads by hashing is led elsewhere afterwards, or to nobody. */
export function hashSpaceMoved(before: PreviewedPool, after: PreviewedPool | null): Moved {
  if (!isLed(before.config)) return NOTHING_LED;
  if (after === null || !isLed(after.config) || hashed(before.config) !== hashed(after.config))
    return ALL_MOVED;
  const { keys, isExact } = keysFor([before, after]);
  let moved = 0;
  for (const key of keys) {
    const place = before.place(key);
    if (place !== null && after.place(key) !== place) moved++;
  }
  return {
    hashSpaceMovedPercent: (100 * moved) / keys.length,
    hashSpaceErrorPercent: isExact ? 0 : 100 * standardError(moved, keys.length),
  };
}

/** What is hashed. Without a chain it is the connection. */
function hashed({ affinity }: PoolConfig): string {
  return JSON.stringify(
    affinity.length === 0 ? [{ by: "connection" }] : affinity.filter(({ by }) => by !== "token"),
  );
}

/** Of a share that was counted. Two more on either side (Agresti and Coull 1998), or of none it would be none. */
function standardError(counted: number, of: number): number {
  const share = (counted + 2) / (of + 4);
  return Math.sqrt((share * (1 - share)) / (of + 4));
}
