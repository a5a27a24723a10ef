import { createHash } from "node:crypto";
import { Agent, request } from "node:http";
import { expect, inject, it, onTestFinished } from "vitest";
import { Dice } from "../core/support/dice.ts";
import { Cluster } from "../support/cluster.ts";
import { ProcessBackend } from "../support/process-backend.ts";

const SEED = 20_261_122;
const CONNECTIONS = 64;
const BEAT_MS = 2_000;
const HEADER_TIMEOUT_MS = 300;

/** One cluster with backends in processes of their own. */
async function stage(): Promise<{ cluster: Cluster; backends: readonly ProcessBackend[] }> {
  const backends = ["a", "b", "c"].map((id) => new ProcessBackend(id));
  onTestFinished(async () => {
    await Promise.all(backends.map((backend) => backend.kill()));
  });
  await Promise.all(backends.map((backend) => backend.start()));
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: [], instances: 2 });
  await cluster.admin.do("PUT", "/pools/default", {
    headerTimeoutMs: HEADER_TIMEOUT_MS,
    sync: { refreshMs: 500, leaseMs: 1_000 },
    retry: { maxAttempts: 4, budget: { floor: 10_000 } },
    health: { probe: { kind: "http", intervalMs: 1_000, changingIntervalMs: 500, timeoutMs: 300 } },
    backends: backends.map(({ id, url }) => ({ id, url })),
  });
  await cluster.converge();
  return { cluster, backends };
}

/** Kills, pauses and starts backends in an order that the seed says, and always leaves one alone, until it is stopped. */
async function trouble(
  backends: readonly ProcessBackend[],
  dice: Dice,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    const spared = Math.floor(dice.next() * backends.length);
    const struck = backends.filter((_, index) => index !== spared && dice.next() < 0.7);
    for (const backend of struck) {
      if (dice.next() < 0.5) backend.pause();
      else await backend.kill();
    }
    await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
    for (const backend of struck) backend.resume();
    for (const backend of struck) if (!backend.isRunning) await backend.start();
    await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
  }
}

interface Sent {
  readonly method: string;
  readonly body?: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends so many requests over keep-alive connections; answers with status and body of each. */
async function flood(
  cluster: Cluster,
  count: number,
  make: (index: number) => Sent,
): Promise<readonly { readonly status: number; readonly text: string }[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS / cluster.edge.urls.length });
  onTestFinished(() => agent.destroy());
  const answers: { status: number; text: string }[] = [];
  let next = 0;
  const loop = async (lane: number): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const { method, body, headers = {} } = make(index);
      const url = cluster.edge.urls[lane % cluster.edge.urls.length] ?? "";
      answers[index] = await new Promise((resolve, reject) => {
        const sent = request(
          url,
          { agent, method, headers: { ...headers, ...lengthOf(body) } },
          (response) => {
            let text = "";
            response.on("data", (chunk: Buffer) => (text += chunk.toString()));
            response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
            response.on("error", reject);
          },
        );
        sent.on("error", reject);
        sent.end(body);
      });
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, lane) => loop(lane)));
  return answers;
}

function lengthOf(body: Buffer | undefined): Readonly<Record<string, string>> {
  return body === undefined ? {} : { "content-length": String(body.length) };
}

it("loses no GET and no PUT, nor a byte of one, while backends are killed, paused and started", async () => {
  const { cluster, backends } = await stage();
  let isOver = false;
  const troubled = trouble(backends, new Dice(SEED), () => isOver);
  const gets = await flood(cluster, 10_000, () => ({ method: "GET" }));
  const bodies = Array.from({ length: 16 }, (_, index) => Buffer.alloc(10_000, `body ${index} `));
  const puts = await flood(cluster, 6_000, (index) => ({
    method: "PUT",
    body: bodies[index % 16] as Buffer,
  }));
  isOver = true;
  await troubled;
  expect(gets.filter(({ status }) => status !== 200)).toEqual([]);
  const wanted = bodies.map((body) => `${body.length} ${createHash("sha256").update(body).digest("hex")}`);
  expect(puts.filter(({ status, text }, index) => status !== 200 || text !== wanted[index % 16])).toEqual([]);
}, 60_000);

it("carries no POST out twice", async () => {
  const { cluster, backends } = await stage();
  let isOver = false;
  const troubled = trouble(backends, new Dice(SEED + 1), () => isOver);
  const body = Buffer.from("an order");
  const posts = await flood(cluster, 2_000, (index) => ({
    method: "POST",
    body,
    headers: { "x-order": String(index) },
  }));
  isOver = true;
  await troubled;
  const orders = backends.flatMap((backend) => backend.orders);
  expect(new Set(orders).size).toBe(orders.length);
  // Whoever got an answer was served; the others were told that it failed.
  const served = posts.flatMap(({ status }, index) => (status === 200 ? [String(index)] : []));
  expect(served.filter((order) => !orders.includes(order))).toEqual([]);
  expect(posts.filter(({ status }) => ![200, 502, 504].includes(status))).toEqual([]);
}, 60_000);
