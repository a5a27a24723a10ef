import type { PoolConfig } from "../../durable/model/pool.ts";
import type { Credentials } from "./affinity.ts";
import type { Choosing } from "./choice.ts";
import type { Destination } from "./route.ts";
import { type Origin, wantedSubset } from "./subset.ts";

/** What of a choice a request and its route decide; the rest is the isolate's. */
export type Wishes = Pick<Choosing, "policy" | "affinity" | "subset" | "credentials">;

/** What the choice of a backend depends on: the route's word, else the pool's; in a fallback pool its own alone. */
export function wishesFor(
  destination: Pick<Destination, "policy" | "affinity" | "subset">,
  isFallback: boolean,
  config: Pick<PoolConfig, "policy" | "affinity">,
  client: Credentials & Origin,
): Wishes {
  const { policy, affinity, subset } = isFallback ? NONE : destination;
  return {
    policy: policy ?? config.policy,
    affinity: affinity ?? config.affinity,
    subset: subset === undefined ? null : wantedSubset(subset, client),
    credentials: client,
  };
}

const NONE = { policy: undefined, affinity: undefined, subset: undefined };
