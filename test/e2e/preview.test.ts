import { expect, inject, it } from "vitest";
import { Cluster } from "../support/cluster.ts";

const start = (): Promise<Cluster> => Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"] });

/** All that an operator can read of pools and routes, but for what time and traffic change. */
async function everything({ admin }: Cluster, pool: string): Promise<unknown> {
  const [document, directory, events, tokens] = await Promise.all([
    admin.send("GET", `/pools/${pool}`),
    admin.send("GET", "/status"),
    admin.send("GET", `/pools/${pool}/events`),
    admin.send("GET", `/pools/${pool}/tokens`),
  ]);
  const { pools, routes, version } = directory.body;
  return [document.etag, document.body, pools, routes, version, events.body, tokens.body];
}

const WRITES = [
  ["PUT", "", { backends: [{ id: "a", url: "http://127.0.0.1:1001", weight: 4 }] }],
  ["PATCH", "", { policy: "maglev" }],
  ["DELETE", "", undefined],
  ["POST", "/tokens/rotate", undefined],
  ["PUT", "/backends/b", { url: "http://127.0.0.1:1009" }],
  ["PATCH", "/backends/b", { weight: 9 }],
  ["DELETE", "/backends/b", undefined],
  ["POST", "/backends/b/drain", { forMs: 0 }],
  ["POST", "/backends/b/disable", undefined],
  ["PUT", "/backends/b/pin", { health: "unhealthy", reason: "seen" }],
] as const;

it("shows what each write would do, does nothing, and the same request under its version then does that", async () => {
  const cluster = await start();
  const { admin } = cluster;
  for (const [index, [method, path, body]] of WRITES.entries()) {
    const pool = `pool-${index}`;
    await cluster.putPool(pool, ["a", "b", "c"], { affinity: [{ by: "token" }, { by: "connection" }] });
    const before = await everything(cluster, pool);
    const shown = await admin.send(method, `/pools/${pool}${path}?dry_run=1`, body, { "if-match": '"1"' });
    expect(shown).toMatchObject({ status: 200, etag: '"1"', body: { version: 1, nextVersion: 2 } });
    expect(await everything(cluster, pool)).toEqual(before);
    const done = await admin.send(method, `/pools/${pool}${path}`, body, { "if-match": shown.etag ?? "" });
    const { nextVersion, created, changes } = shown.body;
    expect([done.status, withoutTimes(done.body)]).toEqual([
      200,
      withoutTimes({ version: nextVersion, created, changes }),
    ]);
    const again = await admin.send(method, `/pools/${pool}${path}?dry_run=1`, body, { "if-match": '"1"' });
    expect(again.status).toBe(412);
  }
});

/** Some milliseconds passed between the two, so what counts from now is not the same to the millisecond. */
function withoutTimes(body: unknown): unknown {
  return JSON.parse(
    JSON.stringify(body, (key, value) => (key === "untilMs" || Number(value) > 1e12 ? "a time" : value)),
  );
}

it("tells shares, the hash space that moves, sessions and guards", async () => {
  const cluster = await start();
  await cluster.putPool("default", ["a", "b"], { affinity: [{ by: "token" }, { by: "connection" }] });
  const shown = await cluster.admin.do("POST", "/pools/default/backends/a/drain?dry_run=1", {
    forMs: 60_000,
  });
  expect(shown.body).toMatchObject({
    shares: [
      { id: "a", before: 50, after: 0 },
      { id: "b", before: 50, after: 100 },
    ],
    sessions: [{ backend: "a", cause: "drained", sessions: 0, rule: "sticky" }],
    guards: [],
  });
  const [move] = shown.body.sessions;
  expect(move.fromMs).toBe(shown.body.atMs + 60_000);
  expect(Math.abs(shown.body.hashSpaceMovedPercent - 50)).toBeLessThan(5 * shown.body.hashSpaceErrorPercent);
  const both = [cluster.backend("a", 1), cluster.backend("b", 0)];
  const emptied = await cluster.admin.do("PUT", "/pools/default?dry_run=1", {
    tiers: { fallbackPool: "spare" },
    backends: both.slice(1),
  });
  expect(emptied.body.guards).toMatchObject([
    { guard: "nobody_admits_new", wasBroken: false },
    { guard: "capacity_halved", wasBroken: false },
    { guard: "no_fallback_pool", wasBroken: false },
  ]);
});

it("lists no pool that was only tried, and says for a new one what none has", async () => {
  const { admin } = await start();
  const shown = await admin.send("PUT", "/pools/new?dry_run=1", {}, { "if-none-match": "*" });
  expect(shown).toMatchObject({
    status: 200,
    etag: null,
    body: { version: null, nextVersion: 1, created: true },
  });
  expect((await admin.do("GET", "/pools")).body.pools).toEqual([]);
  expect((await admin.send("GET", "/pools/new")).status).toBe(404);
  expect((await admin.send("PUT", "/pools/new", {}, { "if-none-match": "*" })).status).toBe(201);
});

it("refuses what the write would be refused for, and a dry run that is none", async () => {
  const cluster = await start();
  const { admin } = cluster;
  await cluster.putPool("used", ["a"]);
  await admin.do("PUT", "/routes/r", { pool: "used" });
  const before = await everything(cluster, "used");
  for (const [method, path, body, status] of [
    ["DELETE", "/pools/used", undefined, 409],
    ["DELETE", "/pools/nowhere", undefined, 404],
    ["PATCH", "/pools/used", { polcy: "maglev" }, 422],
    ["DELETE", "/pools/used/backends/z", undefined, 404],
    ["POST", "/pools/used/backends/a/enable", { now: 1 }, 422],
    ["PUT", "/routes/lost", { pool: "nowhere" }, 422],
    ["DELETE", "/routes/nowhere", undefined, 404],
  ] as const) {
    const tried = await admin.send(method, `${path}?dry_run=1`, body);
    const done = await admin.send(method, path, body);
    expect([tried.status, tried.body]).toEqual([status, done.body]);
  }
  for (const said of ["dry_run=true", "dry_run", "dry_run=2", "dry_run=1&dry_run=0"]) {
    const { status, body } = await admin.send("DELETE", `/pools/used/backends/a?${said}`);
    expect([status, body.errors?.[0]?.field]).toEqual([422, "dry_run"]);
  }
  expect(await everything(cluster, "used")).toEqual(before);
  const removed = await admin.send("DELETE", "/pools/used/backends/a?dry_run=0", { force: true });
  expect(removed.body.version).toBe(2);
});

it("shows what a change of a route would do", async () => {
  const cluster = await start();
  const { admin } = cluster;
  await cluster.putPool("default", ["a"]);
  await admin.do("PUT", "/routes/r", { pool: "default" });
  const before = await everything(cluster, "default");
  const tag = (await admin.do("GET", "/routes/r")).etag ?? "";
  const patch = { path: "/api" };
  const shown = await admin.send("PATCH", "/routes/r?dry_run=1", patch, { "if-match": tag });
  expect(shown).toMatchObject({ status: 200, etag: tag, body: { created: false, clientsMovedPercent: 0 } });
  expect(shown.body.shares).toEqual([{ pool: "default", before: 100, after: 100 }]);
  expect(shown.body.changes).toEqual([{ path: "routes.r.path", before: "/", after: "/api" }]);
  expect(await everything(cluster, "default")).toEqual(before);
  const done = await admin.send("PATCH", "/routes/r", patch, { "if-match": tag });
  expect(done.body).toEqual({ version: shown.body.nextVersion, created: false, changes: shown.body.changes });
});
