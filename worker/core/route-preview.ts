import type { PoolName } from "../../durable/model/names.ts";
import type { PoolShare, RoutePreview, RouteRehearsal } from "../../durable/model/preview.ts";
import type { Route } from "../../durable/model/route.ts";
import { createKeyedHash } from "./keyed-hash.ts";
import { standardError } from "./sample-keys.ts";
import { type Side, Split } from "./split.ts";

/** Clients that stand for all there are. */
const CLIENTS = 20_000;

/** Shares are told in ten-thousandths of a percent. */
const FINENESS = 10_000;

/** Clients are spread alike by any secret, so the directory's need not come here. */
const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");

/** What a change of a route would do, out of a rehearsal of it. */
export function previewRoute({ basedOn, applied, before, after }: RouteRehearsal): RoutePreview {
  const { version: nextVersion, ...rest } = applied;
  const moved = before === null || after === null ? NONE_COMPARED : clientsMoved(before, after);
  return { version: basedOn, nextVersion, ...rest, shares: shares(before, after), ...moved };
}

type Moved = Pick<RoutePreview, "clientsMovedPercent" | "clientsErrorPercent">;

const NONE_COMPARED: Moved = { clientsMovedPercent: null, clientsErrorPercent: 0 };

function clientsMoved(before: Route, after: Route): Moved {
  const was = sidesOf(before);
  const is = sidesOf(after);
  if (JSON.stringify(was) === JSON.stringify(is)) return { clientsMovedPercent: 0, clientsErrorPercent: 0 };
  const [one, other] = [new Split(before.id, was, hash), new Split(after.id, is, hash)];
  let moved = 0;
  for (let client = 0; client < CLIENTS; client++) {
    const identity = `client ${client}`;
    if (one.choose(identity, 0) !== other.choose(identity, 0)) moved++;
  }
  return {
    clientsMovedPercent: (100 * moved) / CLIENTS,
    clientsErrorPercent: 100 * standardError(moved, CLIENTS),
  };
}

function shares(before: Route | null, after: Route | null): readonly PoolShare[] {
  const was = sharesOf(before);
  const is = sharesOf(after);
  return [...new Set([...was.keys(), ...is.keys()])].map((pool) => ({
    pool,
    before: was.get(pool) ?? 0,
    after: is.get(pool) ?? 0,
  }));
}

function sharesOf(route: Route | null): ReadonlyMap<PoolName, number> {
  const sides = route === null ? [] : sidesOf(route);
  const sum = sides.reduce((total, { weight }) => total + weight, 0);
  return new Map(
    sides.map(({ pool, weight }) => [pool, Math.round((100 * FINENESS * weight) / sum) / FINENESS]),
  );
}

function sidesOf({ pool, split }: Route): readonly Side[] {
  return pool === undefined ? (split ?? []) : [{ pool, weight: 1 }];
}
