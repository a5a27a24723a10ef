import { expect, inject, it } from "vitest";
import { Cluster } from "../support/cluster.ts";

it("sends each request to the pool of the most specific route, with its prefix rewritten", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["web", "api", "shop", "beta"] });
  for (const id of ["web", "api", "shop", "beta"]) {
    await cluster.admin.do("PUT", `/pools/${id}`, { backends: [cluster.backend(id)] });
  }
  await cluster.admin.do("PUT", "/routes/rest", { pool: "web" });
  await cluster.admin.do("PUT", "/routes/api", { path: "/api", pool: "api", rewritePath: "/v2" });
  await cluster.admin.do("PUT", "/routes/shops", { host: "*.shop.example", pool: "shop" });
  await cluster.admin.do("PUT", "/routes/beta", {
    path: "/api",
    methods: ["GET"],
    headers: [{ name: "x-channel", value: "beta" }],
    pool: "beta",
  });
  const served = async (
    ...[path, host, headers]: [string, string?, Record<string, string>?]
  ): Promise<unknown> => {
    const { backend, body } = await cluster.ask({ path, ...(host && { host }), ...(headers && { headers }) });
    return [backend, JSON.parse(body).path];
  };
  expect(await served("/")).toEqual(["web", "/"]);
  expect(await served("/apis?x=1")).toEqual(["web", "/apis?x=1"]);
  expect(await served("/api/cart?x=1")).toEqual(["api", "/v2/cart?x=1"]);
  expect(await served("/api", "a.b.shop.example")).toEqual(["shop", "/api"]);
  expect(await served("/api", "shop.example")).toEqual(["api", "/v2"]);
  expect(await served("/api", undefined, { "x-channel": "beta" })).toEqual(["beta", "/api"]);
});

it("does not let a dot segment carry a request past its route", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["public", "private"] });
  for (const id of ["public", "private"]) {
    await cluster.admin.do("PUT", `/pools/${id}`, { backends: [cluster.backend(id)] });
    await cluster.admin.do("PUT", `/routes/${id}`, { path: `/${id}`, pool: id });
  }
  expect((await cluster.ask({ path: "/public/../private/x" })).backend).toBe("private");
  expect((await cluster.ask({ path: "/public/%2e%2e/private/x" })).backend).toBe("private");
});

it("answers 404 when routes exist and none matches, and 503 when a pool has nobody for the request", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a"] });
  expect((await cluster.ask()).status).toBe(503);
  await cluster.admin.do("PUT", "/pools/empty", {});
  await cluster.admin.do("PUT", "/routes/empty", { path: "/empty", pool: "empty" });
  await expect
    .poll(() => cluster.ask({ path: "/other" }).then(({ status }) => status), { timeout: 10_000 })
    .toBe(404);
  expect((await cluster.ask({ path: "/empty" })).status).toBe(503);
});
