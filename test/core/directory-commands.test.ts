import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { DirectoryCommand, Precondition } from "../../durable/model/command.ts";
import { parse } from "../../durable/model/parse.ts";
import { poolsOf, type RouteInput, RouteInputSchema, type RoutePatch } from "../../durable/model/route.ts";
import { applyDirectoryCommand } from "../../durable/state/directory-command.ts";
import {
  type DirectoryState,
  newDirectory,
  projectTable,
  upgradeDirectory,
} from "../../durable/state/directory-state.ts";
import { isTie } from "../../durable/state/route-conflict.ts";
import { poolName, route, routeId } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";
import { PRECONDITION } from "./support/pool-arbitraries.ts";
import { refusal } from "./support/refusal.ts";
import { ROUTES } from "./support/route-arbitraries.ts";

const NO_CONDITION: Precondition = { ifMatch: null, ifAbsent: false };
const NEW = newDirectory("01234567-89ab-cdef-0123-456789abcdef", "5e".repeat(16));

function apply(state: DirectoryState, command: DirectoryCommand, precondition = NO_CONDITION) {
  return applyDirectoryCommand(frozen(state), frozen(command), precondition);
}

/** The state after a command; the one before if it was refused. */
function next(state: DirectoryState, command: DirectoryCommand, precondition?: Precondition): DirectoryState {
  const result = apply(state, command, precondition);
  return result.ok ? result.value.state : state;
}

/** A directory with the pools `shop` and `blog` and these routes. */
function directory(...routes: DirectoryState["routes"]): DirectoryState {
  return { ...NEW, version: 7, pools: [poolName("shop"), poolName("blog")], routes };
}

function input(told: Readonly<Record<string, unknown>> = {}): RouteInput {
  const { id: _, ...rest } = route("any", told);
  return rest;
}

function patch(told: RoutePatch): DirectoryCommand {
  return { kind: "patch-route", id: routeId("a"), patch: told };
}

const POOL = fc.constantFrom("shop", "blog", "default", "nowhere").map(poolName);
const ID = fc.constantFrom("a", "b", "c").map(routeId);
const SPLIT = fc.uniqueArray(
  POOL.map((pool) => ({ pool, weight: 1 })),
  { minLength: 1, maxLength: 3, selector: ({ pool }) => pool },
);
const INPUT = fc
  .tuple(
    ROUTES,
    fc.oneof(
      POOL.map((pool) => ({ pool })),
      SPLIT.map((split) => ({ split })),
    ),
  )
  .map(([[first = route("any")], destination]): RouteInput => {
    const { id: _, pool: __, ...rest } = first;
    return Object.assign(rest, destination);
  });

const COMMAND: fc.Arbitrary<DirectoryCommand> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("put-route"), id: ID, route: INPUT }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("patch-route"),
      id: ID,
      patch: fc.record(
        {
          host: fc.constantFrom(null, "a.example"),
          path: fc.constantFrom("/", "/a"),
          pool: fc.oneof(POOL, fc.constant(null)),
          split: fc.oneof(SPLIT, fc.constant(null)),
          methods: fc.constantFrom(null, ["GET"]),
        },
        { requiredKeys: [] },
      ),
    }),
  },
  fc.record({ kind: fc.constant("remove-route"), id: ID }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("add-pool"), name: POOL }) },
  fc.record({ kind: fc.constant("remove-pool"), name: POOL }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("put-routes"),
      routes: fc.array(
        fc.tuple(ID, INPUT).map(([id, told]) => Object.assign({ id }, told)),
        { maxLength: 3 },
      ),
      pools: fc.array(POOL, { maxLength: 2 }),
    }),
  },
);
const COMMANDS = fc.array(fc.tuple(COMMAND, PRECONDITION), { maxLength: 25 });

it("grows the version by one with every change, and by none when nothing changed or the command was refused", () => {
  fc.assert(
    fc.property(COMMANDS, (commands) => {
      let state = NEW;
      for (const [command, precondition] of commands) {
        const before: DirectoryState = state;
        const result = apply(before, command, precondition);
        state = result.ok ? result.value.state : before;
        const isChanged =
          JSON.stringify([before.pools, before.routes]) !== JSON.stringify([state.pools, state.routes]);
        expect(state.version - before.version).toBe(isChanged ? 1 : 0);
        expect(state === before).toBe(!isChanged);
        expect(result.ok && result.value.applied.changes.length > 0).toBe(isChanged);
        expect(result.ok && result.value.applied.created).toBe(
          command.kind !== "put-routes" &&
            state.pools.length + state.routes.length > before.pools.length + before.routes.length,
        );
      }
    }),
    { numRuns: 500 },
  );
});

