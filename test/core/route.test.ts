import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { Route } from "../../durable/model/route.ts";
import { isTie } from "../../durable/state/route-conflict.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import {
  type Asked,
  type Destination,
  matchRoute,
  prepareRoutes,
  rewritePath,
} from "../../worker/core/route.ts";
import { Split } from "../../worker/core/split.ts";
import { TargetParser } from "../../worker/core/target.ts";
import { route } from "./support/build.ts";
import { ROUTES, UNTIED_ROUTES } from "./support/route-arbitraries.ts";

const TARGETS = new TargetParser();

function asked(url: string, method = "GET", headers: Readonly<Record<string, string>> = {}): Asked {
  const target = TARGETS.parse(`https://${url}`);
  if (target === null) throw new Error(`${url} is no URL`);
  return { target, request: { method, headers: new Headers(headers) } };
}

const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");

function destinationOf(routes: readonly Route[], request: Asked): Destination | null {
  return matchRoute(prepareRoutes(routes, hash), request);
}

/** The pool a request is led to; null when no route matches. */
function poolFor(routes: readonly Route[], request: Asked): string | Split | null {
  return destinationOf(routes, request)?.to ?? null;
}

/** A route to a pool of the same name. */
function to(pool: string, told: Readonly<Record<string, unknown>> = {}): Route {
  return route(pool, { pool, ...told });
}

it("leads everything to the pool `default` where there are no routes", () => {
  expect(destinationOf([], asked("a.example/x"))).toEqual({
    route: null,
    to: "default",
    policy: undefined,
    affinity: undefined,
    headerTimeoutMs: undefined,
    rewrite: null,
  });
});

it("leads what no route matches nowhere where there are some", () => {
  expect(poolFor([to("api", { path: "/api" })], asked("a.example/x"))).toBeNull();
});

it("prefers an exact host to a wildcard, the longer wildcard to the shorter, and any to none", () => {
  const routes = [
    to("any"),
    to("far", { host: "*.example" }),
    to("near", { host: "*.a.example" }),
    to("exact", { host: "b.a.example" }),
  ];
  expect(poolFor(routes, asked("b.a.example/"))).toBe("exact");
  expect(poolFor(routes, asked("c.a.example/"))).toBe("near");
  expect(poolFor(routes, asked("c.b.a.example/"))).toBe("near");
  expect(poolFor(routes, asked("a.example/"))).toBe("far");
  expect(poolFor(routes, asked("example/"))).toBe("any");
  expect(poolFor(routes, asked("xa.example/"))).toBe("far");
});

it("falls back to a less specific host where the more specific one has no route for the path", () => {
  const routes = [
    to("any"),
    to("near", { host: "*.a.example", path: "/n" }),
    to("exact", { host: "b.a.example", path: "/e" }),
  ];
  expect(poolFor(routes, asked("b.a.example/e"))).toBe("exact");
  expect(poolFor(routes, asked("b.a.example/n"))).toBe("near");
  expect(poolFor(routes, asked("b.a.example/x"))).toBe("any");
});

it("knows a host in any case and with any port", () => {
  expect(poolFor([to("api", { host: "api.example" })], asked("API.Example:8443/"))).toBe("api");
});

it("matches the longest prefix, at the borders of segments", () => {
  const routes = [to("root"), to("a", { path: "/a" }), to("ab", { path: "/a/b" })];
  expect(poolFor(routes, asked("h/a"))).toBe("a");
  expect(poolFor(routes, asked("h/a/"))).toBe("a");
  expect(poolFor(routes, asked("h/a/bc"))).toBe("a");
  expect(poolFor(routes, asked("h/a/b?x=1"))).toBe("ab");
  expect(poolFor(routes, asked("h/a/b/c"))).toBe("ab");
  expect(poolFor(routes, asked("h/ab"))).toBe("root");
  expect(poolFor(routes, asked("h/A"))).toBe("root");
  expect(poolFor(routes, asked("h"))).toBe("root");
});

it("is not fooled by dot segments, encoded or not", () => {
  const routes = [to("root"), to("admin", { path: "/admin" })];
  expect(poolFor(routes, asked("h/x/../admin"))).toBe("admin");
  expect(poolFor(routes, asked("h/x/%2e%2E/admin/y"))).toBe("admin");
  expect(poolFor(routes, asked("h/admin/../x"))).toBe("root");
  expect(poolFor(routes, asked("h\\admin"))).toBe("admin");
});

