import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, vi } from "vitest";
import type { BackendStatus, PoolStatus } from "../../durable/model/view.ts";
import { type Backend, startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";
import { bytesOf, open, responseTo } from "./support-client.ts";

const SOON = { timeout: 10_000 };
const AFTER_MS = 100;

/** Skips nobody, and takes nobody out. */
const PATIENT = {
  local: { connectFailures: 0, gatewayErrors: 0 },
  failurePercentage: { enforce: false },
  breaker: { enforce: false },
};

/** Asked for this, every backend answers at once: only a request makes an isolate speak to its ring. */
const NUDGE = "/nudge";

interface Arrival {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: string;
}

/** A backend that leaves every request open until a test answers it. */
class Actor {
  readonly id: string;
  readonly got: Arrival[] = [];
  #backend: Backend | null = null;

  constructor(id: string) {
    this.id = id;
  }

  async start(): Promise<void> {
    this.#backend = await startBackend(this.id, (request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("error", () => {});
      request.on("end", () => {
        if (request.url === NUDGE) response.end();
        else this.got.push({ request, response, body });
      });
    });
  }

  stop(): Promise<void> {
    return this.#backend?.stop() ?? Promise.resolve();
  }

  get url(): string {
    return this.#backend?.url ?? "";
  }

  /** The request that came as the n-th of a test. */
  async arrival(count = 1): Promise<Arrival> {
    return vi.waitFor(() => {
      const arrival = this.got[count - 1];
      if (arrival === undefined) throw new Error(`${this.id} got ${this.got.length} of ${count}`);
      return arrival;
    }, SOON);
  }
}

const slow = new Actor("slow");
const quick = new Actor("quick");
const third = new Actor("third");
const ACTORS = [slow, quick, third];
let cluster: Cluster;

beforeAll(async () => {
  await Promise.all(ACTORS.map((actor) => actor.start()));
  cluster = await Cluster.launch({ bundle: inject("bundle"), backends: [] });
  await cluster.admin.do("PUT", "/routes/rest", { pool: "default" });
  // Before the first request, since an isolate notices a new route only at its next refresh.
  await cluster.admin.do("PUT", "/routes/hedged", {
    path: "/hedged",
    pool: "default",
    retry: { hedge: { afterMs: AFTER_MS } },
  });
});

afterAll(async () => {
  await cluster.stop();
  await Promise.all(ACTORS.map((actor) => actor.stop()));
});

beforeEach(() => {
  for (const actor of ACTORS) actor.got.length = 0;
});

/** A pool that asks `slow` first, always, then `quick`, then `third`. */
async function pool(retry: object = {}, config: object = {}, count = 2): Promise<void> {
  await cluster.admin.do("PUT", "/pools/default", {
    policy: "first",
    sync: { refreshMs: 500, leaseMs: 1_000 },
    health: PATIENT,
    retry: { hedge: { afterMs: AFTER_MS, percent: 100 }, backoffMs: 0, ...retry },
    ...config,
    backends: ACTORS.slice(0, count).map(({ id, url }) => ({ id, url })),
  });
  // Until the isolate says that it has it: with its lease over, and the ring slow, it would go on with what it had.
  await expect
    .poll(async () => {
      const { governsAtMs, acknowledgedIsolates } = (await status()).convergence;
      return governsAtMs === null && acknowledgedIsolates > 0;
    }, SOON)
    .toBe(true);
  before = await status();
}

let before: PoolStatus;

function send(method: string, body?: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(cluster.edge.urls[0], { method, headers, ...(body === undefined ? {} : { body }) });
}

async function textOf(answer: Promise<Response>): Promise<string> {
  return (await answer).text();
}

/** Asks for a WebSocket, which the backends here know nothing of. */
async function upgrade(): Promise<string> {
  const headers = [
    ["Connection", "Upgrade"],
    ["Upgrade", "websocket"],
  ] as const;
  const request = open(cluster.edge.urls[0], "default.test", { headers });
  request.end();
  return (await bytesOf(await responseTo(request))).toString();
}