it("never holds two routes that tie, nor two of one id, nor one to a pool that is not there", () => {
  fc.assert(
    fc.property(COMMANDS, (commands) => {
      const { routes, pools } = commands.reduce(
        (state, [command, condition]) => next(state, command, condition),
        NEW,
      );
      const tied = routes.filter((a) => routes.some((b) => a !== b && (a.id === b.id || isTie(a, b))));
      expect(tied).toEqual([]);
      const known = new Set(["default", ...pools]);
      expect(routes.flatMap(poolsOf).filter((pool) => !known.has(pool))).toEqual([]);
      expect(new Set(pools).size).toBe(pools.length);
    }),
    { numRuns: 500 },
  );
});

it("puts all routes at once as it would put them one by one into a directory without any, or refuses them all", () => {
  fc.assert(
    fc.property(COMMANDS, fc.array(fc.tuple(ID, INPUT), { maxLength: 4 }), (commands, inputs) => {
      const state = commands.reduce((held, [command]) => next(held, command), NEW);
      const routes = inputs.map(([id, told]) => Object.assign({ id }, told));
      const isTwice = new Set(routes.map(({ id }) => id)).size < routes.length;
      let made: DirectoryState = { ...state, routes: [] };
      const results = inputs.map(([id, told]) => {
        const one = apply(made, { kind: "put-route", id, route: told });
        made = one.ok ? one.value.state : made;
        return one.ok;
      });
      const result = apply(state, { kind: "put-routes", routes, pools: [] });
      expect(result.ok).toBe(!isTwice && results.every(Boolean));
      expect(result.ok ? result.value.state.routes : routes).toEqual(routes);
    }),
  );
});

it("names a deployment after its first life, and publishes routes but no pools", () => {
  expect(projectTable(directory(route("a")))).toEqual({
    incarnation: "01234567-89ab-cdef-0123-456789abcdef",
    version: 7,
    deployment: "ringmaster-01234567",
    secret: "5e".repeat(16),
    routes: [route("a")],
  });
});

it("refuses a route that ties with another, and says with which", () => {
  const command = {
    kind: "put-route",
    id: routeId("b"),
    route: input({ path: "/a", pool: "blog" }),
  } as const;
  expect(apply(directory(route("a", { path: "/a" })), command)).toEqual({
    ok: false,
    refusal: {
      kind: "conflict",
      detail: "route b and route a would match the same requests, neither more specific than the other",
    },
  });
});

it("lets a route be put again though it ties with itself", () => {
  const state = directory(route("a", { path: "/a" }));
  const command = {
    kind: "put-route",
    id: routeId("a"),
    route: input({ path: "/a", pool: "blog" }),
  } as const;
  expect(next(state, command).routes).toEqual([route("a", { path: "/a", pool: "blog" })]);
  expect(next(state, { ...command, route: input({ path: "/a" }) })).toBe(state);
});

it("refuses a route to a pool that is not there, and names those that are", () => {
  expect(
    apply(directory(), { kind: "put-route", id: routeId("a"), route: input({ pool: "nowhere" }) }),
  ).toEqual({
    ok: false,
    refusal: {
      kind: "invalid",
      errors: [{ field: "pool", value: "nowhere", range: "must be an existing pool: default, shop, blog" }],
    },
  });
});

it("patches what is named, takes away what is null, and leaves the rest", () => {
  const state = directory(route("a", { host: "a.example", path: "/a", methods: ["GET"], rewritePath: "/b" }));
  const told = { host: null, rewritePath: null, pool: poolName("blog"), headerTimeoutMs: 50 };
  expect(next(state, patch(told)).routes).toEqual([
    route("a", { path: "/a", methods: ["GET"], pool: "blog", headerTimeoutMs: 50 }),
  ]);
  expect(parse(RouteInputSchema, input())).toMatchObject({ ok: true });
});

const CANARY = [
  { pool: poolName("shop"), weight: 9 },
  { pool: poolName("blog"), weight: 1 },
];

it("turns a route to a pool into a split by a patch, and back", () => {
  const plain = directory(route("a"));
  const split = next(plain, patch({ pool: null, split: CANARY }));
  expect(split.routes).toEqual([route("a", { split: CANARY })]);
  expect(next(split, patch({ split: null, pool: poolName("shop") })).routes).toEqual(plain.routes);
  const range = "is required, or split, and not both";
  expect(apply(plain, patch({ split: CANARY }))).toEqual(refusal(["pool", "shop", range]));
  expect(apply(plain, patch({ pool: null }))).toEqual(refusal(["pool", "(missing)", range]));
});

