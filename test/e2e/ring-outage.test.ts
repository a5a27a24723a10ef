import { setTimeout } from "node:timers/promises";
import { expect, inject, it } from "vitest";
import type { BackendStatus } from "../../durable/model/view.ts";
import { Cluster } from "../support/cluster.ts";
import { type Ailment, FLAKY, Flaky, type ObjectClass } from "../support/flaky.ts";
import { type Answer, type Sent, Traffic } from "../support/flood.ts";

/** How long the objects fail. Real time, since what fails is real, too. */
const OUTAGE_MS = Number(process.env["OUTAGE_SECONDS"] ?? 3) * 1_000;
const PATIENCE_MS = 60_000 + 2 * OUTAGE_MS;
/** An outage has all of them, one after the other. */
const AILMENTS: readonly Ailment[] = ["hang", "status", "overloaded", "throw"];
/** Leases end many times in an outage. */
const SYNC = { refreshMs: 500, leaseMs: 1_000, waitMs: 1_000 };
/** Those with traffic. One more begins in the outage. */
const INSTANCES = [0, 1, 2, 3];
const LATECOMER = INSTANCES.length;
/** Longest time that an isolate leaves an object alone that has failed, and what a busy machine takes. */
const BACK = { timeout: 16_000 + 4_000 };
const SOON = { timeout: 5_000 };

interface Scene {
  readonly cluster: Cluster;
  readonly flaky: Flaky;
}

/** Instances that all have leased snapshots, but for the latecomer. */
async function setScene(config: object = {}): Promise<Scene> {
  const cluster = await Cluster.start({
    bundle: inject("bundle"),
    around: FLAKY,
    instances: INSTANCES.length + 1,
    backends: ["a", "b"],
    // Every sync that fails is logged.
    onLog: () => {},
  });
  await cluster.putPool("default", ["a", "b"], { sync: SYNC, ...config });
  await cluster.putPool("other", ["b"], { sync: SYNC });
  await cluster.admin.do("PUT", "/routes/all", { path: "/", pool: "default" });
  await backends(cluster);
  return { cluster, flaky: new Flaky(cluster.edge) };
}

/** Who answers each instance with traffic. */
async function backends(cluster: Cluster, path = "/"): Promise<readonly (string | null)[]> {
  const answers = await Promise.all(INSTANCES.map((instance) => cluster.ask({ instance, path })));
  return answers.map(({ backend }) => backend);
}

/** How many isolates have said that they hold the present version of a pool, or of the routes. The latecomer comes for it. */
async function acknowledged(cluster: Cluster, of: string): Promise<number> {
  await cluster.ask({ instance: LATECOMER });
  const { body } = await cluster.admin.do("GET", `${of}/convergence`);
  return body.acknowledgedIsolates;
}

const failed = (answers: readonly Answer[]): readonly Answer[] =>
  answers.filter(({ status }) => status !== 200);

/** How many answers of its backends the ring has been told of, after a few more. */
async function counted(cluster: Cluster): Promise<number> {
  await backends(cluster);
  const { body } = await cluster.admin.do("GET", "/pools/default/status");
  const all: readonly BackendStatus[] = body.backends;
  return all.reduce((sum, each) => sum + each.outcomes.answered, 0);
}

/** Those of a backend to requests that began after some time. */
function from(id: string, answers: readonly Answer[], sinceMs: number): readonly Answer[] {
  return answers.filter(({ backend, beganMs }) => backend === id && beganMs > sinceMs);
}

/** Lets a class of objects fail in every way, one after the other. It goes on failing in the last. */
async function failInEveryWay(flaky: Flaky, name: ObjectClass): Promise<void> {
  for (const ailment of AILMENTS) {
    await flaky.strike(name, ailment);
    await setTimeout(OUTAGE_MS / AILMENTS.length);
  }
}

// Ring       well | hangs | 503 | overloaded | throws | well, a is disabled
// instances  from leased snapshots, then from the last one they had   | without a
it(
  "fails no request while the ring fails, and a change made right after governs everywhere",
  async () => {
    const { cluster, flaky } = await setScene();
    const { admin } = cluster;
    const traffic = new Traffic(cluster.edge, INSTANCES);
    await failInEveryWay(flaky, "Ring");
    const refused = await admin.send("POST", "/pools/default/backends/a/disable");
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    const unready = await cluster.ask({ instance: LATECOMER });
    expect([unready.status, unready.headers["retry-after"]]).toEqual([503, "1"]);
    await flaky.strike("Ring", null);
    await admin.do("POST", "/pools/default/backends/a/disable");
    await expect.poll(() => acknowledged(cluster, "/pools/default"), BACK).toBe(INSTANCES.length + 1);
    const governsMs = performance.now();
    await setTimeout(1_000);
    const answers = await traffic.stop();
    expect(failed(answers)).toEqual([]);
    expect(answers.length).toBeGreaterThan(1_000);
    expect(from("a", answers, governsMs)).toEqual([]);
    expect(await cluster.ask({ instance: LATECOMER })).toMatchObject({ status: 200, backend: "b" });
    const { body } = await admin.do("GET", "/pools/default/status");
    expect(body.incidents.degraded).toBeGreaterThan(0);
    await expect.poll(() => counted(cluster), SOON).toBeGreaterThanOrEqual(answers.length);
  },
  PATIENCE_MS,
);

