import type { BackendId } from "../model/names.ts";
import type { Refusal } from "../model/refusal.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import { type EpochMs, earliest } from "../model/time.ts";

/** A server id that names a removed backend in tokens that may be alive. */
export interface ReservedServerId {
  readonly serverId: number;
  readonly id: BackendId;
  readonly untilMs: EpochMs;
}

/** Server ids that are not free, beside those in use. */
export interface TakenServerIds {
  readonly reserved: readonly ReservedServerId[];
  readonly resting: readonly RestingServerId[];
}

/** A server id that tokens name no more, but that an isolate may still take for that of a removed backend. */
export interface RestingServerId {
  readonly serverId: number;
  readonly untilMs: EpochMs;
}

/**
 * Gives every backend that has no server id the smallest that is free at `nowMs`. Refused when an id in use or reserved
 * does not fit `space`, or none is free.
 */
export function giveServerIds<Named extends { readonly serverId: number | null }>(
  backends: readonly Named[],
  { reserved, resting }: TakenServerIds,
  space: number,
  nowMs: EpochMs,
): Result<readonly (Omit<Named, "serverId"> & { readonly serverId: number })[]> {
  const taken = new Set(reserved.map(({ serverId }) => serverId));
  for (const { serverId } of backends) if (serverId !== null) taken.add(serverId);
  const largest = [...taken].reduce((most, serverId) => Math.max(most, serverId), -1);
  const waiting = [...reserved, ...resting.filter(({ untilMs }) => untilMs > nowMs)];
  if (largest >= space) return refuse(noRoom(`server id ${largest} is in use or reserved`, waiting, space));
  for (const { serverId } of waiting) taken.add(serverId);
  let next = 0;
  const named = backends.map((backend) => {
    if (backend.serverId !== null) return { ...backend, serverId: backend.serverId };
    while (taken.has(next)) next++;
    return { ...backend, serverId: next++ };
  });
  const why = `${backends.length} backends need one each, and ${waiting.length} are reserved`;
  return next > space ? refuse(noRoom(why, waiting, space)) : ok(named);
}

function noRoom(what: string, waiting: readonly RestingServerId[], space: number): Refusal {
  const untilMs = earliest(waiting.map((each) => each.untilMs));
  const when = untilMs === null ? "" : `; the first reserved one is free from ${untilMs} or a little later`;
  return {
    kind: "conflict",
    detail: `the live token configurations have room for ${space} server ids, and ${what}${when}`,
  };
}
