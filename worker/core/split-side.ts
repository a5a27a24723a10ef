import type { PoolName } from "../../durable/model/names.ts";
import type { Affinity } from "../../durable/model/pool.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Credentials } from "./affinity.ts";
import type { PoolView } from "./pool-view.ts";
import type { Split } from "./split.ts";

/** What decides which pool of a split a request belongs to. */
export interface Belonging {
  readonly client: Pick<Credentials, "headers" | "connection">;
  /** The route's word; undefined: it has none. */
  readonly affinity: Affinity | undefined;
  /** What there is of a pool; null: nothing. */
  readonly viewOf: (pool: PoolName) => Pick<PoolView, "tokenOf"> | null;
  readonly nowMs: EpochMs;
  readonly chance: number;
}

/** The pool of a split that a client belongs to: the one it holds a token of, else where its identity falls. */
export function chooseSide(split: Split, belonging: Belonging): PoolName | null {
  const { client, affinity, viewOf, nowMs, chance } = belonging;
  const pools = split.sides.map(({ pool }) => pool);
  const holds = (pool: PoolName) => viewOf(pool)?.tokenOf(client.headers, affinity, nowMs) ?? null;
  const held =
    pools.find((pool) => holds(pool) === "opened") ?? pools.find((pool) => holds(pool) === "unknown");
  return held ?? split.choose(client.connection?.identity ?? null, chance);
}
