import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, beforeAll, beforeEach, expect, inject, it, onTestFinished } from "vitest";
import type { BackendStatus } from "../../durable/model/view.ts";
import { type Backend, startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";

type Handle = (request: IncomingMessage, response: ServerResponse, body: string) => void;

const SOON = { timeout: 10_000 };

/** Skips nobody, so that every failure is the retry's to mend. */
const PATIENT = {
  local: { connectFailures: 0, gatewayErrors: 0 },
  failurePercentage: { enforce: false },
  breaker: { enforce: false },
  skipped: { enforce: false },
};

/** A backend that does as a test says, and writes down what it got. */
class Actor {
  readonly got: string[] = [];
  handle: Handle = () => {};
  readonly id: string;
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
        this.got.push(`${request.method} ${body.length}`);
        this.handle(request, response, body);
      });
    });
  }

  /** Answers with its id from now on. */
  behave(): void {
    this.handle = (_, response) => response.setHeader("x-backend", this.id).end(this.id);
  }

  stop(): Promise<void> {
    return this.#backend?.stop() ?? Promise.resolve();
  }

  get url(): string {
    return this.#backend?.url ?? "";
  }
}

const bad = new Actor("bad");
const good = new Actor("good");
let cluster: Cluster;

beforeAll(async () => {
  await Promise.all([bad.start(), good.start()]);
  cluster = await Cluster.launch({ bundle: inject("bundle"), backends: [] });
});

afterAll(async () => {
  await cluster.stop();
  await Promise.all([bad.stop(), good.stop()]);
});

beforeEach(() => {
  bad.got.length = 0;
  good.got.length = 0;
});

/** A pool that asks `bad` first, always. Both behave until a test says otherwise. */
async function pool(config: object = {}): Promise<void> {
  bad.behave();
  good.behave();
  await cluster.admin.do("PUT", "/pools/default", {
    policy: "first",
    sync: { refreshMs: 500, leaseMs: 1_000 },
    health: PATIENT,
    ...config,
    backends: [bad, good].map(({ id, url }) => ({ id, url })),
  });
  await cluster.converge();
  bad.got.length = 0;
  good.got.length = 0;
}

function send(method: string, body?: string, headers: Record<string, string> = {}) {
  return fetch(cluster.edge.urls[0], { method, headers, ...(body === undefined ? {} : { body }) });
}

const RESET: Handle = (request) => request.socket.destroy();

function say(status: number, headers: Record<string, string> = {}): Handle {
  return (_, response) => response.writeHead(status, headers).end("no");
}

it("tries what may be done twice at another backend, with the same body", async () => {
  await pool();
  bad.handle = RESET;
  for (const method of ["GET", "HEAD", "DELETE"]) expect((await send(method)).status).toBe(200);
  const body = "0123456789".repeat(1_000);
  expect((await send("PUT", body)).status).toBe(200);
  expect(good.got).toEqual(["GET 0", "HEAD 0", "DELETE 0", "PUT 10000"]);
  expect(bad.got).toEqual(good.got);
});

it("sends nothing twice that may have been done, but with an idempotency key", async () => {
  await pool();
  bad.handle = RESET;
  expect((await send("POST", "an order")).status).toBe(502);
  expect(good.got).toEqual([]);
  expect((await send("POST", "an order", { "idempotency-key": "one" })).status).toBe(200);
  expect(good.got).toEqual(["POST 8"]);
});

it("sends what the platform says it has not sent, whatever the method", async () => {
  await pool();
  bad.handle = say(521);
  expect((await send("POST", "an order")).status).toBe(200);
  expect(good.got).toEqual(["POST 8"]);
});

it("keeps no body beyond its limit, and passes it whole all the same", async () => {
  await pool();
  const long = "0123456789".repeat(10_000);
  bad.handle = (_, response, body) => response.end(String(body.length));
  expect(await (await send("PUT", long)).text()).toBe("100000");
  bad.handle = RESET;
  expect((await send("PUT", long)).status).toBe(502);
  expect(good.got).toEqual([]);
});

