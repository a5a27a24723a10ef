import { afterAll, beforeAll, expect, inject, it } from "vitest";
import type { PoolStatus } from "../../durable/model/view.ts";
import { type Answer, type Ask, Cluster } from "../support/cluster.ts";
import { setCookies } from "../support/session.ts";

const SYNC = { refreshMs: 500, leaseMs: 1_000 };

/** Nobody in this pool takes anything. */
const DISABLED = { admin: { kind: "disabled" } };

let cluster: Cluster;

function backend(id: string, changed: object = {}): object {
  return { ...cluster.backend(id), ...changed };
}

beforeAll(async () => {
  cluster = await Cluster.launch({ bundle: inject("bundle"), backends: ["a", "b", "spare", "backup"] });
  const pools = {
    spill: { backends: [backend("a"), backend("b"), backend("spare", { priority: 1 })] },
    drained: { backends: [backend("a"), backend("b"), backend("spare", { priority: 1 })] },
    panic: { backends: [backend("a"), backend("b")] },
    main: { tiers: { fallbackPool: "backup" }, backends: [backend("a", DISABLED)] },
    shedding: { tiers: { fallbackPool: "backup" }, shed: { newPercent: 100 }, backends: [backend("a")] },
    chained: { tiers: { fallbackPool: "main" }, backends: [backend("a", DISABLED)] },
    lonely: { tiers: { fallbackPool: "nowhere" }, backends: [backend("a", DISABLED)] },
    backup: { affinity: [{ by: "token" }], backends: [backend("backup")] },
    subsets: {
      backends: [
        backend("a", { labels: { release: "v1" } }),
        backend("b", { labels: { release: "V2" } }),
        backend("spare"),
      ],
    },
  };
  for (const [name, pool] of Object.entries(pools)) {
    await cluster.admin.do("PUT", `/pools/${name}`, { sync: SYNC, ...pool });
  }
  for (const pool of ["spill", "drained", "panic", "shedding", "chained", "lonely"]) {
    await cluster.admin.do("PUT", `/routes/${pool}`, { path: `/${pool}`, pool });
  }
  const main = { path: "/main", rewritePath: "/v2", pool: "main", affinity: [], headerTimeoutMs: 5_000 };
  await cluster.admin.do("PUT", "/routes/main", main);
  for (const fallback of ["none", "any"]) {
    await cluster.admin.do("PUT", `/routes/${fallback}`, {
      path: `/${fallback}`,
      pool: "subsets",
      subset: { by: "header", name: "x-release", label: "release", fallback },
    });
  }
});

afterAll(() => cluster.stop());

async function answers(ask: Ask, count = 12): Promise<ReadonlySet<string | null>> {
  const all = await Promise.all(Array.from({ length: count }, () => cluster.ask(ask)));
  return new Set(all.map((answer) => answer.backend));
}

function problemIn({ status, headers, body }: Answer): readonly unknown[] {
  expect(headers["content-type"]).toBe("application/problem+json");
  return [status, JSON.parse(body).title, headers["retry-after"]];
}

/** Waits, under traffic, until a pool has counted something. */
async function counted(pool: string, path: string, count: (status: PoolStatus) => boolean): Promise<void> {
  await expect
    .poll(
      async () => {
        await cluster.ask({ path });
        return count((await cluster.admin.do("GET", `/pools/${pool}/status`)).body);
      },
      { timeout: 5_000, interval: 100 },
    )
    .toBe(true);
}

