import { expect, inject, it } from "vitest";
import { Cluster, connections, moved } from "../support/cluster.ts";

const STICKY = { affinity: [{ by: "connection" }], sync: { refreshMs: 500, leaseMs: 1_000 } };

it("keeps 1,000 connections where they are for 20 requests in each of two isolates, which agree", {
  timeout: 120_000,
}, async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 2, backends: ["a", "b", "c"] });
  await cluster.admin.do("PUT", "/pools/default", {
    ...STICKY,
    backends: ["a", "b", "c"].map((id) => cluster.backend(id)),
  });
  const clients = connections(1_000);
  const first = await cluster.placements(clients);
  expect(new Set(first.values())).toEqual(new Set(["a", "b", "c"]));
  for (const instance of [0, 1]) {
    for (let round = 0; round < 20; round++) {
      expect(moved(first, await cluster.placements(clients, { instance }))).toEqual([]);
    }
  }
});

it("moves no remembered connection when a backend is added or re-weighed, and gives newcomers their share", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"] });
  await cluster.admin.do("PUT", "/pools/default", {
    ...STICKY,
    backends: [cluster.backend("a"), cluster.backend("b")],
  });
  const clients = connections(300);
  const before = await cluster.placements(clients);
  await cluster.admin.do("PUT", "/pools/default/backends/c", { url: cluster.backend("c").url, weight: 3 });
  await cluster.admin.do("PATCH", "/pools/default/backends/a", { weight: 0 });
  await cluster.converge();
  expect(moved(before, await cluster.placements(clients))).toEqual([]);
  const newcomers = [...(await cluster.placements(connections(300, "newcomer"))).values()];
  expect(newcomers).toContain("c");
  expect(newcomers).not.toContain("a");
});

it("places a connection the table has forgotten by hashing, which moves it to a newcomer or not at all", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"] });
  await cluster.admin.do("PUT", "/pools/default", {
    ...STICKY,
    connections: { maxEntries: 50 },
    backends: [cluster.backend("a"), cluster.backend("b")],
  });
  const forgotten = connections(200);
  const before = await cluster.placements(forgotten);
  const remembered = connections(40, "remembered");
  const kept = await cluster.placements(remembered);
  await cluster.admin.do("PUT", "/pools/default/backends/c", { url: cluster.backend("c").url });
  await cluster.converge();
  expect(moved(kept, await cluster.placements(remembered))).toEqual([]);
  const after = await cluster.placements(forgotten);
  const gone = moved(before, after);
  expect(gone.length).toBeGreaterThan(0);
  expect(new Set(gone.map((connection) => after.get(connection)))).toEqual(new Set(["c"]));
});

it("keeps connections on a draining backend until its deadline, gives it no new one, then moves only its own", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 2, backends: ["a", "b", "c"] });
  await cluster.admin.do("PUT", "/pools/default", {
    ...STICKY,
    backends: ["a", "b", "c"].map((id) => cluster.backend(id)),
  });
  const clients = connections(300);
  const before = await cluster.placements(clients);
  await cluster.admin.do("POST", "/pools/default/backends/b/drain", { forMs: 600_000 });
  await cluster.converge();
  expect(moved(before, await cluster.placements(clients))).toEqual([]);
  expect([...(await cluster.placements(connections(300, "newcomer"))).values()]).not.toContain("b");
  await cluster.admin.do("POST", "/pools/default/backends/b/drain", { forMs: 0 });
  await cluster.converge();
  const own = [...before].filter(([, backend]) => backend === "b").map(([connection]) => connection);
  expect(moved(before, await cluster.placements(clients)).toSorted()).toEqual(own.toSorted());
});

it("moves only its own connections when a backend is removed", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"] });
  await cluster.admin.do("PUT", "/pools/default", {
    ...STICKY,
    backends: ["a", "b", "c"].map((id) => cluster.backend(id)),
  });
  const clients = connections(300);
  const before = await cluster.placements(clients);
  await cluster.admin.do("DELETE", "/pools/default/backends/b");
  await cluster.converge();
  const own = [...before].filter(([, backend]) => backend === "b").map(([connection]) => connection);
  expect(own.length).toBeGreaterThan(0);
  expect(moved(before, await cluster.placements(clients)).toSorted()).toEqual(own.toSorted());
});

it("binds per connection on one route, and on another takes turns per request that make up for it, in one pool", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b"] });
  await cluster.admin.do("PUT", "/pools/default", { backends: [cluster.backend("a"), cluster.backend("b")] });
  await cluster.admin.do("PUT", "/routes/sticky", {
    path: "/sticky",
    pool: "default",
    affinity: [{ by: "connection" }],
  });
  await cluster.admin.do("PUT", "/routes/free", { pool: "default" });
  const ask = { connection: "one client" };
  const bound = [];
  const free = [];
  for (let request = 0; request < 6; request++) {
    bound.push((await cluster.ask({ ...ask, path: "/sticky/x" })).backend);
    free.push((await cluster.ask({ ...ask, path: "/" })).backend);
  }
  expect(new Set(bound).size).toBe(1);
  expect(new Set([...free, bound[0]])).toEqual(new Set(["a", "b"]));
  expect(free).not.toContain(bound[1]);
});