/** What the ring knows, after a request that may have made the isolate tell it. */
async function status(): Promise<PoolStatus> {
  // By a method that is not hedged, however slow the machine.
  await fetch(cluster.edge.urls[0] + NUDGE, { method: "POST" });
  return (await cluster.admin.do("GET", "/pools/default/status")).body as PoolStatus;
}

/** How often these came to be since the pool was made. */
async function counted(): Promise<Record<string, number>> {
  const now = await status();
  const outcome = (id: string, name: keyof BackendStatus["outcomes"]): number =>
    [now, before]
      .map(({ backends }) => backends.find((each) => each.id === id)?.outcomes[name] ?? 0)
      .reduce((later, earlier) => later - earlier);
  return {
    hedges: now.incidents.hedge - before.incidents.hedge,
    denied: now.incidents.hedge_denied - before.incidents.hedge_denied,
    retries: now.incidents.retry - before.incidents.retry,
    outrun: outcome("slow", "outrun") + outcome("quick", "outrun"),
    gone: outcome("slow", "client_gone") + outcome("quick", "client_gone"),
    blamed: ["unreachable", "timed_out", "gateway_error"]
      .map((name) => outcome("slow", name as "unreachable") + outcome("quick", name as "unreachable"))
      .reduce((sum, each) => sum + each),
    inFlight: now.backends.reduce((sum, { inFlight }) => sum + inFlight, 0),
  };
}

const NOTHING = { hedges: 0, denied: 0, retries: 0, outrun: 0, gone: 0, blamed: 0, inFlight: 0 };

function seesItsEnd({ response }: Arrival): Promise<void> {
  return response.closed
    ? Promise.resolve()
    : new Promise((resolve) => {
        response.once("close", () => resolve());
      });
}

it("asks a second backend when the first is slow, and aborts whoever loses, blaming nobody", async () => {
  await pool();
  const answer = send("GET");
  const lost = await slow.arrival();
  (await quick.arrival()).response.end("quick");
  expect(await (await answer).text()).toBe("quick");
  await seesItsEnd(lost);
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, outrun: 1 });
});

it("passes the first one's answer on when that is quicker after all", async () => {
  await pool();
  const answer = send("GET");
  const won = await slow.arrival();
  const lost = await quick.arrival();
  won.response.end("slow");
  expect(await (await answer).text()).toBe("slow");
  await seesItsEnd(lost);
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, outrun: 1 });
});

it("asks nobody else when the first is quick enough", async () => {
  await pool({ hedge: { afterMs: 5_000, percent: 100 } });
  const answer = send("GET");
  (await slow.arrival()).response.end("slow");
  expect(await (await answer).text()).toBe("slow");
  await expect.poll(counted, SOON).toEqual(NOTHING);
});

it("sends a kept body whole to both", async () => {
  await pool();
  const body = "0123456789".repeat(5_000);
  for (const [index, [method, headers]] of (
    [
      ["PUT", {}],
      ["POST", { "idempotency-key": "one" }],
    ] as const
  ).entries()) {
    const answer = send(method, body, headers);
    const lost = await slow.arrival(index + 1);
    const won = await quick.arrival(index + 1);
    expect([lost.body === body, won.body === body]).toEqual([true, true]);
    won.response.end("quick");
    expect((await answer).status).toBe(200);
  }
});

describe("nothing is hedged", () => {
  it.each([
    ["that may not be done twice", () => textOf(send("POST", "an order")), {}],
    ["whose body is not kept", () => textOf(send("PUT", "0123456789")), { bodyBytes: 9 }],
    ["in the last attempt that it has", () => textOf(send("GET")), { maxAttempts: 1 }],
    ["that wants a WebSocket", upgrade, {}],
  ])("%s", async (_, ask, retry) => {
    await pool({ hedge: { afterMs: 1, percent: 100 }, ...retry });
    const answer = ask();
    const arrival = await slow.arrival();
    await status();
    arrival.response.end("slow");
    expect(await answer).toBe("slow");
    expect(quick.got).toEqual([]);
    await expect.poll(counted, SOON).toEqual(NOTHING);
  });

  it("that an affinity chain may bind", async () => {
    await pool({ hedge: { afterMs: 1, percent: 100 } }, { affinity: [{ by: "header", name: "x-tenant" }] });
    const answer = send("GET", undefined, { "x-tenant": "t" });
    await expect.poll(() => slow.got.length + quick.got.length, SOON).toBe(1);
    await status();
    for (const { response } of [...slow.got, ...quick.got]) response.end();
    expect((await answer).status).toBe(200);
    await expect.poll(counted, SOON).toEqual(NOTHING);
  });
});

