import { expect, inject, it } from "vitest";
import { Cluster, connections } from "../support/cluster.ts";
import { CookieClient } from "../support/session.ts";

const POOL = {
  affinity: [{ by: "token" }, { by: "connection" }],
  sync: { refreshMs: 500, leaseMs: 1_000 },
};

function split(stable: number, canary: number): object {
  return {
    split: [
      { pool: "stable", weight: stable },
      { pool: "canary", weight: canary },
    ],
  };
}

async function start(): Promise<Cluster> {
  const cluster = await Cluster.start({
    bundle: inject("bundle"),
    instances: 2,
    backends: ["stable", "canary"],
  });
  for (const id of ["stable", "canary"])
    await cluster.admin.do("PUT", `/pools/${id}`, { ...POOL, backends: [cluster.backend(id)] });
  await cluster.admin.do("PUT", "/routes/shop", split(3, 1));
  return cluster;
}

/** Waits until every instance routes by the directory's present version. */
async function settled(cluster: Cluster): Promise<void> {
  await expect
    .poll(
      async () => {
        await Promise.all([0, 1].map((instance) => cluster.ask({ instance, path: "/" })));
        return (await cluster.admin.do("GET", "/status")).body.convergence.governsAtMs;
      },
      { timeout: 45_000, interval: 200 },
    )
    .toBeNull();
}

it("splits clients by weight and by connection, alike in every isolate", async () => {
  const cluster = await start();
  const clients = connections(400);
  const first = await cluster.placements(clients);
  const canaries = [...first.values()].filter((backend) => backend === "canary").length;
  // Four standard deviations of 400 draws with a chance of 1 in 4.
  expect(Math.abs(canaries - 100)).toBeLessThan(35);
  expect(await cluster.placements(clients, { instance: 1 })).toEqual(first);
});

it("keeps the holders of a token on their side when the weights change, to 0 too, and gives that side nobody new", {
  timeout: 90_000,
}, async () => {
  const cluster = await start();
  const sessions = new Map<CookieClient, string | null>();
  for (const connection of connections(60)) {
    const client = new CookieClient(cluster);
    sessions.set(client, (await client.ask({ connection })).backend);
  }
  expect(new Set(sessions.values())).toEqual(new Set(["stable", "canary"]));
  await cluster.admin.do("PUT", "/routes/shop", split(1, 0));
  await settled(cluster);
  for (const [client, side] of sessions) {
    for (const instance of [0, 1])
      expect((await client.ask({ instance, connection: `new ${instance}` })).backend).toBe(side);
  }
  expect(new Set((await cluster.placements(connections(60, "newcomer"))).values())).toEqual(
    new Set(["stable"]),
  );
});
