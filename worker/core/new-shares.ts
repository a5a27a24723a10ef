import type { BackendId } from "../../durable/model/names.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { isLed, keysFor } from "./hash-space.ts";
import { isHashing } from "./policies/by-name.ts";
import type { Candidate } from "./policies/policy.ts";
import type { PreviewedPool } from "./previewed-pool.ts";
import type { Rank } from "./selection.ts";

/**
 * Of a pool's new traffic the part, 0…1, that each backend gets at a time, by the pool's own policy and chain: of what is led
 * by hashing, if anything is, else of free traffic. For policies that look at load it is what they come to under load.
 */
export function newShares(pool: PreviewedPool, nowMs: EpochMs): ReadonlyMap<BackendId, number> {
  const { policy, keylessPolicy } = pool.config;
  const isHashed = isLed(pool.config);
  if (isHashed && pool.scheme !== "rendezvous") return sampledShares(pool);
  const free = isHashing(policy) ? keylessPolicy : policy;
  return ranked(pool.ranks(nowMs), ({ members, warmed }) => {
    if (isHashed || isHashing(free)) return members;
    return free === "first" ? members.slice(0, 1) : warmed;
  });
}

function ranked(
  ranks: readonly Rank[],
  candidatesOf: (rank: Rank) => readonly Candidate[],
): ReadonlyMap<BackendId, number> {
  const whole = ranks.reduce((sum, { share }) => sum + share, 0);
  const shares = new Map<BackendId, number>();
  ranks.forEach((rank, index) => {
    // With no share anywhere, the first one takes everything.
    const ofRank = whole > 0 ? rank.share / whole : index === 0 ? 1 : 0;
    const candidates = candidatesOf(rank);
    const sum = candidates.reduce((total, { weight }) => total + weight, 0);
    for (const { id, weight } of candidates) shares.set(id, (ofRank * weight) / sum);
  });
  return shares;
}

function sampledShares(pool: PreviewedPool): ReadonlyMap<BackendId, number> {
  const { keys, sizes, whole } = keysFor([pool]);
  const shares = new Map<BackendId, number>();
  keys.forEach((key, index) => {
    const id = pool.place(key);
    if (id !== null) shares.set(id, (shares.get(id) ?? 0) + (sizes[index] ?? 0) / whole);
  });
  return shares;
}
