import * as v from "valibot";
import { type PoolConfig, PoolConfigSchema } from "../../../durable/model/pool.ts";
import type { Credentials } from "../../../worker/core/affinity.ts";
import type { Choosing, Chosen } from "../../../worker/core/choice.ts";
import type { Connection } from "../../../worker/core/identify.ts";
import type { PoolView } from "../../../worker/core/pool-view.ts";
import { NOON } from "./build.ts";

/** A connection that is named for itself, from the one place where nobody moves. */
export function connection(identity: string, from = "192.0.2.1 FRA"): Connection {
  return { identity, isExact: true, from };
}

/** What is said of a request: where it comes from, what it carries, when. */
type Told = Partial<Omit<Choosing, "credentials">> &
  Partial<Omit<Credentials, "headers">> & { readonly headers?: Readonly<Record<string, string>> };

/** A request that nothing binds; what differs is told. */
export function visit(told: Told = {}): Choosing {
  const {
    headers = {},
    query = "",
    clientAddress = null,
    connection: from = null,
    policy = "round_robin",
    affinity = [],
    subset = null,
    nowMs = NOON,
    chance = 0,
    tried = new Set(),
    hasWaited = false,
  } = told;
  const credentials = { headers: new Headers(headers), query, clientAddress, connection: from };
  return { policy, affinity, subset, credentials, nowMs, chance, tried, hasWaited };
}

/**
 * Chooses, and ends the attempt at once.
 *
 * @throws when no backend is chosen.
 */
export function choose(view: PoolView, choosing: Choosing): Chosen {
  const choice = view.choose(choosing);
  if (choice.kind !== "backend") throw new Error(`expected a backend, and got ${choice.kind}`);
  choice.channel.callOff();
  return choice;
}

/** Where a request is led; why not, if it is led nowhere. */
export function placeOf(view: PoolView, choosing: Choosing): string {
  const choice = view.choose(choosing);
  if (choice.kind !== "backend") return choice.kind;
  choice.channel.callOff();
  return choice.channel.id;
}

/** A pool's configuration, from what differs from the defaults. */
export function poolConfig(told: Readonly<Record<string, unknown>>): PoolConfig {
  return v.parse(PoolConfigSchema, told);
}