/** A body whose length nobody states. */
function stream(chunks: number): ReadableStream {
  return new ReadableStream({
    start(controller) {
      for (let chunk = 0; chunk < chunks; chunk++) controller.enqueue(new TextEncoder().encode("0123456789"));
      controller.close();
    },
  });
}

function put(chunks: number): Promise<Response> {
  return fetch(cluster.edge.urls[0], { method: "PUT", body: stream(chunks), duplex: "half" } as RequestInit);
}

it("sends a body of unknown length once, and whole", async () => {
  await pool();
  bad.handle = (_, response, body) => response.end(String(body.length));
  expect(await (await put(20_000)).text()).toBe("200000");
  bad.handle = RESET;
  expect((await put(100)).status).toBe(502);
  expect(good.got).toEqual([]);
});

it("tries the statuses again that the pool says, and passes the last answer on when nobody is left", async () => {
  await pool();
  bad.handle = say(503);
  expect((await send("GET")).status).toBe(200);
  bad.handle = say(500);
  expect((await send("GET")).status).toBe(500);
  await pool({ retry: { statuses: [500, 404] } });
  bad.handle = say(404);
  expect((await send("GET")).status).toBe(200);
  await pool();
  bad.handle = say(503);
  good.handle = say(503, { "x-who": "good" });
  const answer = await send("GET");
  expect([answer.status, answer.headers.get("x-who"), await answer.text()]).toEqual([503, "good", "no"]);
});

it("does not wait while others are well because one asks for it by Retry-After", async () => {
  await pool();
  bad.handle = say(503, { "retry-after": "20" });
  const beganMs = performance.now();
  expect(await (await send("GET")).text()).toBe("good");
  expect(performance.now() - beganMs).toBeLessThan(10_000);
});

it("waits no longer for one that hangs than its header deadline, and asks another", async () => {
  await pool({ headerTimeoutMs: 200 });
  bad.handle = () => {};
  expect((await send("GET")).status).toBe(200);
  expect(good.got).toEqual(["GET 0"]);
});

it("stops at the number of attempts, and at the budget, which is counted", async () => {
  await pool({ retry: { maxAttempts: 1 } });
  bad.handle = RESET;
  expect((await send("GET")).status).toBe(502);
  await pool({ retry: { budget: { percent: 0, floor: 1 } } });
  bad.handle = RESET;
  const statuses = [];
  for (let request = 0; request < 4; request++) statuses.push((await send("GET")).status);
  expect(statuses.filter((status) => status === 502).length).toBeGreaterThanOrEqual(3);
  await expect
    .poll(async () => {
      await send("GET");
      return (await cluster.admin.do("GET", "/pools/default/status")).body.incidents.retry_denied;
    }, SOON)
    .toBeGreaterThan(0);
});

it("tries one at last that is out by its health, which may be well again", async () => {
  const probe = { kind: "http", path: "/probe", intervalMs: 1_000, fall: 1 };
  await pool({ health: { ...PATIENT, probe } });
  bad.handle = (request, response) => {
    if (request.url === "/probe") response.end();
    else request.socket.destroy();
  };
  good.handle = ({ url }, response) => response.writeHead(url === "/probe" ? 503 : 200).end();
  const before = (await cluster.admin.do("GET", "/pools/default/status")).body.incidents.panic;
  await expect
    .poll(async () => {
      // By a retry like any other, while the isolate does not know that it is out.
      expect((await send("GET")).status).toBe(200);
      return (await cluster.admin.do("GET", "/pools/default/status")).body.incidents.panic;
    }, SOON)
    .toBeGreaterThan(before);
});

