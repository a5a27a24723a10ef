import { describe, expect, it } from "vitest";
import { type PolicyName, PolicySchema } from "../../../durable/model/pool.ts";
import type { Snapshot } from "../../../durable/model/snapshot.ts";
import { PoolView } from "../../../worker/core/pool-view.ts";
import { NOON, snapshot } from "../support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "../support/visit.ts";

const CONNECTIONS = Array.from({ length: 200 }, (_, index) => `tls ${index}`);
const CHAIN = [{ by: "connection" }, { by: "header", name: "x-user" }] as const;

/** A snapshot whose pool has this policy and the tightest bound on what is hashed. */
function underPolicy(policy: PolicyName, version: number): Snapshot {
  const config = poolConfig({ policy, hashBalanceFactor: 100, affinity: CHAIN });
  return snapshot({ a: 3, b: 2, c: 1 }, { version, config });
}

/** Where connections are led that the isolate remembers. */
function bound(view: PoolView, policy: PolicyName): readonly string[] {
  return CONNECTIONS.map((identity) =>
    placeOf(view, visit({ policy, affinity: CHAIN, connection: connection(identity) })),
  );
}

/** Where a header leads, which nobody remembers. */
function hashed(view: PoolView, policy: PolicyName): readonly string[] {
  return CONNECTIONS.map((value) =>
    placeOf(view, visit({ policy, affinity: CHAIN, headers: { "x-user": value } })),
  );
}

it("moves no bound session when the policy is switched, from each to each, also while backends are busy", () => {
  const view = new PoolView(underPolicy("round_robin", 1), NOON, 0);
  const before = bound(view, "round_robin");
  expect(new Set(before).size).toBe(3);
  // What is left open here makes the loads unequal.
  for (let index = 0; index < 30; index++) view.choose(visit({ policy: "first" }));
  let version = 1;
  for (const from of PolicySchema.options) {
    for (const to of PolicySchema.options) {
      for (const policy of [from, to]) {
        version++;
        view.adopt(underPolicy(policy, version), NOON, 0.5);
        placeOf(view, visit({ policy, connection: connection("tls free"), chance: 0.3 }));
        expect(bound(view, policy)).toEqual(before);
      }
    }
  }
});

it("leads values to the same backends under every policy that does not hash in a way of its own", () => {
  const view = new PoolView(snapshot({ a: 3, b: 2, c: 1 }), NOON, 0);
  const before = hashed(view, "round_robin");
  expect(new Set(before).size).toBe(3);
  const others = PolicySchema.options.filter((policy) => policy !== "maglev" && policy !== "ring_hash");
  for (const policy of others) expect(hashed(view, policy)).toEqual(before);
});

it("leads values by the pool's hashing policy, and no more of them to one backend than its bound allows", () => {
  const config = poolConfig({ policy: "maglev", hashBalanceFactor: 100, affinity: CHAIN });
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }, { config }), NOON, 0);
  const choosing = visit({ policy: "maglev", affinity: CHAIN, headers: { "x-user": "one and the same" } });
  const places = Array.from({ length: 30 }, () => {
    const choice = view.choose(choosing);
    return choice.kind === "backend" ? choice.channel.id : choice.kind;
  });
  const counts = [...Map.groupBy(places, (place) => place).values()].map(({ length }) => length);
  expect(counts).toEqual([10, 10, 10]);
});

describe.each(["rendezvous", "maglev", "ring_hash"] as const)("%s", (policy) => {
  it("leads a connection to the same backend in every isolate, in whatever order it has the backends", () => {
    const weights = { a: 3, b: 2, c: 1 };
    const one = new PoolView(snapshot(weights), NOON, 0.1);
    const other = new PoolView(snapshot(Object.fromEntries(Object.entries(weights).toReversed())), NOON, 0.9);
    const places = [one, other].map((view) =>
      CONNECTIONS.map((identity) => placeOf(view, visit({ policy, connection: connection(identity) }))),
    );
    expect(new Set(places[0]).size).toBe(3);
    expect(places[0]).toEqual(places[1]);
  });

  it("begins a session of its own with every request that the chain hashes nothing of", () => {
    const request = visit({ policy, affinity: [{ by: "token" }], connection: connection("tls 1") });
    expect(choose(new PoolView(snapshot({ a: 1, b: 1 }), NOON, 0), request).grant?.sessionId).toBeNull();
  });
});

it("leads a request to the backend that has less in flight, where the policy says so", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1 }), NOON, 0);
  const request = visit({ policy: "least_request" });
  const channels = Array.from({ length: 10 }, () => {
    const choice = view.choose(request);
    return choice.kind === "backend" ? choice.channel.id : choice.kind;
  });
  expect(channels.toSorted().join("")).toBe("aaaaabbbbb");
});
