import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { Admits, Snapshot } from "../../durable/model/snapshot.ts";
import { after } from "../../durable/model/time.ts";
import type { Choosing } from "../../worker/core/choice.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import type { SubChannel } from "../../worker/core/sub-channel.ts";
import { SubChannels } from "../../worker/core/sub-channels.ts";
import { AT_ONCE, NOON, snapshot } from "./support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "./support/visit.ts";

const BY_CONNECTION = [{ by: "connection" }] as const;
const FREE = visit();

/** A request of this connection, where connections are bound. */
function bound(identity: string, nowMs = NOON, from?: string): Choosing {
  return visit({ affinity: BY_CONNECTION, connection: connection(identity, from), nowMs });
}

/** Begins an attempt that goes on. */
function begin(view: PoolView, choosing: Choosing): SubChannel {
  const choice = view.choose(choosing);
  if (choice.kind !== "backend") throw new Error(`expected a backend, and got ${choice.kind}`);
  return choice.channel;
}

const CONNECTIONS = Array.from({ length: 200 }, (_, index) => `tls ${index}`);

/** Where every connection is led. */
function placed(view: PoolView, connections: readonly string[] = CONNECTIONS): readonly string[] {
  return connections.map((identity) => placeOf(view, bound(identity)));
}

function admitsAll(admits: Admits, ...ids: readonly string[]): Readonly<Record<string, Admits>> {
  return Object.fromEntries(ids.map((id) => [id, admits]));
}

it("leads free requests by the policy's turns", () => {
  const view = new PoolView(snapshot({ a: 2, b: 1 }), NOON, 0);
  expect([1, 2, 3, 4, 5, 6].map(() => placeOf(view, FREE)).join("")).toBe("abaaba");
});

it("leads every request of a connection to one backend", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  const first = placed(view);
  expect(new Set(first).size).toBe(3);
  expect(placed(view)).toEqual(first);
});

it("leads a connection to the same backend in every isolate", () => {
  const told = snapshot({ a: 1, b: 2, c: 1 });
  expect(placed(new PoolView(told, NOON, 0.1))).toEqual(placed(new PoolView(told, NOON, 0.9)));
});

it("leads requests freely that nothing names, also where connections are bound", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1 }), NOON, 0);
  const nameless = visit({ affinity: BY_CONNECTION });
  expect([1, 2, 3, 4].map(() => placeOf(view, nameless)).join("")).toBe("abab");
});

it("counts a connection as migrated once each time that it comes from elsewhere, and keeps it where it is", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  const froms = ["1 FRA", "1 FRA", "2 FRA", "2 FRA", "2 AMS", "1 FRA", "1 FRA"];
  const visits = froms.map((from) => choose(view, bound("tls 1", NOON, from)));
  expect(visits.map(({ hasMigrated }) => hasMigrated)).toEqual([
    false,
    false,
    true,
    false,
    true,
    true,
    false,
  ]);
  expect(new Set(visits.map(({ channel }) => channel.id)).size).toBe(1);
});

/** An address that several clients may share. */
const SHARED = { identity: "address 192.0.2.1", isExact: false };

it("counts no migration of what is no connection, or not the same, or in a place it was led to anew", () => {
  const view = new PoolView(snapshot({ a: 1 }), NOON, 0);
  const visits = ["1 FRA", "1 AMS"].map((from) =>
    choose(view, visit({ affinity: BY_CONNECTION, connection: { ...SHARED, from } })),
  );
  visits.push(choose(view, bound("tls 1", NOON, "1 FRA")), choose(view, bound("tls 2", NOON, "2 FRA")));
  view.adopt(snapshot({ b: 1 }), NOON, 0);
  visits.push(choose(view, bound("tls 1", NOON, "3 FRA")), choose(view, bound("tls 1", NOON, "3 FRA")));
  expect(visits.map(({ hasMigrated }) => hasMigrated)).toEqual(visits.map(() => false));
});

/** A request of this connection, where the policy hashes and nothing is bound. */
function hashed(identity: string): Choosing {
  return visit({ policy: "rendezvous", connection: connection(identity) });
}

it("leads a connection by consistent hashing where the policy says so, and remembers nothing", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  const before = CONNECTIONS.map((identity) => placeOf(view, hashed(identity)));
  expect(before).toEqual(placed(new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0)));
  view.adopt(snapshot({ a: 1, b: 1, c: 1, d: 1 }), NOON, 0);
  const later = CONNECTIONS.map((identity) => placeOf(view, hashed(identity)));
  expect(later).toEqual(placed(new PoolView(snapshot({ a: 1, b: 1, c: 1, d: 1 }), NOON, 0)));
});

