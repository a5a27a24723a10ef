import type { PoolConfig } from "../model/pool.ts";

/** Refresh interval while a drain runs, milliseconds: the operator is waiting. */
const HURRIED_REFRESH_MS = 1_000;

/** Share by which isolates come early at most, so that they do not come together. */
const JITTER = 0.1;

/** A lease outlives this many refreshes, so one lost reply costs nobody its lease. */
const REFRESHES_PER_LEASE = 3;

export interface Pace {
  readonly leaseMs: number;
  readonly nextSyncMs: number;
}

/** How often each isolate asks: the refresh interval, stretched so that all together ask at most `maxPerSecond` times a second. */
export function refreshIntervalMs(
  sync: PoolConfig["sync"],
  isolates: number,
  wantedMs = sync.refreshMs,
): number {
  return Math.max(wantedMs, Math.ceil((1_000 * isolates) / sync.maxPerSecond));
}

/**
 * How long a lease is, and when the isolate should ask again: the refresh interval, stretched so that all isolates
 * together ask at most `maxPerSecond` times a second, and shortened by up to 10 % at random (`chance`, 0…1).
 */
export function pace(sync: PoolConfig["sync"], isolates: number, isHurried: boolean, chance: number): Pace {
  const wantedMs = isHurried ? Math.min(sync.refreshMs, HURRIED_REFRESH_MS) : sync.refreshMs;
  const intervalMs = refreshIntervalMs(sync, isolates, wantedMs);
  return {
    leaseMs: Math.max(sync.leaseMs, REFRESHES_PER_LEASE * intervalMs),
    nextSyncMs: Math.round(intervalMs * (1 - JITTER * chance)),
  };
}