it("spills to the second tier when the first one's backends are pinned unhealthy, and comes back", async () => {
  const ask = { path: "/spill" };
  expect(await answers(ask)).toEqual(new Set(["a", "b"]));
  const pin = { health: "unhealthy", reason: "their disk is full" };
  for (const id of ["a", "b"]) {
    const { status, body } = await cluster.admin.do("PUT", `/pools/spill/backends/${id}/pin`, pin);
    expect([status, body.changes[0].path]).toEqual([200, `pins.${id}`]);
  }
  await cluster.converge("spill", "/spill");
  expect(await answers(ask)).toEqual(new Set(["spare"]));
  for (const id of ["a", "b"]) await cluster.admin.do("DELETE", `/pools/spill/backends/${id}/pin`);
  await cluster.converge("spill", "/spill");
  expect(await answers(ask)).toEqual(new Set(["a", "b"]));
});

it("spills to the second tier when the first one's backends are drained", async () => {
  expect(await answers({ path: "/drained" })).toEqual(new Set(["a", "b"]));
  for (const id of ["a", "b"])
    await cluster.admin.do("POST", `/pools/drained/backends/${id}/drain`, { forMs: 0 });
  await cluster.converge("drained", "/drained");
  expect(await answers({ path: "/drained" })).toEqual(new Set(["spare"]));
});

it("serves on when all backends are pinned unhealthy, and counts that as panic", async () => {
  const pin = { health: "unhealthy", reason: "somebody pulled the plug" };
  for (const id of ["a", "b"]) await cluster.admin.do("PUT", `/pools/panic/backends/${id}/pin`, pin);
  await cluster.converge("panic", "/panic");
  expect(await answers({ path: "/panic" })).toEqual(new Set(["a", "b"]));
  await counted("panic", "/panic", ({ incidents }) => incidents.panic >= 12);
  expect((await cluster.admin.do("GET", "/pools/panic/status")).body.backends).toMatchObject([
    { id: "a", health: "unhealthy", admits: "new", pin: { reason: "somebody pulled the plug" } },
    { id: "b", health: "unhealthy", admits: "new" },
  ]);
});

it("serves from the fallback pool within the request, by that pool's own word, on the path the route says", async () => {
  const answer = await cluster.ask({ path: "/main/x?y=1" });
  expect([answer.status, answer.backend]).toEqual([200, "backup"]);
  expect(JSON.parse(answer.body).path).toBe("/v2/x?y=1");
  // The route binds nothing, and the pool `main` neither; `backup` gives tokens.
  expect(setCookies(answer.headers).map(([name]) => name)).toEqual(["__Host-ring-backup"]);
  await counted("main", "/main", ({ incidents, protocols }) => incidents.fallback > 0 && protocols.other > 0);
  const { incidents } = (await cluster.admin.do("GET", "/pools/main/status")).body;
  expect(incidents.no_backend).toBe(0);
});

it("passes what is shed to the fallback pool", async () => {
  expect(await answers({ path: "/shedding" })).toEqual(new Set(["backup"]));
});

it("follows no fallback of a fallback", async () => {
  expect(problemIn(await cluster.ask({ path: "/chained" }))).toEqual([503, "No backend available", "5"]);
});

it("answers, and counts, as a pool without fallback where the fallback pool does not exist", async () => {
  expect(problemIn(await cluster.ask({ path: "/lonely" }))).toEqual([503, "No backend available", "5"]);
  await counted("lonely", "/lonely", ({ incidents }) => incidents.no_backend > 0);
  expect((await cluster.admin.do("GET", "/pools/lonely/status")).body.incidents.fallback).toBe(0);
});

function release(value: string): Readonly<Record<string, string>> {
  return { "x-release": value };
}

it("leads requests to the backends that fit them, and refuses or spreads those that fit none", async () => {
  expect(await answers({ path: "/none", headers: release("v1") })).toEqual(new Set(["a"]));
  expect(await answers({ path: "/none", headers: release("v2") })).toEqual(new Set(["b"]));
  for (const headers of [release("v3"), {}]) {
    expect(problemIn(await cluster.ask({ path: "/none", headers }))).toEqual([
      503,
      "No backend available",
      "5",
    ]);
    expect(await answers({ path: "/any", headers })).toEqual(new Set(["a", "b", "spare"]));
  }
});
