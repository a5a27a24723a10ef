import * as fc from "fast-check";
import type { Route } from "../../../durable/model/route.ts";
import { isTie } from "../../../durable/state/route-conflict.ts";
import { poolName, routeId } from "./build.ts";

const HEADER = fc.constantFrom(
  { name: "x-stage" },
  { name: "x-stage", value: "1" },
  { name: "x-stage", value: "2" },
  { name: "x-beta" },
  { name: "x-beta", value: "1" },
);

/** Routes of few words, so that many of them meet. Each leads to a pool named as the route. */
const ROUTE: fc.Arbitrary<Omit<Route, "id" | "pool">> = fc.record({
  host: fc.constantFrom(undefined, "a.example", "b.a.example", "*.example", "*.a.example"),
  path: fc.constantFrom("/", "/a", "/b", "/a/b", "/ab"),
  methods: fc.constantFrom(undefined, ["GET"], ["GET", "PUT"], ["PUT"]),
  headers: fc.uniqueArray(HEADER, { maxLength: 2, selector: ({ name }) => name }),
});

/** Any routes at all, numbered. */
export const ROUTES: fc.Arbitrary<readonly Route[]> = fc
  .array(ROUTE, { maxLength: 14, size: "max" })
  .map((routes) => routes.map((route, index) => numbered(route, index)));

/** Routes of which no two tie, as the directory holds them. */
export const UNTIED_ROUTES: fc.Arbitrary<readonly Route[]> = ROUTES.map((routes) => {
  const kept: Route[] = [];
  for (const route of routes) if (!kept.some((other) => isTie(other, route))) kept.push(route);
  return kept;
});

function numbered(route: Omit<Route, "id" | "pool">, index: number): Route {
  const name = `route-${index}`;
  return { ...route, id: routeId(name), pool: poolName(name) };
}