/** The same backends in another order, all of them somewhere else. */
const MOVED = snapshot(
  Object.fromEntries(
    ["c", "b", "a"].map((id, index) => [
      id,
      { url: "https://moved.example", addedMs: NOON, serverId: 2 - index },
    ]),
  ),
);

it.each<[string, Snapshot]>([
  ["a backend is added", snapshot({ a: 1, b: 1, c: 1, d: 5 })],
  ["weights change", snapshot({ a: 100, b: 1, c: 7 })],
  ["a backend drains", snapshot({ a: "sticky", b: 1, c: 1 })],
  ["all drain", snapshot(admitsAll("sticky", "a", "b", "c"))],
  ["addresses change", MOVED],
  [
    "another pool of that name is made",
    snapshot({ a: 1, b: 1, c: 1 }, { secret: "f".repeat(32), incarnation: "next" }),
  ],
])("keeps every connection where it is when %s", (_, next) => {
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  const before = placed(view);
  view.adopt(next, NOON, 0);
  expect(placed(view)).toEqual(before);
});

it.each<[string, Snapshot]>([
  ["is removed", snapshot({ a: 1, c: 1 })],
  ["admits nothing", snapshot({ a: 1, b: "none", c: 1 })],
])("moves only the connections of a backend that %s, and moves them once", (_, next) => {
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  const before = placed(view);
  view.adopt(next, NOON, 0);
  const moved = placed(view);
  expect(moved.map((to, index) => (before[index] === "b" ? "b" : to))).toEqual(before);
  expect(moved).not.toContain("b");
  view.adopt(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  expect(placed(view)).toEqual(moved);
});

it("leads no new connection to a backend that drains or weighs nothing, and no free request", () => {
  const view = new PoolView(snapshot({ a: "sticky", b: 1 }), NOON, 0);
  expect(new Set(placed(view))).toEqual(new Set(["b"]));
  expect(new Set([1, 2, 3].map(() => placeOf(view, FREE)))).toEqual(new Set(["b"]));
});

it("chooses nothing where none admits it, and counts nothing in flight", () => {
  const view = new PoolView(snapshot({ a: "sticky", b: "none" }), NOON, 0);
  expect(view.choose(FREE)).toEqual({ kind: "no_backend" });
  expect(view.choose(bound("tls 1"))).toEqual({ kind: "no_backend" });
  expect(view.channels().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  expect(new PoolView(snapshot({}), NOON, 0).choose(bound("tls 1"))).toEqual({ kind: "no_backend" });
});

it("places a connection anew that was unused for too long or forgotten among too many", () => {
  const config = { ...snapshot({}).config, connections: { maxEntries: 2, idleMs: 1_000 } };
  const view = new PoolView(snapshot({ a: 1 }, { config }), NOON, 0);
  for (const identity of ["tls 0", "tls 1", "tls 2"]) expect(placeOf(view, bound(identity))).toBe("a");
  view.adopt(snapshot({ a: "sticky", b: 1 }, { config }), NOON, 0);
  expect(placeOf(view, bound("tls 2"))).toBe("a");
  expect(placeOf(view, bound("tls 1"))).toBe("a");
  expect(placeOf(view, bound("tls 0"))).toBe("b");
  expect(placeOf(view, bound("tls 1", after(NOON, 1_001)))).toBe("b");
});

it("forgets at once what a new snapshot leaves no room for", () => {
  const { config } = snapshot({});
  const view = new PoolView(snapshot({ a: 1 }, { config }), NOON, 0);
  for (const identity of ["tls 0", "tls 1"]) placeOf(view, bound(identity));
  const tight = { ...config, connections: { maxEntries: 1, idleMs: 1_000 } };
  view.adopt(snapshot({ a: "sticky", b: 1 }, { config: tight }), NOON, 0);
  expect(placeOf(view, bound("tls 1"))).toBe("a");
  expect(placeOf(view, bound("tls 0"))).toBe("b");
});

it("places new connections under the secret of a pool that was made again, as a new isolate does", () => {
  const next = snapshot({ a: 1, b: 1, c: 1 }, { secret: "f".repeat(32), incarnation: "next" });
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  placeOf(view, bound("tls before"));
  view.adopt(next, NOON, 0);
  expect(placed(view)).toEqual(placed(new PoolView(next, NOON, 0)));
});

it("raises what is in flight in the same step, and lowers it when the attempt ends", () => {
  const view = new PoolView(snapshot({ a: 1 }), NOON, 0);
  const first = begin(view, FREE);
  const second = begin(view, bound("tls 1"));
  expect(second).toBe(first);
  expect(first.inFlight).toBe(2);
  first.end();
  expect(second.inFlight).toBe(1);
});

it("keeps a backend's record through changes of its weight and address", () => {
  const view = new PoolView(snapshot({ a: 1 }), NOON, 0);
  const channel = begin(view, FREE);
  view.adopt(snapshot({ b: 1, a: 7 }), NOON, 0);
  const [b, a] = view.channels();
  expect(a).toBe(channel);
  expect(a).toMatchObject({ inFlight: 1, backend: { weight: 7 } });
  expect(b).toMatchObject({ inFlight: 0 });
});

it("reports of a removed backend until nothing is open there and nothing is left to report", () => {
  const view = new PoolView(snapshot({ a: 1 }), NOON, 0);
  const channel = begin(view, FREE);
  view.adopt(snapshot({ b: 1 }), NOON, 0);
  expect(view.channels().map(({ id }) => id)).toEqual(["b", "a"]);
  channel.count("answered", AT_ONCE);
  channel.end();
  view.adopt(snapshot({ b: 1, c: 1 }), NOON, 0);
  expect(view.channels().map(({ id }) => id)).toEqual(["b", "c", "a"]);
  expect(channel.takeReport(NOON)).toMatchObject({ report: { outcomes: { answered: 1 } } });
  expect(view.channels().map(({ id }) => id)).toEqual(["b", "c"]);
});

it("goes on with the record of a backend that comes back while something is open there", () => {
  const view = new PoolView(snapshot({ a: 1 }), NOON, 0);
  const channel = begin(view, FREE);
  view.adopt(snapshot({ b: 1 }), NOON, 0);
  view.adopt(snapshot({ a: 1, b: 1 }), NOON, 0);
  expect(view.channels()).toHaveLength(2);
  expect(view.channels()[0]).toBe(channel);
});

it("goes on with its turns when a snapshot is replaced", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
  expect([placeOf(view, FREE), placeOf(view, FREE)]).toEqual(["a", "b"]);
  view.adopt(snapshot({ a: 1, b: 1, c: 1 }, { version: 2 }), NOON, 0.99);
  expect(placeOf(view, FREE)).toBe("c");
});

it("begins its turns at another place in another isolate", () => {
  const first = [0, 0.4, 0.8].map((chance) =>
    placeOf(new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, chance), FREE),
  );
  expect(first).toEqual(["a", "b", "c"]);
});

