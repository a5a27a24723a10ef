import { beforeAll, expect, it } from "vitest";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {}, based: {}, rewritten: {} });

beforeAll(async () => {
  const { url } = stage.scene("based").backend;
  await stage.admin.do("PATCH", "/pools/based/backends/b", { url: `${url}/base/` });
  const { host } = stage.scene("rewritten");
  await stage.admin.do("PUT", "/routes/rewritten", {
    host,
    path: "/api",
    rewritePath: "/v2",
    pool: "rewritten",
  });
});

const PATHS = [
  "/",
  "/?",
  "/??a=b?",
  "/?a=1&a=2&b=&c",
  "/?a=%zz&b=%",
  "/?a=/../b&c=/./d",
  "/?next=/../a&q=(x)|",
  "/?q=%E2%82%AC+%20+%2B",
  "/%",
  "/%00%0D%0A",
  "/%2e%2e%2fsecret",
  "/%2F%2f",
  "/%E2%82%AC/%e2%82%ac",
  "/%FF%FE",
  "//",
  "//evil.test/x",
  "/a//b///",
  "/a%20b/c%5cd",
  "/a;b=1,2/(c)!$&'*+=:@~",
  "/a|b",
  "/http://evil.test/",
  "/trailing/",
  `/${"long/".repeat(1_000)}`,
] as const;

it.each(PATHS)("asks the backend for %s, byte by byte", async (path) => {
  expect((await stage.scene("any").delivers({ path })).path).toBe(path);
});

it.each(PATHS)("puts the backend's own path before %s", async (path) => {
  expect((await stage.scene("based").delivers({ path })).path).toBe(`/base${path}`);
});

it.each([
  ["/api", "/v2"],
  ["/api?x=/api", "/v2?x=/api"],
  ["/api/", "/v2/"],
  ["/api//a%2Fb/?", "/v2//a%2Fb/?"],
])("rewrites the prefix of %s and nothing else", async (path, expected) => {
  expect((await stage.scene("rewritten").delivers({ path })).path).toBe(expected);
});

it.each([
  ["/a/../b", "/b"],
  ["/a/./b/.", "/a/b/"],
  ["/../../a", "/a"],
  ["/a/%2e%2E/b?c=%2e", "/b?c=%2e"],
  ["/a\\..\\b", "/b"],
])("resolves %s before anybody can read it in another way", async (path, expected) => {
  expect((await stage.scene("any").delivers({ path })).path).toBe(expected);
});

it("routes a path as the backend will read it", async () => {
  const scene = stage.scene("rewritten");
  expect((await scene.delivers({ path: "/private/../api/open" })).path).toBe("/v2/open");
  expect((await scene.ask({ path: "/api/%2E%2e/private" })).status).toBe(404);
});

it("writes an apostrophe in a query as the URL standard does, since `fetch` knows no other way", async () => {
  expect((await stage.scene("any").delivers({ path: "/o'neil?by=o'neil" })).path).toBe("/o'neil?by=o%27neil");
});

it.each(["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PROPFIND", "PURGE", "PUT"])(
  "keeps the method: %s",
  async (method) => {
    expect((await stage.scene("any").delivers({ method })).method).toBe(method);
  },
);
