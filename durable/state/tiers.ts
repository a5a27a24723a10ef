import type { Health } from "../model/health.ts";
import type { PoolConfig } from "../model/pool.ts";
import type { Tier } from "../model/snapshot.ts";
import { healthOf, isStopping, isWanted } from "./health.ts";
import type { HeldBackend } from "./ring-state.ts";

/** Backends of one priority that an operator wants to serve, by their health. One that is stopping is in the total alone. */
export interface Standing {
  readonly priority: number;
  readonly healthy: number;
  readonly degraded: number;
  /** The unhealthy and stopping ones included. */
  readonly total: number;
}

/** What a pool does with its tiers. */
type TierRules = Pick<PoolConfig["tiers"], "overprovisioningPercent" | "panicThresholdPercent">;

/** How new traffic is shared out between the tiers of a pool: the healthy ones of every priority, then the degraded ones. */
export function projectTiers(backends: readonly HeldBackend[], rules: TierRules): readonly Tier[] {
  return shareOut(standings(backends), rules);
}

/**
 * Shares new traffic out as Envoy does between priorities. The healthy ones of a priority are good for
 * `overprovisioningPercent` of their part of it; what that leaves of 100 goes to the next priority, and after the last one
 * to the degraded ones, in the same order. Where all of them together are not good for 100, everyone gets proportionally
 * more, and a priority that has too few in service panics: all of its backends serve, whatever their health, and also those
 * that asked for no new sessions. Where every priority panics, each gets what its number of backends says, since all of them
 * serve.
 *
 * Whole percents, rounded down as in the published tables; what rounding leaves goes to the first that has any.
 */
export function shareOut(byPriority: readonly Standing[], rules: TierRules): readonly Tier[] {
  const { overprovisioningPercent, panicThresholdPercent } = rules;
  const goodFor = (count: number, total: number): number =>
    total === 0 ? 0 : Math.min(100, Math.floor((overprovisioningPercent * count) / total));
  const available = [
    ...byPriority.map(({ healthy, total }) => goodFor(healthy, total)),
    ...byPriority.map(({ degraded, total }) => goodFor(degraded, total)),
  ];
  const sum = available.reduce((all, each) => all + each, 0);
  const isPanicking = ({ healthy, degraded, total }: Standing): boolean =>
    sum < 100 && 100 * (healthy + degraded) < panicThresholdPercent * total;
  const shares = byPriority.every(isPanicking)
    ? inProportion(byPriority)
    : spread(available, Math.min(100, sum));
  return byPriority.flatMap((standing, index): readonly Tier[] => {
    const { priority } = standing;
    const share = shares[index] ?? 0;
    const ofDegraded = shares[index + byPriority.length] ?? 0;
    if (isPanicking(standing)) {
      return [{ priority, isDegraded: false, sharePercent: share + ofDegraded, isPanicking: true }];
    }
    const healthy = { priority, isDegraded: false, sharePercent: share, isPanicking: false };
    if (standing.degraded === 0) return [healthy];
    return [healthy, { priority, isDegraded: true, sharePercent: ofDegraded, isPanicking: false }];
  });
}

function inProportion(byPriority: readonly Standing[]): readonly number[] {
  const totals = byPriority.map(({ total }) => total);
  return spread(
    totals,
    totals.reduce((all, each) => all + each, 0),
  );
}

/** Gives 100 out in order, to each what it is of `whole`, and to the first what is left. */
function spread(available: readonly number[], whole: number): readonly number[] {
  if (whole === 0) return available;
  let left = 100;
  const shares = available.map((part) => {
    const share = Math.min(left, Math.floor((part * 100) / whole));
    left -= share;
    return share;
  });
  const first = shares.findIndex((share) => share > 0);
  return shares.map((share, index) => (index === first ? share + left : share));
}

function standings(backends: readonly HeldBackend[]): readonly Standing[] {
  const byPriority = Map.groupBy(backends.filter(isWanted), ({ priority }) => priority);
  return [...byPriority]
    .toSorted(([one], [other]) => one - other)
    .map(([priority, members]) => ({
      priority,
      healthy: countOf(members, "healthy"),
      degraded: countOf(members, "degraded"),
      total: members.length,
    }));
}

/** Backends of this health that take new sessions. */
function countOf(members: readonly HeldBackend[], health: Health): number {
  return members.filter((backend) => healthOf(backend) === health && !isStopping(backend)).length;
}