it("refuses a split that leads to a pool that is not there, and says at which place", () => {
  const split = [...CANARY, { pool: poolName("nowhere"), weight: 0 }];
  expect(apply(directory(), { kind: "put-route", id: routeId("a"), route: input({ split }) })).toEqual(
    refusal(["split.2.pool", "nowhere", "must be an existing pool: default, shop, blog"]),
  );
});

it("keeps a pool that a split leads to, though by weight 0", () => {
  const split = CANARY.map(({ pool }) => ({ pool, weight: pool === "blog" ? 0 : 1 }));
  expect(
    apply(directory(route("a", { split })), { kind: "remove-pool", name: poolName("blog") }),
  ).toMatchObject({ refusal: { kind: "conflict" } });
});

it("gives a directory that was stored without a secret one, in a version of its own, and leaves one that has it", () => {
  const { secret: _, routes, ...before } = directory(route("a"));
  const upgraded = upgradeDirectory(before, routes, "ab".repeat(16));
  expect(upgraded).toEqual({ ...before, version: 8, secret: "ab".repeat(16), routes });
  expect(upgradeDirectory(upgraded, routes, "cd".repeat(16))).toEqual(upgraded);
});

it.each(["patch-route", "remove-route"] as const)("finds no route for %s where none has that id", (kind) => {
  expect(apply(directory(), { kind, id: routeId("a"), patch: {} })).toEqual({
    ok: false,
    refusal: { kind: "not-found", detail: "there is no route a" },
  });
});

it("keeps a pool that routes lead to, and says which", () => {
  const state = directory(route("a", { path: "/a" }), route("b", { path: "/b" }));
  expect(apply(state, { kind: "remove-pool", name: poolName("shop") })).toEqual({
    ok: false,
    refusal: { kind: "conflict", detail: "pool shop is used by routes a, b; remove them first" },
  });
  expect(next(state, { kind: "remove-pool", name: poolName("blog") }).pools).toEqual(["shop"]);
});

it("adds a pool once and removes one that is not there without a change, so both can be repeated", () => {
  const state = directory();
  expect(next(state, { kind: "add-pool", name: poolName("shop") })).toBe(state);
  expect(next(state, { kind: "remove-pool", name: poolName("nowhere") })).toBe(state);
});

/** Puts a route for a path of its own name. */
function put(id: string): DirectoryCommand {
  return { kind: "put-route", id: routeId(id), route: input({ path: `/${id}` }) };
}

it("holds a condition on a route against that route, and on a pool against that pool", () => {
  const ifAbsent = { ifMatch: null, ifAbsent: true };
  const state = directory(route("a", { path: "/a" }));
  expect(apply(state, put("a"), ifAbsent)).toMatchObject({ refusal: { kind: "stale-version", actual: "7" } });
  expect(apply(state, put("b"), ifAbsent)).toMatchObject({ ok: true });
  expect(apply(state, { kind: "add-pool", name: poolName("shop") }, ifAbsent)).toMatchObject({ ok: false });
  expect(apply(state, put("b"), { ifMatch: [7], ifAbsent: false })).toMatchObject({ ok: true });
  expect(apply(state, put("b"), { ifMatch: [6], ifAbsent: false })).toMatchObject({
    refusal: { kind: "stale-version", expected: "6", actual: "7" },
  });
});

it("takes as many routes and pools as it may, and refuses one more", () => {
  const routes = Array.from({ length: 500 }, (_, index) => route(`r${index}`, { path: `/${index}` }));
  expect(
    apply(directory(...routes), { kind: "put-route", id: routeId("r0"), route: input({ path: "/x" }) }),
  ).toMatchObject({
    ok: true,
  });
  expect(
    apply(directory(...routes), { kind: "put-route", id: routeId("one-more"), route: input() }),
  ).toMatchObject({
    refusal: { errors: [{ field: "routes", value: 501, range: "must be a list of at most 500" }] },
  });
  const pools = Array.from({ length: 200 }, (_, index) => poolName(`p${index}`));
  expect(apply({ ...directory(), pools }, { kind: "add-pool", name: poolName("one-more") })).toMatchObject({
    refusal: { errors: [{ field: "pools", value: 201, range: "must be a list of at most 200" }] },
  });
});
