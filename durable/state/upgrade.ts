import { parse } from "../model/parse.ts";
import { PoolConfigSchema } from "../model/pool.ts";
import { diff } from "./diff.ts";
import { unobserved } from "./health.ts";
import { newTokens } from "./pool-tokens.ts";
import type { AbsentRing, HeldBackend, HeldTokens, LiveRing, RingState } from "./ring-state.ts";
import { type Leaving, noStops, type Stops } from "./stops.ts";
import type { Moment } from "./token-configs.ts";

/** A pool as any version of this code may have stored it. */
export type StoredRing =
  | AbsentRing
  | (Omit<LiveRing, "tokens" | "stops" | "backends"> & {
      /** Absent in what was stored before there were tokens. */
      readonly tokens?: HeldTokens;
      /** Absent in what was stored before there were receipts. */
      readonly stops?: Omit<Stops, "leaving">;
    });

/** Fields of a backend that were not stored from the beginning. */
type Later = "serverId" | "addedMs" | "priority" | "servingSinceMs" | "pin" | "observed";

/** A backend as any version of this code may have stored it. */
export type StoredBackend = Omit<HeldBackend, Later> & Partial<Pick<HeldBackend, Later>>;

/** A backend, or what is remembered of one on its way out: with labels that is too much for the head, which is one value. */
export type StoredRow = StoredBackend | { readonly leaving: Leaving };

/**
 * Brings a pool that an older version of this code stored to the present shape, in a version of its own, so that isolates
 * that hold the old one get what is new: keys, and fields of the configuration at their defaults. What is in shape stays as
 * it is.
 */
export function upgradeRing(
  head: StoredRing,
  stored: readonly StoredRow[],
  moment: Pick<Moment, "keys" | "nowMs">,
): RingState {
  if (head.kind === "absent") return head;
  const config = parse(PoolConfigSchema, head.config);
  if (!config.ok) throw new Error(`pool ${head.pool} as stored: ${JSON.stringify(config.refusal)}`);
  const rows = stored.flatMap((row) => ("leaving" in row ? [] : [row]));
  const leaving = stored.flatMap((row) => ("leaving" in row ? [row.leaving] : []));
  const backends = rows.map((row, index): HeldBackend => {
    const addedMs = row.addedMs ?? moment.nowMs;
    return {
      ...row,
      serverId: row.serverId ?? index,
      addedMs,
      priority: row.priority ?? 0,
      servingSinceMs: row.servingSinceMs ?? addedMs,
      pin: row.pin ?? null,
      observed: row.observed ?? unobserved(config.value.health, moment.nowMs),
    };
  });
  const { tokens, stops, ...rest } = head;
  const isInShape =
    tokens !== undefined &&
    stops !== undefined &&
    diff(head.config, config.value).length === 0 &&
    diff(rows, backends).length === 0;
  return {
    ...rest,
    version: isInShape ? rest.version : rest.version + 1,
    config: config.value,
    tokens: tokens ?? newTokens(config.value, moment),
    stops: stops === undefined ? noStops(moment.nowMs) : { ...stops, leaving },
    backends,
  };
}
