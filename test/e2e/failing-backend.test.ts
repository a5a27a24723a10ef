import { expect, inject, it, onTestFinished } from "vitest";
import { startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";

/** Skipped for so long that no request of these tests tries it again. */
const LONG = { local: { minSkipMs: 60_000, maxSkipMs: 60_000 } };

async function start(): Promise<Cluster> {
  return Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"] });
}

function statuses(cluster: Cluster, count: number): Promise<readonly number[]> {
  return Array.from({ length: count }).reduce<Promise<readonly number[]>>(
    async (before) => [...(await before), (await cluster.ask()).status],
    Promise.resolve([]),
  );
}

it("skips a backend that is killed under traffic after three failures, and shares exactly among the others", async () => {
  const cluster = await start();
  await cluster.putPool("default", ["a", "b", "c"], { health: LONG, retry: { maxAttempts: 1 } });
  expect(new Set(await statuses(cluster, 6))).toEqual(new Set([200]));
  await cluster.stopBackend("b");
  const failed = (await statuses(cluster, 40)).filter((status) => status !== 200);
  expect(failed).toEqual([502, 502, 502]);
  const served = await Promise.all(Array.from({ length: 40 }, async () => (await cluster.ask()).backend));
  expect(served.filter((id) => id === "a")).toHaveLength(20);
  expect(served.filter((id) => id === "c")).toHaveLength(20);
});

it("serves from all when all have failed, and counts that it does so in panic", async () => {
  const cluster = await start();
  await cluster.putPool("default", ["a"], { health: LONG, sync: { refreshMs: 500, leaseMs: 1_000 } });
  await cluster.stopBackend("a");
  expect(await statuses(cluster, 5)).toEqual([502, 502, 502, 502, 502]);
  const incidents = async () => (await cluster.admin.do("GET", "/pools/default/status")).body.incidents;
  await expect
    .poll(
      async () => {
        await cluster.ask();
        return (await incidents()).panic;
      },
      { timeout: 10_000 },
    )
    .toBeGreaterThan(1);
});

it("lets the client see nothing of what a backend says of its health", async () => {
  const cluster = await start();
  const telling = await startBackend("telling", (request, response) => {
    request.resume();
    response.setHeader("ring-health", "degraded").end();
  });
  onTestFinished(() => telling.stop());
  await cluster.admin.do("PUT", "/pools/default", { backends: [{ id: "telling", url: telling.url }] });
  const { status, headers } = await cluster.ask();
  expect(status).toBe(200);
  expect(headers).not.toHaveProperty("ring-health");
});
