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

/** An edge with traffic: every instance is asked again and again until the test is over. */
async function startBusy(sync: object): Promise<Cluster> {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 4, backends: ["a", "b"] });
  await cluster.putPool("default", ["a", "b"], { sync });
  const over = new AbortController();
  const traffic = [0, 1, 2, 3].map(async (instance) => {
    while (!over.signal.aborted) await cluster.ask({ instance });
  });
  onTestFinished(async () => {
    over.abort();
    await Promise.all(traffic);
  });
  return cluster;
}

it("answers a write that waits when it governs every instance", async () => {
  const { admin } = await startBusy({ refreshMs: 500, leaseMs: 30_000 });
  const changed = await admin.do("PATCH", "/pools/default/backends/a?wait=20s", { weight: 3 });
  expect(changed).toMatchObject({
    status: 200,
    etag: '"2"',
    body: { version: 2, changes: [{ path: "backends.a.weight" }] },
  });
  expect(changed.body.convergence).toMatchObject({
    acknowledgedIsolates: 4,
    outstandingIsolates: 0,
    oldestVersion: 2,
    worstAgeMs: null,
    governsAtMs: null,
  });
  const routed = await admin.do("PUT", "/routes/all?wait=20s", { pool: "default" });
  expect(routed).toMatchObject({ status: 201, body: { created: true, convergence: { governsAtMs: null } } });
  const shown = await admin.do("GET", "/convergence?wait=20s");
  expect(shown).toMatchObject({
    status: 200,
    etag: routed.etag,
    body: { version: routed.body.version, governsAtMs: null },
  });
});

it("answers 202 with what is outstanding when a wait ends before that", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 2, backends: ["a"] });
  const { admin } = cluster;
  await admin.do("PUT", "/pools/default", { backends: [cluster.backend("a")] });
  await Promise.all([cluster.ask({ instance: 0 }), cluster.ask({ instance: 1 })]);
  const outstanding = {
    isolates: 2,
    outstandingIsolates: 2,
    governsAtMs: expect.any(Number),
    oldestVersion: 1,
  };
  const changed = await admin.do("PATCH", "/pools/default?wait=100ms", { drainMs: 1_000 });
  expect(changed).toMatchObject({
    status: 202,
    etag: '"2"',
    body: { version: 2, changes: [{ path: "drainMs" }], convergence: outstanding },
  });
  const shown = await admin.do("GET", "/pools/default/convergence?wait=100ms");
  expect(shown).toMatchObject({ status: 202, etag: '"2"', body: { version: 2, ...outstanding } });
  expect(await admin.do("GET", "/pools/default/convergence")).toMatchObject({
    status: 200,
    body: outstanding,
  });
  expect(await admin.do("DELETE", "/pools/default?wait=0s")).toMatchObject({
    status: 202,
    body: { version: 3, convergence: { outstandingIsolates: 2 } },
  });
  expect(await admin.send("GET", "/pools/default/convergence")).toMatchObject({ status: 404 });
});

it.each(["61s", "2m", "10", "1.5s", "-1s", "1h", ""])(
  "refuses to wait for %j, and changes nothing",
  async (wait) => {
    const { admin } = await Cluster.start({ bundle: inject("bundle"), backends: [] });
    for (const [method, path] of [
      ["PUT", "/pools/default"],
      ["PUT", "/routes/r"],
      ["GET", "/convergence"],
    ] as const) {
      const answer = await admin.send(method, `${path}?wait=${wait}`, method === "GET" ? undefined : {});
      expect(answer.status).toBe(422);
    }
    const answer = await admin.send("PUT", `/pools/default?wait=${wait}`, {});
    expect(answer.body.errors).toEqual([
      { field: "wait", value: wait, range: "must be a duration of at most 60s, such as 500ms, 10s or 1m" },
    ]);
    expect(await admin.send("GET", "/pools/default")).toMatchObject({ status: 404 });
  },
);

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
