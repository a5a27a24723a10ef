import { expect, it } from "vitest";
import { isTie } from "../../durable/state/route-conflict.ts";
import { route } from "./support/build.ts";

const STAGE_1 = { name: "x-stage", value: "1" };
const STAGE_2 = { name: "x-stage", value: "2" };
const STAGE = { name: "x-stage" };
const BETA = { name: "x-beta" };

it.each([
  ["both take everything", {}, {}],
  ["same host and path", { host: "a.example", path: "/a" }, { host: "a.example", path: "/a" }],
  ["methods that overlap", { methods: ["GET", "PUT"] }, { methods: ["PUT"] }],
  ["headers one request can carry together", { headers: [STAGE] }, { headers: [BETA] }],
  ["a value and its mere presence", { headers: [STAGE] }, { headers: [STAGE_1] }],
])("ties routes of which neither is more specific: %s", (_, a, b) => {
  expect(isTie(route("a", a), route("b", b))).toBe(true);
  expect(isTie(route("b", b), route("a", a))).toBe(true);
});

it.each([
  ["hosts that differ", { host: "a.example" }, { host: "b.example" }],
  ["a host and its wildcard", { host: "a.example" }, { host: "*.example" }],
  ["paths that differ", { path: "/a" }, { path: "/b" }],
  ["methods apart", { methods: ["GET"] }, { methods: ["PUT"] }],
  ["methods and none", { methods: ["GET"] }, {}],
  ["more header matches", { headers: [STAGE_1] }, { headers: [STAGE_1, BETA] }],
  ["one header that would need two values", { headers: [STAGE_1] }, { headers: [STAGE_2] }],
])("does not tie routes with %s", (_, a, b) => {
  expect(isTie(route("a", a), route("b", b))).toBe(false);
  expect(isTie(route("b", b), route("a", a))).toBe(false);
});
