import type { PoolName } from "../../durable/model/names.ts";
import type { BrokenGuard } from "../../durable/model/preview.ts";
import type { PreviewedPool } from "./previewed-pool.ts";

/** Of the weight that takes new traffic, a change should leave at least this part. */
const CAPACITY_KEPT = 0.5;

/** What does not hold after a change that should, whether it held before or not. A pool that is deleted needs nothing. */
export function brokenGuards(
  before: PreviewedPool | null,
  after: PreviewedPool | null,
  pools: ReadonlySet<PoolName>,
): readonly BrokenGuard[] {
  if (after === null) return [];
  return [
    ...nobodyAdmitsNew(before, after),
    ...capacityHalved(before, after),
    ...panics(before, after),
    ...noFallbackPool(before, after, pools),
    ...serverIdsUsedUp(before, after),
  ];
}

function nobodyAdmitsNew(before: PreviewedPool | null, after: PreviewedPool): readonly BrokenGuard[] {
  if (servingWeight(after) > 0) return [];
  const wasBroken = before !== null && servingWeight(before) === 0;
  return [{ guard: "nobody_admits_new", detail: "no backend takes new traffic", wasBroken }];
}

function capacityHalved(before: PreviewedPool | null, after: PreviewedPool): readonly BrokenGuard[] {
  const was = before === null ? 0 : servingWeight(before);
  const is = servingWeight(after);
  if (is >= CAPACITY_KEPT * was) return [];
  const detail = `backends that take new traffic weigh ${is} together, and ${was} before`;
  return [{ guard: "capacity_halved", detail, wasBroken: false }];
}

function panics(before: PreviewedPool | null, after: PreviewedPool): readonly BrokenGuard[] {
  const were = panicking(before);
  return panicking(after).map((priority) => ({
    guard: "panic",
    detail: `of priority ${priority} less than ${after.config.tiers.panicThresholdPercent} % is well, so all of it serves`,
    wasBroken: were.includes(priority),
  }));
}

function noFallbackPool(
  before: PreviewedPool | null,
  { config }: PreviewedPool,
  pools: ReadonlySet<PoolName>,
): readonly BrokenGuard[] {
  const { fallbackPool } = config.tiers;
  if (fallbackPool === null || pools.has(fallbackPool)) return [];
  const wasBroken = before?.config.tiers.fallbackPool === fallbackPool;
  return [{ guard: "no_fallback_pool", detail: `pool ${fallbackPool} does not exist`, wasBroken }];
}

function serverIdsUsedUp(before: PreviewedPool | null, after: PreviewedPool): readonly BrokenGuard[] {
  if (after.freeServerIds > 0) return [];
  const detail = "no server id is left for another backend";
  return [{ guard: "server_ids_used_up", detail, wasBroken: before?.freeServerIds === 0 }];
}

function servingWeight({ members }: PreviewedPool): number {
  return members.reduce((sum, { weight }) => sum + weight, 0);
}

function panicking(pool: PreviewedPool | null): readonly number[] {
  return (pool?.snapshot.tiers ?? []).flatMap(({ priority, isPanicking }) => (isPanicking ? [priority] : []));
}
