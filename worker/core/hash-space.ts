import type { PoolConfig } from "../../durable/model/pool.ts";
import type { PoolPreview } from "../../durable/model/preview.ts";
import { isHashing } from "./policies/by-name.ts";
import type { PreviewedPool } from "./previewed-pool.ts";
import { arcKeys, type KeySample, keyCount, sampleKeys, slotKeys, standardError } from "./sample-keys.ts";

type Moved = Pick<PoolPreview, "hashSpaceMovedPercent" | "hashSpaceErrorPercent">;

const NOTHING_LED: Moved = { hashSpaceMovedPercent: null, hashSpaceErrorPercent: 0 };
const ALL_MOVED: Moved = { hashSpaceMovedPercent: 100, hashSpaceErrorPercent: 0 };

/** Whether a pool leads what is new by hashing: what its chain names, or connections where there is no chain. */
export function isLed({ policy, affinity }: PoolConfig): boolean {
  return affinity.length === 0 ? isHashing(policy) : affinity.some(({ by }) => by !== "token");
}

/**
 * Keys to try on one or both sides of a preview. One for every slot of a maglev table, or for every arc of a ring of equal
 * weights, leaves nothing out.
 */
export function keysFor(pools: readonly PreviewedPool[]): KeySample {
  // Which of several tiers takes a key depends on other bits than those.
  const isPlain = pools.every(({ snapshot }) => snapshot.tiers.length === 1);
  if (isPlain && pools.every(({ scheme }) => scheme === "maglev")) return slotKeys();
  if (isPlain && pools.every((pool) => pool.scheme === "ring_hash" && isEvenlyWeighted(pool)))
    return arcKeys(
      new Set(pools.flatMap(({ members }) => members.map(({ id }) => id))),
      new Set(pools.map(({ config }) => config.ringPoints)),
    );
  return sampleKeys(keyCount(Math.max(...pools.map(({ snapshot }) => snapshot.backends.length))));
}

function isEvenlyWeighted({ members }: PreviewedPool): boolean {
  return new Set(members.map(({ weight }) => weight)).size <= 1;
}

/** What of all that a pool leads by hashing is led elsewhere afterwards, or to nobody. */
export function hashSpaceMoved(before: PreviewedPool, after: PreviewedPool | null): Moved {
  if (!isLed(before.config)) return NOTHING_LED;
  if (after === null || !isLed(after.config) || hashed(before.config) !== hashed(after.config))
    return ALL_MOVED;
  const { keys, sizes, whole, isExact } = keysFor([before, after]);
  let moved = 0;
  keys.forEach((key, index) => {
    const place = before.place(key);
    if (place !== null && after.place(key) !== place) moved += sizes[index] ?? 0;
  });
  return {
    hashSpaceMovedPercent: (100 * moved) / whole,
    hashSpaceErrorPercent: isExact ? 0 : 100 * standardError(moved, whole),
  };
}

/** What is hashed. Without a chain it is the connection. */
function hashed({ affinity }: PoolConfig): string {
  return JSON.stringify(
    affinity.length === 0 ? [{ by: "connection" }] : affinity.filter(({ by }) => by !== "token"),
  );
}
