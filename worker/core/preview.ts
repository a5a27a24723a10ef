import type { BackendId, PoolName } from "../../durable/model/names.ts";
import type { BackendShare, PoolPreview, Rehearsal } from "../../durable/model/preview.ts";
import { after as later } from "../../durable/model/time.ts";
import { brokenGuards } from "./broken-guards.ts";
import { hashSpaceMoved } from "./hash-space.ts";
import { newShares } from "./new-shares.ts";
import { PreviewedPool } from "./previewed-pool.ts";
import { sessionMoves } from "./session-moves.ts";

const NO_SHARES: ReadonlyMap<BackendId, number> = new Map();

/** Shares are told in ten-thousandths of a percent. */
const FINENESS = 10_000;

/** What a change of a pool would do, out of a rehearsal of it, and without the keys in that. `pools`: those that exist. */
export function preview(rehearsal: Rehearsal, pools: ReadonlySet<PoolName>): PoolPreview {
  const { nowMs, basedOn, applied } = rehearsal;
  const before = rehearsal.before === null ? null : new PreviewedPool(rehearsal.before, nowMs);
  const after = rehearsal.after === null ? null : new PreviewedPool(rehearsal.after, nowMs);
  const moved =
    before === null
      ? { hashSpaceMovedPercent: null, hashSpaceErrorPercent: 0 }
      : hashSpaceMoved(before, after);
  return {
    version: basedOn,
    nextVersion: applied.version,
    created: applied.created,
    changes: applied.changes,
    atMs: nowMs,
    shares: shares(before, after, rehearsal),
    ...moved,
    sessions: before === null ? [] : sessionMoves(before, after, rehearsal),
    guards: brokenGuards(before, after, pools),
  };
}

function shares(
  before: PreviewedPool | null,
  after: PreviewedPool | null,
  { nowMs }: Rehearsal,
): readonly BackendShare[] {
  const was = before === null ? NO_SHARES : newShares(before, nowMs);
  const is = after === null ? NO_SHARES : newShares(after, nowMs);
  const settled =
    after === null || after.config.slowStart.windowMs === 0
      ? is
      : newShares(after, later(nowMs, after.config.slowStart.windowMs));
  const ids = new Set([before, after].flatMap((pool) => pool?.snapshot.backends.map(({ id }) => id) ?? []));
  return [...ids].map((id) => ({
    id,
    before: percent(was.get(id)),
    after: percent(is.get(id)),
    settled: percent(settled.get(id)),
  }));
}

function percent(share = 0): number {
  return Math.round(100 * FINENESS * share) / FINENESS;
}