it(
  "fails no request while the directory fails, and a new route governs everywhere right after",
  async () => {
    const { cluster, flaky } = await setScene();
    const { admin } = cluster;
    const traffic = new Traffic(cluster.edge, INSTANCES);
    await failInEveryWay(flaky, "Directory");
    const route = { path: "/other", pool: "other" };
    const refused = await admin.send("PUT", "/routes/other", route);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    const unready = await cluster.ask({ instance: LATECOMER });
    expect([unready.status, unready.headers["retry-after"]]).toEqual([503, "1"]);
    await flaky.strike("Directory", null);
    await admin.do("PUT", "/routes/other", route);
    await expect.poll(() => acknowledged(cluster, ""), BACK).toBe(INSTANCES.length + 1);
    expect(await backends(cluster, "/other")).toEqual(["b", "b", "b", "b"]);
    expect(await cluster.ask({ instance: LATECOMER })).toMatchObject({ status: 200 });
    const answers = await traffic.stop();
    expect(failed(answers)).toEqual([]);
    expect(answers.length).toBeGreaterThan(1_000);
  },
  PATIENCE_MS,
);

// Ring       hangs ───────────────────────────────────────────────▶
// syncs      |─────────── 5 s ───────────|  |────────── 5 s ───────
// requests   lease | wait 1 s | none waits, nor for the second sync
it("holds up nobody twice for a ring that hangs", async () => {
  const { cluster, flaky } = await setScene();
  const traffic = new Traffic(cluster.edge, INSTANCES);
  await flaky.strike("Ring", "hang");
  const hangsMs = performance.now();
  const [shown, changed, unready] = await Promise.all([
    cluster.admin.send("GET", "/pools/default/status"),
    cluster.admin.send("PATCH", "/pools/default/backends/a", { weight: 2 }),
    cluster.ask({ instance: LATECOMER }),
    setTimeout(8_000),
  ]);
  expect([shown.status, changed.status, unready.status]).toEqual([503, 503, 503]);
  const answers = await traffic.stop();
  expect(failed(answers)).toEqual([]);
  const knownMs = hangsMs + SYNC.leaseMs + SYNC.waitMs;
  const late = answers.filter(({ beganMs }) => beganMs > knownMs);
  expect(late.length).toBeGreaterThan(500);
  expect(late.filter(({ beganMs, endedMs }) => endedMs - beganMs >= 0.9 * SYNC.waitMs)).toEqual([]);
});

it("answers 503 when the ring has been out of reach for too long, and serves again by itself", async () => {
  const { cluster, flaky } = await setScene({ sync: { ...SYNC, maxStaleMs: 1_000 } });
  await flaky.strike("Ring", "throw");
  const ask = (): ReturnType<Cluster["ask"]> => cluster.ask({ instance: 1 });
  await expect.poll(ask, SOON).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
  await flaky.strike("Ring", null);
  await expect.poll(ask, SOON).toMatchObject({ status: 200 });
});

// a         open | draining, 1.5 s | closed by the first sync after the deadline: nobody else asks
// traffic   connections that are bound to a, until then
it("ends a drain in time though no alarm succeeds, because syncs look at the deadline as well", async () => {
  const { cluster, flaky } = await setScene({ affinity: [{ by: "connection" }] });
  await flaky.strikeAlarms(true);
  let turn = 0;
  const make = (): Sent => {
    const tlsClientRandom = `connection-${turn++ % 32}`;
    return { method: "GET", headers: { "MF-CF-Blob": JSON.stringify({ tlsClientRandom }) } };
  };
  const traffic = new Traffic(cluster.edge, INSTANCES, make);
  await setTimeout(500);
  await cluster.admin.do("POST", "/pools/default/backends/a/drain", { forMs: 1_500 });
  const beganMs = performance.now();
  await setTimeout(4_000);
  const answers = await traffic.stop();
  expect(failed(answers)).toEqual([]);
  expect(from("a", answers, beganMs + 1_000)).not.toEqual([]);
  expect(from("a", answers, beganMs + 1_500 + 2 * SYNC.refreshMs + 500)).toEqual([]);
});

it("loses no request, and nothing that was decided, when the ring is evicted again and again", async () => {
  const { cluster, flaky } = await setScene();
  const { admin } = cluster;
  const traffic = new Traffic(cluster.edge, INSTANCES);
  const before = await admin.do("GET", "/pools/default");
  const { body: status } = await admin.do("GET", "/pools/default/status");
  for (let time = 0; time < 6; time++) {
    await flaky.strike("Ring", "evict");
    await setTimeout(300);
  }
  await flaky.strike("Ring", null);
  expect((await admin.do("GET", "/pools/default")).body).toEqual(before.body);
  expect((await admin.do("GET", "/pools/default/status")).body.sinceMs).toBeGreaterThan(status.sinceMs);
  await admin.do("POST", "/pools/default/backends/a/disable?wait=20s");
  const governsMs = performance.now();
  await setTimeout(500);
  const answers = await traffic.stop();
  expect(failed(answers)).toEqual([]);
  expect(from("a", answers, governsMs)).toEqual([]);
});

// What happened: a pool whose ring failed in the middle of its deletion was alive and on no list.
it("leaves a pool on the list that may not have been deleted, so that deleting it again helps", async () => {
  const { cluster, flaky } = await setScene();
  const listed = async (): Promise<readonly string[]> => (await cluster.admin.do("GET", "/pools")).body.pools;
  await flaky.strike("Ring", "throw");
  expect((await cluster.admin.send("DELETE", "/pools/other")).status).toBe(503);
  await flaky.strike("Ring", null);
  expect(await listed()).toContain("other");
  await cluster.admin.do("DELETE", "/pools/other");
  expect(await listed()).not.toContain("other");
});

it("touches nothing for a deletion that is only for a pool that is not there", async () => {
  const { cluster } = await setScene();
  const version = async (): Promise<number> => (await cluster.admin.do("GET", "/status")).body.version;
  const before = await version();
  const { status } = await cluster.admin.send("DELETE", "/pools/other", undefined, { "if-none-match": "*" });
  expect([status, await version()]).toEqual([412, before]);
});
