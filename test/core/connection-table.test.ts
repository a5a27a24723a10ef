import * as fc from "fast-check";
import { expect, it } from "vitest";
import { after } from "../../durable/model/time.ts";
import { ConnectionTable } from "../../worker/core/connection-table.ts";
import { backendId, NOON } from "./support/build.ts";
import { connection } from "./support/visit.ts";

const A = backendId("a");
const B = backendId("b");

function table(maxEntries = 3, idleMs = 1_000): ConnectionTable {
  return new ConnectionTable({ maxEntries, idleMs });
}

/** The backend that a connection is remembered to be bound to. */
function found(connections: ConnectionTable, identity: string, nowMs = NOON): string | null {
  return connections.find(identity, nowMs)?.backend ?? null;
}

it("finds what was bound, and from where it came, and nothing else", () => {
  const connections = table();
  connections.bind(connection("x", "192.0.2.1 FRA"), A, NOON);
  expect(connections.find("x", NOON)).toMatchObject({ backend: A, from: "192.0.2.1 FRA" });
  expect(connections.find("y", NOON)).toBeNull();
});

it("binds a connection anew, and from where it comes now", () => {
  const connections = table();
  connections.bind(connection("x", "192.0.2.1 FRA"), A, NOON);
  connections.bind(connection("x", "192.0.2.2 AMS"), B, NOON);
  expect(connections.find("x", NOON)).toMatchObject({ backend: B, from: "192.0.2.2 AMS" });
  expect(connections.size).toBe(1);
});

it("remembers from where a connection comes since it was told so", () => {
  const connections = table();
  connections.bind(connection("x", "192.0.2.1 FRA"), A, NOON);
  const remembered = connections.find("x", NOON);
  Object.assign(remembered ?? {}, { from: "192.0.2.2 AMS" });
  expect(connections.find("x", NOON)).toMatchObject({ backend: A, from: "192.0.2.2 AMS" });
});

it("forgets the least recently used first", () => {
  const connections = table(3);
  for (const name of ["x", "y", "z"]) connections.bind(connection(name), A, NOON);
  connections.find("x", NOON);
  connections.bind(connection("new"), A, NOON);
  expect(["x", "y", "z", "new"].map((name) => found(connections, name))).toEqual([A, null, A, A]);
});

it("forgets a connection unused for longer than it may be, counted from its last use", () => {
  const connections = table(3, 1_000);
  connections.bind(connection("x"), A, NOON);
  expect(found(connections, "x", after(NOON, 1_000))).toBe(A);
  expect(found(connections, "x", after(NOON, 2_000))).toBe(A);
  expect(found(connections, "x", after(NOON, 3_001))).toBeNull();
  expect(connections.size).toBe(0);
});

it("forgets at once what no longer fits, the least recently used first", () => {
  const connections = table(3);
  for (const name of ["x", "y", "z"]) connections.bind(connection(name), A, NOON);
  connections.find("x", NOON);
  connections.resize({ maxEntries: 2, idleMs: 1_000 });
  expect(["x", "y", "z"].map((name) => found(connections, name))).toEqual([A, null, A]);
});

it("keeps everything when it may hold more, and takes the new idle time at once", () => {
  const connections = table(1, 1_000);
  connections.bind(connection("x"), A, NOON);
  connections.resize({ maxEntries: 2, idleMs: 5_000 });
  connections.bind(connection("y"), B, NOON);
  expect(found(connections, "x", after(NOON, 5_000))).toBe(A);
  connections.resize({ maxEntries: 2, idleMs: 100 });
  expect(found(connections, "y", after(NOON, 101))).toBeNull();
});

const NAME = fc.constantFrom("u", "v", "w", "x", "y", "z");
const USE = fc.oneof(
  fc.record({
    kind: fc.constant("bind"),
    name: NAME,
    backend: fc.constantFrom(A, B),
    passedMs: fc.nat({ max: 400 }),
  }),
  fc.record({
    kind: fc.constant("find"),
    name: NAME,
    backend: fc.constant(A),
    passedMs: fc.nat({ max: 400 }),
  }),
);

it("remembers exactly the last used connections that fit and are not idle", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(USE, { maxLength: 40 }), (maxEntries, uses) => {
      const connections = table(maxEntries, 1_000);
      /** Least recently used first. */
      let model: readonly { readonly name: string; readonly backend: typeof A; readonly usedMs: number }[] =
        [];
      let atMs = 0;
      for (const { kind, name, backend, passedMs } of uses) {
        atMs += passedMs;
        const known = model.find((entry) => entry.name === name);
        const live = known !== undefined && atMs - known.usedMs <= 1_000 ? known.backend : null;
        const bound = kind === "bind" ? backend : live;
        const others = model.filter((entry) => entry.name !== name);
        model =
          bound === null ? others : [...others, { name, backend: bound, usedMs: atMs }].slice(-maxEntries);
        const nowMs = after(NOON, atMs);
        if (kind === "bind") connections.bind(connection(name), backend, nowMs);
        expect(kind === "bind" ? null : found(connections, name, nowMs)).toBe(kind === "bind" ? null : live);
        expect(connections.size).toBe(model.length);
      }
    }),
    { numRuns: 500 },
  );
});