it("takes a route that names the method before one that takes any", () => {
  const routes = [to("read"), to("write", { methods: ["PUT", "POST"] })];
  expect(poolFor(routes, asked("h/", "POST"))).toBe("write");
  expect(poolFor(routes, asked("h/", "GET"))).toBe("read");
});

it("takes the route with more header matches, all of which have to match", () => {
  const routes = [
    to("plain"),
    to("beta", { headers: [{ name: "x-beta" }] }),
    to("both", { headers: [{ name: "x-beta", value: "1" }, { name: "x-stage" }] }),
  ];
  expect(poolFor(routes, asked("h/", "GET", { "X-Beta": "0" }))).toBe("beta");
  expect(poolFor(routes, asked("h/", "GET", { "x-beta": "1", "x-stage": "" }))).toBe("both");
  expect(poolFor(routes, asked("h/", "GET", { "x-beta": "0", "x-stage": "1" }))).toBe("beta");
  expect(poolFor(routes, asked("h/", "GET", { "x-stage": "1" }))).toBe("plain");
});

it("passes on what the route says instead of the pool", () => {
  const told = {
    policy: "rendezvous",
    affinity: [],
    headerTimeoutMs: 50,
    bodyIdleTimeoutMs: 100,
    webSocketIdleTimeoutMs: 200,
    path: "/a",
    rewritePath: "/b",
  };
  expect(destinationOf([to("api", told)], asked("h/a"))).toEqual({
    route: "api",
    to: "api",
    policy: "rendezvous",
    affinity: [],
    headerTimeoutMs: 50,
    bodyIdleTimeoutMs: 100,
    webSocketIdleTimeoutMs: 200,
    rewrite: { from: "/a", to: "/b" },
  });
});

const CANARY = [
  { pool: "stable", weight: 9 },
  { pool: "canary", weight: 1 },
];

/** A route that splits what it takes. */
function splitting(id: string, told: Readonly<Record<string, unknown>> = {}): Route {
  return route(id, { split: CANARY, ...told });
}

it("leads to a split, with what the route says for whichever pool it becomes", () => {
  const told = { policy: "rendezvous", affinity: [{ by: "token" }], headerTimeoutMs: 50, rewritePath: "/v2" };
  const destination = destinationOf([splitting("front", { path: "/a", ...told })], asked("h/a"));
  expect(destination?.to).toBeInstanceOf(Split);
  expect(destination).toMatchObject({
    to: { sides: CANARY },
    policy: "rendezvous",
    affinity: [{ by: "token" }],
    headerTimeoutMs: 50,
    rewrite: { from: "/a", to: "/v2" },
  });
});

it("prefers the more specific route, whether one or the other splits", () => {
  const routes = [splitting("all"), to("api", { path: "/api" }), splitting("deep", { path: "/api/deep" })];
  expect(poolFor(routes, asked("h/"))).toBeInstanceOf(Split);
  expect(poolFor(routes, asked("h/api"))).toBe("api");
  expect(poolFor(routes, asked("h/api/deep"))).toBeInstanceOf(Split);
});

it("splits the clients of every route in another way, and those of one always alike", () => {
  const clients = Array.from({ length: 400 }, (_, index) => `tls ${index}`);
  const even = CANARY.map(({ pool }) => ({ pool, weight: 1 }));
  const sides = (id: string) => {
    const destination = destinationOf([splitting(id, { split: even })], asked("h/"));
    const split = destination?.to;
    return clients.map((client) => (split instanceof Split ? split.choose(client, 0) : "none"));
  };
  const first = sides("first");
  expect(sides("first")).toEqual(first);
  const alike = sides("second").filter((side, index) => side === first[index]).length;
  expect(alike).toBeGreaterThan(140);
  expect(alike).toBeLessThan(260);
});

it.each([
  ["/api", undefined, "/api/x", "/api/x"],
  ["/api", "/v2", "/api", "/v2"],
  ["/api", "/v2", "/api/", "/v2/"],
  ["/api", "/v2", "/api/x/y", "/v2/x/y"],
  ["/api", "/", "/api", "/"],
  ["/api", "/", "/api/x", "/x"],
  ["/", "/v2", "/", "/v2/"],
  ["/", "/v2", "/x", "/v2/x"],
  ["/", "/", "/x", "/x"],
])("under %s, rewritten to %s, %s becomes %s", (path, to_, asking, becomes) => {
  const routes = [to("api", { path, ...(to_ === undefined ? {} : { rewritePath: to_ }) })];
  const destination = destinationOf(routes, asked(`h${asking}`));
  expect(destination && rewritePath(destination, asking)).toBe(becomes);
});

