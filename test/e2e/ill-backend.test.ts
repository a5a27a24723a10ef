import { expect, inject, it, onTestFinished } from "vitest";
import type { BackendStatus } from "../../durable/model/view.ts";
import { startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";

const THRESHOLD = 3;
const LOOPS = 4;
const WINDOW_MS = 6_000;
const SOON = { timeout: 10_000, interval: 50 };
const SYNC = { refreshMs: 500, leaseMs: 1_000 };

/** Requests to every instance, one after the other in each of some loops, until it is stopped. */
class Load {
  readonly failed = new Map<number, number>();
  readonly served = new Map<string | null, number>();
  #isOver = false;
  readonly #loops: Promise<readonly void[]>;

  constructor(cluster: Cluster) {
    const loops = cluster.edge.urls.flatMap((_, instance) => Array(LOOPS).fill(instance));
    this.#loops = Promise.all(loops.map((instance) => this.#ask(cluster, instance)));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#loops;
  }

  async #ask(cluster: Cluster, instance: number): Promise<void> {
    while (!this.#isOver) {
      const { status, backend } = await cluster.ask({ instance });
      if (status === 200) this.served.set(backend, (this.served.get(backend) ?? 0) + 1);
      else this.failed.set(instance, (this.failed.get(instance) ?? 0) + 1);
    }
  }
}

async function statusOf(cluster: Cluster, id: string): Promise<BackendStatus> {
  const { body } = await cluster.admin.do("GET", "/pools/default/status");
  return body.backends.find((backend: BackendStatus) => backend.id === id);
}

// One of three is killed, and started again where it was:
//
//   b         serving | dead ─────────────────────────── | back: 2 probes, then slow start
//   isolates          | at most 3 failures each beside those in flight, then none
//   ring              | unhealthy everywhere             | healthy, serving since now
it("moves traffic away from a backend that is killed under load, at once and then everywhere, and slowly back", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"], instances: 2 });
  await cluster.putPool("default", ["a", "b", "c"], {
    sync: SYNC,
    slowStart: { windowMs: WINDOW_MS },
    health: {
      probe: { kind: "http", intervalMs: 1_000, changingIntervalMs: 500, fall: 2, rise: 2 },
      local: { connectFailures: THRESHOLD, minSkipMs: 2_000, maxSkipMs: 2_000 },
    },
  });
  await cluster.converge();
  const { url } = cluster.backend("b");
  const since = (await statusOf(cluster, "b")).servingSinceMs;

  const load = new Load(cluster);
  await expect.poll(() => load.served.get("b") ?? 0, SOON).toBeGreaterThan(10);
  await cluster.stopBackend("b");
  await expect.poll(async () => (await statusOf(cluster, "b")).health, SOON).toBe("unhealthy");
  await cluster.converge();
  await load.stop();
  // Every two seconds one request may try it, until the verdict is known.
  for (const count of load.failed.values()) expect(count).toBeLessThanOrEqual(THRESHOLD + LOOPS + 2);

  const later = new Load(cluster);
  await expect.poll(() => later.served.get("a") ?? 0, SOON).toBeGreaterThan(200);
  await later.stop();
  expect(later.failed).toEqual(new Map());
  expect(later.served.get("b")).toBeUndefined();

  // The others have to be out of their own slow start.
  await expect.poll(() => Date.now() - since, SOON).toBeGreaterThan(WINDOW_MS);
  const again = await startBackend("b", undefined, Number(new URL(url).port));
  onTestFinished(() => again.stop());
  await expect.poll(async () => (await statusOf(cluster, "b")).health, SOON).toBe("healthy");
  expect((await statusOf(cluster, "b")).servingSinceMs).toBeGreaterThan(since);
  const back = new Load(cluster);
  await expect.poll(() => back.served.get("b") ?? 0, SOON).toBeGreaterThan(20);
  await back.stop();
  const share = (back.served.get("b") ?? 0) / (back.served.get("a") ?? 1);
  expect(share).toBeLessThan(0.5);
});

it("takes a killed backend out everywhere by its default rules, though nobody probes and isolates skip it", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"], instances: 2 });
  await cluster.putPool("default", ["a", "b", "c"], { sync: SYNC, retry: { maxAttempts: 1 } });
  await cluster.converge();
  // Only the first instance meets the dead one.
  for (let request = 0; request < 30; request++) await cluster.ask();
  await cluster.stopBackend("b");
  await expect
    .poll(async () => {
      await cluster.ask();
      return (await statusOf(cluster, "b")).health;
    }, SOON)
    .toBe("unhealthy");
  await cluster.converge();
  const answers = [];
  for (let request = 0; request < 12; request++) answers.push(await cluster.ask({ instance: 1 }));
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
});

it("ejects a backend by what two isolates each saw too little of", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "c"], instances: 2 });
  const ill = await startBackend("b", (_, response) => response.writeHead(500).end());
  onTestFinished(() => ill.stop());
  await cluster.admin.do("PUT", "/pools/default", {
    sync: SYNC,
    health: { failurePercentage: { minAttempts: 16 } },
    backends: [cluster.backend("a"), { id: "b", url: ill.url }, cluster.backend("c")],
  });
  for (const instance of [0, 1]) {
    for (let request = 0; request < 3 * 10; request++) await cluster.ask({ instance });
  }
  await cluster.converge();
  await expect
    .poll(async () => {
      await Promise.all([0, 1].map((instance) => cluster.ask({ instance })));
      return (await statusOf(cluster, "b")).health;
    }, SOON)
    .toBe("unhealthy");
  await cluster.converge();
  const { body } = await cluster.admin.do("GET", "/pools/default/events");
  expect(body.events).toMatchObject([{ backend: "b", kind: "ejected", cause: "failure_percentage" }]);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, index) => cluster.ask({ instance: index % 2 })),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
});
