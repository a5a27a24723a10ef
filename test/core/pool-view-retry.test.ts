import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { BackendId } from "../../durable/model/names.ts";
import { PolicySchema } from "../../durable/model/pool.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { backendId, NOON, snapshot } from "./support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "./support/visit.ts";

const FOUR = { a: 4, b: 3, c: 2, d: 1 };
const BY_CONNECTION = [{ by: "connection" }] as const;
const CHAINS = [[], BY_CONNECTION, [{ by: "header", name: "x-user" }]] as const;

function tried(...ids: readonly string[]): ReadonlySet<BackendId> {
  return new Set(ids.map(backendId));
}

it("never leads a request where it has failed, and somewhere else while anybody is left", () => {
  const failed = fc.subarray(Object.keys(FOUR));
  fc.assert(
    fc.property(
      fc.constantFrom(...PolicySchema.options),
      fc.constantFrom(...CHAINS),
      fc.array(failed, { maxLength: 20 }),
      (policy, affinity, retries) => {
        const config = poolConfig({ policy, affinity });
        const view = new PoolView(snapshot(FOUR, { config }), NOON, 0.3);
        for (const [index, ids] of retries.entries()) {
          const place = placeOf(
            view,
            visit({
              policy,
              affinity,
              connection: connection(`tls ${index % 3}`),
              headers: { "x-user": String(index % 3) },
              tried: tried(...ids),
              chance: (index * 0.37) % 1,
            }),
          );
          expect(ids).not.toContain(place);
          expect(place in FOUR).toBe(ids.length < 4);
        }
      },
    ),
  );
});

/** Where free requests are led, after a retry each or without. */
function places(isDisturbed: boolean): string {
  const view = new PoolView(snapshot({ a: 5, b: 1, c: 1 }), NOON, 0);
  return Array.from({ length: 14 }, () => {
    if (isDisturbed) placeOf(view, visit({ tried: tried("a") }));
    return placeOf(view, visit());
  }).join("");
}

it("lets the turns of others go on as if a retry had not been", () => {
  expect(places(true)).toBe(places(false));
});

it("brings a connection back to its backend after a request of it was saved elsewhere", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  const request = visit({ affinity: BY_CONNECTION, connection: connection("tls 1") });
  const home = choose(view, request).channel.id;
  expect(placeOf(view, { ...request, tried: new Set([home]) })).not.toBe(home);
  expect(placeOf(view, request)).toBe(home);
});

it("turns nothing away for having failed", () => {
  const shed = { newPercent: 100, sessionPercent: 100 };
  const view = new PoolView(snapshot(FOUR, { config: poolConfig({ shed }) }), NOON, 0);
  expect(placeOf(view, visit())).toBe("shed");
  for (const affinity of CHAINS) {
    const request = visit({ affinity, connection: connection("tls 1"), headers: { "x-user": "1" } });
    expect(placeOf(view, { ...request, tried: tried("a") })).toMatch(/^[bcd]$/);
  }
});
