import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, it, onTestFinished } from "vitest";
import { Cluster } from "../support/cluster.ts";

it("governs every active instance soon after a change, and nothing older is served from then on", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 4, backends: ["old", "new"] });
  const sync = { refreshMs: 500, leaseMs: 1_000 };
  await cluster.admin.do("PUT", "/pools/default", { sync, backends: [cluster.backend("old")] });
  const instances = [0, 1, 2, 3];
  const ask = (instance: number): Promise<string | null> =>
    cluster.ask({ instance }).then((answer) => answer.backend);
  expect(await Promise.all(instances.map(ask))).toEqual(["old", "old", "old", "old"]);
  await cluster.admin.do("PUT", "/pools/default", { sync, backends: [cluster.backend("new")] });
  await cluster.converge();
  expect(await Promise.all(instances.map(ask))).toEqual(["new", "new", "new", "new"]);
});

it("says that a change is outstanding while an instance may still use something older", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 2, backends: ["a"] });
  await cluster.admin.do("PUT", "/pools/default", { backends: [cluster.backend("a")] });
  await Promise.all([cluster.ask({ instance: 0 }), cluster.ask({ instance: 1 })]);
  await cluster.admin.do("PATCH", "/pools/default/backends/a", { weight: 2 });
  const { body } = await cluster.admin.do("GET", "/pools/default/status");
  expect(body.convergence).toMatchObject({
    isolates: 2,
    outstandingIsolates: 2,
    governsAtMs: expect.any(Number),
  });
});

it("keeps pools and routes over a restart of everything", async () => {
  const persist = await mkdtemp(join(tmpdir(), "ringmaster-state-"));
  onTestFinished(() => rm(persist, { recursive: true }));
  const options = { bundle: inject("bundle"), backends: ["a"], persist };
  const first = await Cluster.start(options);
  await first.admin.do("PUT", "/pools/shop", { backends: [first.backend("a", 7)], policy: "rendezvous" });
  await first.admin.do("PUT", "/routes/shop", { host: "shop.example", pool: "shop" });
  const pool = await first.admin.do("GET", "/pools/shop");
  const routes = await first.admin.do("GET", "/routes");
  await first.edge.stop();
  const second = await Cluster.start(options);
  expect((await second.admin.do("GET", "/pools/shop")).body).toEqual(pool.body);
  expect((await second.admin.do("GET", "/pools/shop")).etag).toBe(pool.etag);
  expect((await second.admin.do("GET", "/routes")).body).toEqual(routes.body);
});

it("counts requests by backend, outcome and client protocol once, over all instances", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 2, backends: ["a", "b"] });
  await cluster.admin.do("PUT", "/pools/default", {
    sync: { refreshMs: 500, leaseMs: 1_000 },
    backends: [cluster.backend("a"), cluster.backend("b")],
  });
  const headers = { "MF-CF-Blob": JSON.stringify({ httpProtocol: "HTTP/3" }) };
  for (let request = 0; request < 20; request++) await cluster.ask({ instance: request % 2, headers });
  await expect
    .poll(
      async () => {
        await Promise.all([cluster.ask({ instance: 0 }), cluster.ask({ instance: 1 })]);
        const { body } = await cluster.admin.do("GET", "/pools/default/status");
        return body.protocols["HTTP/3"];
      },
      { timeout: 10_000 },
    )
    .toBe(20);
});
