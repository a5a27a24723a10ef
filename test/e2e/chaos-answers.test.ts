import { createHash } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { expect, inject, it, onTestFinished } from "vitest";
import type { BackendStatus } from "../../durable/model/view.ts";
import { Dice } from "../core/support/dice.ts";
import { Cluster } from "../support/cluster.ts";
import { type Sent, Traffic } from "../support/flood.ts";
import { MOODS, type Mood, RogueBackend } from "../support/rogue-backend.ts";

const SEED = Number(process.env["CHAOS_SEED"] ?? 20_261_123);
/** How long a mood lasts. Real time, since what fails is real, too. */
const MOOD_MS = 800;
/** How often every rogue has every mood. */
const ROUNDS = Math.ceil(Number(process.env["CHAOS_REQUESTS"] ?? 20_000) / 20_000);
const ALL_MOODS = Object.keys(MOODS) as readonly Mood[];
const PATIENCE_MS = 40_000 + ROUNDS * ALL_MOODS.length * MOOD_MS;
const INSTANCES = [0, 1];
const SOON = { timeout: 10_000 };

/** Rogues are not skipped, nor taken out, so that they get their share to the end. */
const PATIENT = {
  probe: null,
  local: { connectFailures: 0, gatewayErrors: 0 },
  failurePercentage: { enforce: false },
  breaker: { enforce: false },
};

/** A cluster with two rogues and a backend that is always well. */
async function stage(): Promise<{ cluster: Cluster; rogues: readonly RogueBackend[] }> {
  const backends = ["a", "b", "well"].map((id) => new RogueBackend(id));
  onTestFinished(async () => {
    await Promise.all(backends.map((backend) => backend.kill()));
  });
  await Promise.all(backends.map((backend) => backend.start()));
  const cluster = await Cluster.start({
    bundle: inject("bundle"),
    backends: [],
    instances: INSTANCES.length,
  });
  await cluster.admin.do("PUT", "/pools/default", {
    headerTimeoutMs: 500,
    sync: { refreshMs: 500, leaseMs: 1_000 },
    retry: { maxAttempts: 3, budget: { floor: 10_000 }, statuses: [500, 502, 503, 504] },
    health: PATIENT,
    backends: backends.map(({ id, url }) => ({ id, url })),
  });
  await cluster.converge();
  return { cluster, rogues: backends.slice(0, 2) };
}

/** How many answers the ring knows to have broken off after their headers, once more requests have told it. */
async function cuts(cluster: Cluster): Promise<number> {
  await Promise.all(INSTANCES.map((instance) => cluster.ask({ instance })));
  const { body } = await cluster.admin.do("GET", "/pools/default/status");
  const backends: readonly BackendStatus[] = body.backends;
  return backends.reduce((sum, { outcomes }) => sum + outcomes.cut, 0);
}

/** The longest of them is kept for another attempt, too. */
const BODIES = Array.from({ length: 8 }, (_, index) => Buffer.alloc(9_000 * index, `body ${index} `));

function answerTo(body: Buffer): string {
  return `${body.length} ${createHash("sha256").update(body).digest("hex")}`;
}

const RIGHT = new Set(BODIES.map(answerTo));

function shuffled<Value>(values: readonly Value[], dice: Dice): readonly Value[] {
  const drawn = values.map((value) => ({ value, lot: dice.next() }));
  return drawn.toSorted((one, other) => one.lot - other.lot).map(({ value }) => value);
}

it(
  `saves what can be saved from backends that misbehave, and shows what cannot (seed ${SEED})`,
  async () => {
    const { cluster, rogues } = await stage();
    const dice = new Dice(SEED);
    const make = (): Sent => {
      const body = dice.one(BODIES);
      return body.length === 0 ? { method: "GET" } : { method: "PUT", body };
    };
    const traffic = new Traffic(cluster.edge, INSTANCES, make);
    for (let round = 0; round < ROUNDS; round++) {
      const orders = rogues.map(() => shuffled(ALL_MOODS, dice));
      for (const turn of ALL_MOODS.keys()) {
        for (const [index, rogue] of rogues.entries()) rogue.become(orders[index]?.[turn] ?? "well");
        await setTimeout(MOOD_MS);
      }
    }
    for (const rogue of rogues) rogue.become("well");
    const answers = await traffic.stop();
    const met = new Set(rogues.flatMap(({ orders }) => orders));
    expect(met).toEqual(new Set(ALL_MOODS));
    const cut = answers.filter(({ isCut }) => isCut);
    expect(
      answers.filter(({ isCut, status, text }) => !isCut && (status !== 200 || !RIGHT.has(text))),
    ).toEqual([]);
    expect(cut.length).toBeGreaterThan(0);
    await expect.poll(() => cuts(cluster), SOON).toBe(cut.length);
  },
  PATIENCE_MS,
);
