import { createHash } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { expect, inject, it, onTestFinished } from "vitest";
import { Dice } from "../core/support/dice.ts";
import { Cluster } from "../support/cluster.ts";
import { type Answer, flood, type Sent, type Span } from "../support/flood.ts";
import { ProcessBackend } from "../support/process-backend.ts";

const SEED = 20_261_122;
/** Backends are struck and healed by turns, so often. Real time, since what fails is real, too. */
const BEAT_MS = 2_000;
/** That nobody comes near who does not hang, even on a busy machine. */
const HEADER_TIMEOUT_MS = 1_000;
/** Requests of a kind. */
const COUNT = Number(process.env["CHAOS_REQUESTS"] ?? 20_000);
const PATIENCE_MS = 30_000 + COUNT * 4;
/** Failures to connect after which an isolate skips a backend. */
const THRESHOLD = 3;
const INSTANCES = 2;
/** How often an isolate tries a backend again within a beat, after 1 s at first. */
const MAX_TRIALS = 2;

/** One cluster with backends in processes of their own. */
async function stage({
  instances = INSTANCES,
  health = {},
}: {
  readonly instances?: number;
  readonly health?: object;
} = {}): Promise<{ cluster: Cluster; backends: readonly ProcessBackend[] }> {
  const backends = ["a", "b", "c"].map((id) => new ProcessBackend(id));
  onTestFinished(async () => {
    await Promise.all(backends.map((backend) => backend.kill()));
  });
  await Promise.all(backends.map((backend) => backend.start()));
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: [], instances });
  await cluster.admin.do("PUT", "/pools/default", {
    headerTimeoutMs: HEADER_TIMEOUT_MS,
    sync: { refreshMs: 500, leaseMs: 1_000 },
    retry: { maxAttempts: 4, budget: { floor: 10_000 } },
    health: {
      probe: { kind: "http", intervalMs: 1_000, changingIntervalMs: 500, timeoutMs: 300 },
      local: { connectFailures: THRESHOLD },
      ...health,
    },
    backends: backends.map(({ id, url }) => ({ id, url })),
  });
  await cluster.converge();
  return { cluster, backends };
}

/** What can happen to a backend. */
type Blow = "kill" | "pause";

/**
 * Kills and pauses backends in an order that the seed says, heals them a beat later, and always leaves one alone, until it is
 * stopped. `onBlow` is called after each.
 */
class Trouble {
  readonly #backends: readonly ProcessBackend[];
  readonly #dice: Dice;
  readonly #blows: readonly Blow[];
  readonly #onBlow: (span: Span) => void;
  readonly #over = new AbortController();
  readonly #done: Promise<void>;

  constructor(
    backends: readonly ProcessBackend[],
    seed: number,
    blows: readonly Blow[],
    onBlow: (span: Span) => void = () => {},
  ) {
    this.#backends = backends;
    this.#dice = new Dice(seed);
    this.#blows = blows;
    this.#onBlow = onBlow;
    this.#done = this.#rage();
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#done;
  }

  async #rage(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const spared = this.#dice.one(this.#backends);
      const struck = this.#backends.filter((backend) => backend !== spared && this.#dice.isLucky(0.7));
      for (const backend of struck) {
        const beganMs = performance.now();
        if (this.#dice.one(this.#blows) === "pause") backend.pause();
        else await backend.kill();
        this.#onBlow({ beganMs, endedMs: performance.now() });
      }
      await this.#beat();
      for (const backend of struck) backend.resume();
      for (const backend of struck) if (!backend.isRunning) await backend.start();
      await this.#beat();
    }
  }

  async #beat(): Promise<void> {
    // Cut short when it is over: then only the healing is left to do.
    await setTimeout(BEAT_MS, undefined, { signal: this.#over.signal }).catch(() => {});
  }
}

it(
  "loses no GET and no PUT, nor a byte of one, while backends are killed, paused and started",
  async () => {
    const { cluster, backends } = await stage();
    const trouble = new Trouble(backends, SEED, ["kill", "pause"]);
    const gets = await flood(cluster.edge, () => ({ method: "GET" }), COUNT);
    const bodies = Array.from({ length: 16 }, (_, index) => Buffer.alloc(10_000, `body ${index} `));
    const put = (index: number): Sent => ({ method: "PUT", body: bodies[index % 16] as Buffer });
    const puts = await flood(cluster.edge, put, COUNT);
    await trouble.stop();
    expect(gets.filter(({ status }) => status !== 200)).toEqual([]);
    const wanted = bodies.map((body) => `${body.length} ${createHash("sha256").update(body).digest("hex")}`);
    expect(puts.filter(({ status, text }, index) => status !== 200 || text !== wanted[index % 16])).toEqual(
      [],
    );
  },
  PATIENCE_MS,
);