/** Requests of the words that the random routes know. */
const ASKED: fc.Arbitrary<Asked> = fc
  .record({
    host: fc.constantFrom("a.example", "b.a.example", "c.b.a.example", "b.example", "example", "elsewhere"),
    path: fc.constantFrom("/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/c"),
    method: fc.constantFrom("GET", "PUT", "DELETE"),
    headers: fc.record(
      { "x-stage": fc.constantFrom("1", "2", "3"), "x-beta": fc.constantFrom("1", "") },
      { requiredKeys: [] },
    ),
  })
  .map(({ host, path, method, headers }) => asked(host + path, method, headers));

it("leads a request the same way in whatever order routes are, since no two of them tie", () => {
  const inTwoOrders = UNTIED_ROUTES.chain((routes) =>
    fc.tuple(fc.constant(routes), fc.shuffledSubarray([...routes], { minLength: routes.length })),
  );
  fc.assert(
    fc.property(inTwoOrders, fc.array(ASKED, { minLength: 1 }), ([routes, shuffled], requests) => {
      for (const request of requests) expect(poolFor(shuffled, request)).toBe(poolFor(routes, request));
    }),
    { numRuns: 500 },
  );
});

it("leads a request to the route that a search through all of them finds most specific", () => {
  fc.assert(
    fc.property(UNTIED_ROUTES, ASKED, (routes, request) => {
      const [best] = routes
        .filter((each) => matchesByHand(each, request))
        .toSorted((a, b) => compare(rank(b), rank(a)));
      const noRoutes = routes.length === 0 ? "default" : null;
      expect(poolFor(routes, request)).toBe(best?.pool ?? noRoutes);
    }),
    { numRuns: 2_000 },
  );
});

it("finds a tie in both directions, and no route tied with one for another path or host", () => {
  fc.assert(
    fc.property(ROUTES, (routes) => {
      const pairs = routes.flatMap((a) => routes.map((b) => [a, b] as const));
      for (const [a, b] of pairs) {
        expect(isTie(a, b)).toBe(isTie(b, a));
        expect(isTie(a, b) && (a.host !== b.host || a.path !== b.path)).toBe(false);
      }
    }),
  );
});

it("calls no two routes tied without a request that their order would decide", () => {
  fc.assert(
    fc.property(ROUTES, (routes) => {
      const tied = routes.flatMap((a) =>
        routes.filter((b) => a.id < b.id && isTie(a, b)).map((b) => [a, b] as const),
      );
      for (const [a, b] of tied) {
        const host = (a.host ?? "any.example").replace("*", "any");
        const method = a.methods?.find((each) => b.methods?.includes(each)) ?? "GET";
        const named = [...a.headers, ...b.headers].toSorted(byValueLast);
        const headers = Object.fromEntries(named.map(({ name, value }) => [name, value ?? "any"]));
        const request = asked(host + a.path, method, headers);
        expect([poolFor([a, b], request), poolFor([b, a], request)]).toEqual([a.pool, b.pool]);
      }
    }),
    { numRuns: 300 },
  );
});

function byValueLast(a: Route["headers"][number], b: Route["headers"][number]): number {
  return Number(a.value !== undefined) - Number(b.value !== undefined);
}

function matchesByHand({ host, path, methods, headers }: Route, request: Asked): boolean {
  const { hostname, path: wanted } = request.target;
  return (
    (host === undefined || host === hostname || (host.startsWith("*") && hostname.endsWith(host.slice(1)))) &&
    `${wanted}/`.startsWith(path === "/" ? "/" : `${path}/`) &&
    (methods?.includes(request.request.method) ?? true) &&
    headers.every(
      ({ name, value }) =>
        request.request.headers.get(name) !== null &&
        (value ?? request.request.headers.get(name)) === request.request.headers.get(name),
    )
  );
}

/** How specific a route is, from the most to the least telling. */
function rank({ host, path, methods, headers }: Route): readonly number[] {
  const hostRank = host === undefined ? 0 : host.startsWith("*") ? host.length : 1_000;
  return [hostRank, path.length, Number(methods !== undefined), headers.length];
}

function compare(a: readonly number[], b: readonly number[]): number {
  return a.map((value, index) => value - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0;
}