const ADMITS = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom<Admits>("sticky", "none"));
const SNAPSHOT = fc.dictionary(fc.constantFrom("a", "b", "c", "d"), ADMITS).map((told) => snapshot(told));

/** Null for what is led nowhere. */
function settled(places: readonly string[]): readonly (string | null)[] {
  return places.map((place) => (place === "no_backend" ? null : place));
}

// The promise that sessions stay, over random histories: a connection moves only when its backend is gone or admits nothing.
it("moves a connection only away from a backend that is gone or admits nothing, in any history", () => {
  fc.assert(
    fc.property(SNAPSHOT, fc.array(SNAPSHOT, { maxLength: 10 }), (first, more) => {
      const view = new PoolView(first, NOON, 0);
      let before: readonly (string | null)[] = settled(placed(view, CONNECTIONS.slice(0, 20)));
      for (const next of more) {
        view.adopt(next, NOON, 0);
        const admits = new Map<string | null, Admits>(
          next.backends.map((backend) => [backend.id, backend.admits]),
        );
        const isOpen = next.backends.some((backend) => backend.admits === "new");
        const now = settled(placed(view, CONNECTIONS.slice(0, 20)));
        now.forEach((to, index) => {
          const from = before[index] ?? null;
          const stays = (admits.get(from) ?? "none") !== "none";
          expect(stays ? to : null).toBe(stays ? from : null);
          expect(stays || (isOpen ? admits.get(to) === "new" : to === null)).toBe(true);
        });
        before = now.map((to, index) => to ?? before[index] ?? null);
      }
    }),
    { numRuns: 300 },
  );
});

it("goes on with what was in flight in a pool of its name that is gone, and gives the new one room by it", () => {
  const channels = new SubChannels();
  const one = { config: poolConfig({ maxInFlight: 1 }) };
  const before = new PoolView(snapshot({ a: 1, b: 1 }, one), NOON, 0, channels);
  before.choose(visit());
  channels.retire();
  expect(channels.all().map(({ id, inFlight }) => [id, inFlight])).toEqual([["a", 1]]);
  const again = new PoolView(snapshot({ a: 1 }, { ...one, incarnation: "next-life" }), NOON, 0, channels);
  expect(again.channels().map(({ id, inFlight }) => [id, inFlight])).toEqual([["a", 1]]);
  expect(again.choose(visit())).toEqual({ kind: "full" });
  again.channels()[0]?.end();
  expect(again.choose(visit()).kind).toBe("backend");
});