/** Orders, each with a number that backends write down. */
function order(index: number): Sent {
  return { method: "POST", body: Buffer.from("an order"), headers: { "x-order": String(index) } };
}

/** Orders that were carried out more than once, and those that were not though the client was told so. */
function dishonest(
  backends: readonly ProcessBackend[],
  posts: readonly Answer[],
): { readonly twice: readonly string[]; readonly never: readonly string[] } {
  const orders = backends.flatMap((backend) => backend.orders);
  const carriedOut = Map.groupBy(orders, (number) => number);
  const served = posts.flatMap(({ status }, index) => (status === 200 ? [String(index)] : []));
  return {
    twice: [...carriedOut].flatMap(([number, times]) => (times.length > 1 ? [number] : [])),
    never: served.filter((number) => !carriedOut.has(number)),
  };
}

const HONEST = { twice: [], never: [] };

it(
  "carries no POST out twice, while backends are killed and paused",
  async () => {
    const { cluster, backends } = await stage();
    const trouble = new Trouble(backends, SEED + 1, ["kill", "pause"]);
    const posts = await flood(cluster.edge, order, COUNT / 4);
    await trouble.stop();
    expect(dishonest(backends, posts)).toEqual(HONEST);
    expect(posts.filter(({ status }) => ![200, 502, 504].includes(status))).toEqual([]);
  },
  PATIENCE_MS,
);

it(
  "fails no POST that comes after an isolate has noticed a kill, but one that tries the backend again",
  async () => {
    const { cluster, backends } = await stage();
    const kills: Span[] = [];
    // Of two one is spared, so one at a time is killed: failures do not say whose they are. The seed strikes from the beginning.
    const trouble = new Trouble(backends.slice(0, 2), SEED + 3, ["kill"], (kill) => kills.push(kill));
    const posts = await flood(cluster.edge, order, COUNT / 4);
    await trouble.stop();
    expect(dishonest(backends, posts)).toEqual(HONEST);
    const failed = posts.filter(({ status }) => status !== 200);
    expect(failed).not.toEqual([]);
    for (const [index, kill] of kills.entries()) {
      const untilMs = kills[index + 1]?.beganMs ?? Number.POSITIVE_INFINITY;
      for (let instance = 0; instance < INSTANCES; instance++) {
        const here = failed.filter(
          (post) => post.instance === instance && post.endedMs > kill.beganMs && post.endedMs < untilMs,
        );
        // The isolate has seen as many failures before any client did.
        const noticedMs = here.map(({ endedMs }) => endedMs).toSorted((one, other) => one - other)[
          THRESHOLD - 1
        ];
        const late = here.filter(({ beganMs }) => noticedMs !== undefined && beganMs > noticedMs);
        expect(late.length).toBeLessThanOrEqual(MAX_TRIALS);
      }
    }
  },
  PATIENCE_MS,
);

// One of three is paused, and all requests are sent to one isolate:
//
//   hung      serving | paused ────────────────────────────────────
//   requests          | wait for it, 1 s    | none waits any more
it(
  "lets nobody wait for a backend that hangs once one has waited in vain",
  async () => {
    const { cluster, backends } = await stage({
      instances: 1,
      health: { probe: null },
    });
    const [hung] = backends;
    let pausedMs = Number.POSITIVE_INFINITY;
    const get = (index: number): Sent => {
      if (index === 1_000) {
        hung?.pause();
        pausedMs = performance.now();
      }
      return { method: "GET" };
    };
    const answers = await flood(cluster.edge, get, 5_000);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    const waited = answers.filter(({ beganMs, endedMs }) => endedMs - beganMs >= HEADER_TIMEOUT_MS);
    const noticedMs = Math.min(...waited.map(({ endedMs }) => endedMs));
    expect(noticedMs).toBeGreaterThan(pausedMs);
    expect(waited.filter(({ beganMs }) => beganMs > noticedMs)).toEqual([]);
    expect(answers.filter(({ beganMs }) => beganMs > noticedMs).length).toBeGreaterThan(1_000);
  },
  PATIENCE_MS,
);