it("keeps the load of a pool whose backends all fail at 1.2 times what comes in", async () => {
  // All of its own, because what others asked counts for ten seconds, and may come late.
  const own = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  const [resetting, refusing] = [new Actor("resetting"), new Actor("refusing")];
  await Promise.all([resetting.start(), refusing.start()]);
  onTestFinished(async () => void (await Promise.all([resetting.stop(), refusing.stop()])));
  await own.admin.do("PUT", "/pools/default", {
    health: PATIENT,
    retry: { backoffMs: 0, budget: { percent: 20, floor: 0 } },
    backends: [resetting, refusing].map(({ id, url }) => ({ id, url })),
  });
  resetting.handle = RESET;
  refusing.handle = say(503);
  const requests = 200;
  for (let sent = 0; sent < requests; sent += 10) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => own.ask()));
    expect(answers.every(({ status }) => status === 502 || status === 503)).toBe(true);
  }
  const load = resetting.got.length + refusing.got.length;
  expect(load).toBeLessThanOrEqual(1.2 * requests);
  expect(load).toBeGreaterThan(1.1 * requests);
});

/** How often each backend was unreachable. */
async function blamed(): Promise<readonly unknown[]> {
  const { body } = await cluster.admin.do("GET", "/pools/default/status");
  return body.backends.map((backend: BackendStatus) => [backend.id, backend.outcomes.unreachable]);
}

it("blames who failed, and not who saved it", async () => {
  await pool();
  bad.handle = RESET;
  const before = await blamed();
  for (let request = 0; request < 5; request++) expect((await send("GET")).status).toBe(200);
  bad.behave();
  await expect
    .poll(async () => {
      await send("GET");
      return blamed();
    }, SOON)
    .not.toEqual(before);
  expect((await blamed()).at(1)).toEqual(["good", 0]);
});

/** How many attempts each is blamed for that timed out. */
async function timedOut(): Promise<unknown> {
  await send("GET");
  const { body } = await cluster.admin.do("GET", "/pools/default/status");
  return body.backends.map(({ outcomes }: BackendStatus) => outcomes.timed_out);
}

it("finds out one that hangs, and saves the request, though the total is shorter than the header timeout", async () => {
  // The isolate skips it, and the ring leaves it in for the tests that follow.
  const health = { ...PATIENT, local: {} };
  await pool({ retry: { totalTimeoutMs: 600 }, health });
  const [before] = Object.values((await timedOut()) as number[]);
  bad.handle = () => {};
  const beganMs = performance.now();
  const together = await Promise.all([send("GET"), send("GET")]);
  const statuses = together.map(({ status }) => status);
  for (let request = 0; request < 4; request++) statuses.push((await send("GET")).status);
  expect(statuses).toEqual(Array(6).fill(200));
  // Once a third of the total, and not again: it is skipped.
  expect(performance.now() - beganMs).toBeLessThan(600);
  expect(bad.got).toHaveLength(3);
  await expect.poll(timedOut, SOON).toEqual([(before ?? 0) + 2, 0]);
});

it("gives a request that will not be tried again all of the total", async () => {
  await pool({ retry: { totalTimeoutMs: 600 } });
  bad.handle = (_, response) => void setTimeout(() => response.end("late"), 400);
  expect(await (await send("POST", "an order")).text()).toBe("late");
});

it("ends an upload at its backend when that times out, though its request lives on elsewhere", async () => {
  await pool({ headerTimeoutMs: 300 });
  good.handle = (_, response) =>
    response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
  const closed = new Promise((resolve) => {
    bad.handle = (_, response) => response.once("close", resolve);
  });
  const answer = await send("PUT", "a body");
  expect(answer.status).toBe(200);
  await closed;
  await answer.body?.cancel();
});

it("ends an attempt beside another when it times out, though that goes on", async () => {
  await pool({ headerTimeoutMs: 300, retry: { hedge: { afterMs: 200, percent: 100 } } });
  const asked = new Promise<ServerResponse>((resolve) => {
    good.handle = (_, response) => resolve(response);
  });
  const closed = new Promise((resolve) => {
    bad.handle = (_, response) => response.once("close", resolve);
  });
  const answer = send("GET");
  await closed;
  (await asked).end("good");
  expect(await (await answer).text()).toBe("good");
});

it("is told of early data by the header, whatever it says", async () => {
  await pool();
  bad.handle = say(425);
  expect((await send("POST", "an order")).status).toBe(200);
  for (const value of ["1", "1, 1", "0", "true"])
    expect((await send("POST", "an order", { "early-data": value })).status).toBe(425);
});