it("just ends when it fails while the first attempt is under way", async () => {
  await pool();
  const answer = send("GET");
  const first = await slow.arrival();
  (await quick.arrival()).request.socket.destroy();
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, blamed: 1, inFlight: 1 });
  first.response.end("slow");
  expect(await (await answer).text()).toBe("slow");
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, blamed: 1 });
});

it("goes on with the hedge when the first one fails, without a retry", async () => {
  await pool();
  const answer = send("GET");
  const first = await slow.arrival();
  const second = await quick.arrival();
  first.request.socket.destroy();
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, blamed: 1, inFlight: 1 });
  second.response.end("quick");
  expect(await (await answer).text()).toBe("quick");
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, blamed: 1 });
});

it("tries a third one when both have failed", async () => {
  await pool({}, {}, 3);
  const answer = send("GET");
  const [first, second] = [await slow.arrival(), await quick.arrival()];
  first.request.socket.destroy();
  second.request.socket.destroy();
  (await third.arrival()).response.end("third");
  expect(await (await answer).text()).toBe("third");
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, blamed: 2, retries: 1 });
});

it("keeps to the budget, and counts what that denies", async () => {
  // Of its own, because what others asked counts for ten seconds.
  const own = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  await own.admin.do("PUT", "/pools/default", {
    policy: "first",
    sync: { refreshMs: 500, leaseMs: 1_000 },
    retry: { hedge: { afterMs: 1, percent: 10 } },
    backends: [slow, quick].map(({ id, url }) => ({ id, url })),
  });
  const answers = [];
  for (let count = 1; count <= 20; count++) {
    answers.push(own.ask());
    await slow.arrival(count);
  }
  await expect
    .poll(async () => {
      // Not one that might be hedged, and so the budget does not know it.
      await own.ask({ method: "POST", path: NUDGE });
      const { incidents } = (await own.admin.do("GET", "/pools/default/status")).body as PoolStatus;
      return [incidents.hedge, incidents.hedge_denied];
    }, SOON)
    .toEqual([2, 18]);
  expect(quick.got.length).toBe(2);
  for (const { response } of [...slow.got, ...quick.got]) response.end();
  expect((await Promise.all(answers)).every(({ status: code }) => code === 200)).toBe(true);
});

it("ends both attempts when the client leaves, and blames nobody", async () => {
  await pool();
  const request = open(cluster.edge.urls[0], "default.test");
  request.end();
  void responseTo(request).catch(() => {});
  const both = [await slow.arrival(), await quick.arrival()];
  request.socket?.resetAndDestroy();
  await Promise.all(both.map(seesItsEnd));
  await expect.poll(counted, SOON).toEqual({ ...NOTHING, hedges: 1, gone: 2 });
});

it("hedges by the word of a route", async () => {
  await pool({ hedge: { afterMs: null, percent: 100 } });
  const answer = fetch(`${cluster.edge.urls[0]}/hedged`);
  await slow.arrival();
  (await quick.arrival()).response.end("quick");
  expect(await textOf(answer)).toBe("quick");
});

it("answers with what the first backend said when the hedge hangs", async () => {
  await pool({}, { headerTimeoutMs: 1_000 });
  const answer = send("GET");
  const { response } = await slow.arrival();
  await quick.arrival();
  response.writeHead(503, { "x-said": "busy" }).end("busy");
  expect((await answer).headers.get("x-said")).toBe("busy");
  expect([(await answer).status, await textOf(answer)]).toEqual([503, "busy"]);
});
