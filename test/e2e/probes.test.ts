import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer } from "node:net";
import { Response as MiniflareResponse } from "miniflare";
import { afterAll, beforeAll, expect, inject, it, onTestFinished } from "vitest";
import type { BackendStatus } from "../../durable/model/view.ts";
import { type Backend, startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";

const TIMEOUT_MS = 400;
const PACE = { intervalMs: 1_000, changingIntervalMs: 500, timeoutMs: TIMEOUT_MS };
const SOON = { timeout: 10_000, interval: 50 };
const KEY = "the key that no status shows";

let cluster: Cluster;
const askedThroughBinding: string[] = [];

beforeAll(async () => {
  const services = {
    VPC: (request: { readonly url: string }) => {
      askedThroughBinding.push(request.url);
      return new MiniflareResponse("ok");
    },
  };
  cluster = await Cluster.launch({
    bundle: inject("bundle"),
    backends: ["a", "b"],
    variables: { PROBE_KEY: KEY },
    services,
  });
});

afterAll(() => cluster.stop());

/** A backend for one test. */
async function start(id: string, answer: RequestListener, port = 0): Promise<Backend> {
  const backend = await startBackend(id, answer, port);
  onTestFinished(() => backend.stop());
  return backend;
}

function say(status: number, headers: Readonly<Record<string, string>> = {}, body = ""): RequestListener {
  return (_, response) => response.writeHead(status, headers).end(body);
}

function sayId(id: string): RequestListener {
  return say(200, { "x-backend": id });
}

/** Makes a pool that probes these backends: `PACE`, and one failure is enough, unless something else is said. */
async function probe(
  name: string,
  words: object,
  backends: readonly (Pick<Backend, "id" | "url"> & { readonly via?: string })[],
  health: object = {},
): Promise<void> {
  await cluster.admin.do("PUT", `/pools/${name}`, {
    health: { probe: { kind: "http", ...PACE, fall: 1, ...words }, ...health },
    backends: backends.map(({ id, url, via }) => ({ id, url, ...(via === undefined ? {} : { via }) })),
  });
}

async function statusOf(name: string): Promise<readonly BackendStatus[]> {
  const { body } = await cluster.admin.do("GET", `/pools/${name}/status`);
  return body.backends;
}

async function verdictsOf(name: string): Promise<Record<string, string | null>> {
  const backends = await statusOf(name);
  return Object.fromEntries(
    backends.map(({ id, observed: { probe: said } }) => [id, said.isStopping ? "stopping" : said.verdict]),
  );
}

it("finds out who is well, whatever the others do", async () => {
  const open = { hang: 0, drip: 0 };
  const longestMs = { hang: 0, drip: 0 };
  const timed =
    (id: "hang" | "drip", answer: RequestListener): RequestListener =>
    (request: IncomingMessage, response: ServerResponse) => {
      const sinceMs = performance.now();
      open[id] += 1;
      response.on("close", () => {
        open[id] -= 1;
        longestMs[id] = Math.max(longestMs[id], performance.now() - sinceMs);
      });
      answer(request, response);
    };
  let wasCutOff = false;
  const target = await start("target", say(200, {}, "well"));
  const backends = await Promise.all([
    start("well", say(200, {}, "All is WELL here")),
    start(
      "hang",
      timed("hang", () => {}),
    ),
    start(
      "drip",
      timed("drip", (_, response) => {
        const timer = setInterval(() => response.write("x"), 20);
        response.on("close", () => clearInterval(timer));
      }),
    ),
    start("reset", ({ socket }) => socket.destroy()),
    start("big", (_, response) => {
      response.on("close", () => (wasCutOff = !response.writableFinished));
      response.end("x".repeat(10_000_000));
    }),
    start("late-text", say(200, {}, `${"x".repeat(1_000)}well`)),
    start("redirect", say(302, { location: target.url })),
    start("lost", say(404, {}, "well")),
    start("broken", say(500, {}, "well")),
  ]);
  await probe("many", { contains: "well", bodyBytes: 1_000 }, backends);
  await expect
    .poll(() => verdictsOf("many"), SOON)
    .toEqual({
      well: "healthy",
      hang: "unhealthy",
      drip: "unhealthy",
      reset: "unhealthy",
      big: "unhealthy",
      "late-text": "unhealthy",
      redirect: "unhealthy",
      lost: "unhealthy",
      broken: "unhealthy",
    });
  await expect.poll(() => open, SOON).toEqual({ hang: 0, drip: 0 });
  // Half a second for a machine that has other work.
  expect(longestMs.hang).toBeLessThan(TIMEOUT_MS + 500);
  expect(longestMs.drip).toBeLessThan(TIMEOUT_MS + 500);
  expect(wasCutOff).toBe(true);
});

it("asks as configured, with values of secrets, which are shown nowhere", async () => {
  const asked: unknown[] = [];
  const strict = await start("strict", ({ method, url, headers }, response) => {
    asked.push({ method, url, agent: headers["user-agent"], kind: headers["x-kind"] });
    response.writeHead(headers["x-key"] === KEY ? 204 : 401).end();
  });
  const headers = [
    { name: "x-kind", value: "probe" },
    { name: "x-key", secret: "PROBE_KEY" },
  ];
  const words = { method: "POST", path: "//ready?deep=1", expect: ["200", "204"], headers };
  await probe("strict", words, [{ id: "strict", url: `${strict.url}/base` }]);
  await expect.poll(() => verdictsOf("strict"), SOON).toEqual({ strict: "healthy" });
  expect(asked[0]).toEqual({
    method: "POST",
    url: "//ready?deep=1",
    agent: "ringmaster-probe",
    kind: "probe",
  });
  for (const path of ["/pools/strict", "/pools/strict/status"]) {
    expect(JSON.stringify((await cluster.admin.do("GET", path)).body)).not.toContain(KEY);
  }
});

it("takes a secret that is not there for a failure, without asking anybody", async () => {
  let asked = 0;
  const backend = await start("a", (_, response) => {
    asked += 1;
    response.end();
  });
  await probe("secretless", { headers: [{ name: "x-key", secret: "NOT_SET" }] }, [backend]);
  await expect.poll(() => verdictsOf("secretless"), SOON).toEqual({ a: "unhealthy" });
  expect(asked).toBe(0);
});

it("lets a response say that its backend fails at once, is degraded, or stops", async () => {
  const backends = await Promise.all([
    start("ill", say(200, { "x-fail": "1" })),
    start("weak", say(200, { "x-weak": "1" })),
    start("stopping", say(404)),
    start("well", say(200)),
  ]);
  const words = { failHeader: "x-fail", degradedHeader: "x-weak", stopOn404: true, fall: 100 };
  await probe("headers", words, backends);
  await expect
    .poll(() => verdictsOf("headers"), SOON)
    .toEqual({
      ill: "unhealthy",
      weak: "degraded",
      stopping: "stopping",
      well: "healthy",
    });
  const admits = (await statusOf("headers")).map((backend) => [backend.id, backend.admits]);
  expect(Object.fromEntries(admits)).toMatchObject({ ill: "none", stopping: "sticky", well: "new" });
});

it("probes by TCP: who accepts is well, who refuses is not", async () => {
  const server = createServer((socket) => socket.on("error", () => {}));
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
  onTestFinished(() => {
    server.close();
  });
  const gone = await startBackend("gone");
  await gone.stop();
  const backends = [
    { id: "open", url: `http://127.0.0.1:${port}` },
    { id: "closed", url: gone.url },
    // There is no address to connect to: it has the benefit of the doubt, although a new one is to wait.
    { id: "bound", url: "http://bound.example", via: "VPC" },
  ];
  const startsAs = { startsAs: "unhealthy" };
  await cluster.admin.do("PUT", "/pools/tcp", {
    health: { probe: { kind: "tcp", ...PACE, fall: 1 }, ...startsAs },
    backends,
  });
  await expect
    .poll(() => verdictsOf("tcp"), SOON)
    .toEqual({ open: "healthy", closed: "unhealthy", bound: null });
  expect((await statusOf("tcp")).find(({ id }) => id === "bound")?.admits).toBe("new");
  // What it had opened it closed again.
  await expect
    .poll(() => new Promise((resolve) => server.getConnections((_, count) => resolve(count))), SOON)
    .toBe(0);
});

it("probes through the binding that a backend is reached through", async () => {
  await probe("bound", { path: "/ready" }, [{ id: "bound", url: "http://bound.example", via: "VPC" }]);
  await expect.poll(() => verdictsOf("bound"), SOON).toEqual({ bound: "healthy" });
  expect(askedThroughBinding).toContain("http://bound.example/ready");
});

it("takes a backend that was killed out after `fall` probes, and back after `rise`", async () => {
  const a = await start("a", sayId("a"));
  const first = await start("b", sayId("b"));
  const { port } = new URL(first.url);
  const health = { probe: { kind: "http", ...PACE, rise: 2, fall: 3 } };
  await cluster.admin.do("PUT", "/pools/default", {
    health,
    sync: { refreshMs: 500, leaseMs: 1_000 },
    backends: [a, first].map(({ id, url }) => ({ id, url })),
  });
  const served = async (): Promise<readonly (string | null)[]> => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => cluster.ask()));
    return [...new Set(answers.map(({ backend }) => backend))].toSorted();
  };
  await expect.poll(() => verdictsOf("default"), SOON).toEqual({ a: "healthy", b: "healthy" });
  await expect.poll(served, SOON).toEqual(["a", "b"]);
  const before = await statusOf("default");
  const killedMs = Date.now();
  await first.stop();
  await expect.poll(() => verdictsOf("default"), SOON).toEqual({ a: "healthy", b: "unhealthy" });
  await expect.poll(served, SOON).toEqual(["a"]);
  let probes = 0;
  await start(
    "b",
    (request, response) => {
      if (request.headers["user-agent"] === "ringmaster-probe") probes += 1;
      sayId("b")(request, response);
    },
    Number(port),
  );
  await expect.poll(() => verdictsOf("default"), SOON).toEqual({ a: "healthy", b: "healthy" });
  expect(probes).toBeGreaterThanOrEqual(2);
  await expect.poll(served, SOON).toEqual(["a", "b"]);
  // Slow start counts from its return, and for the other one as before.
  const [servingSince, wasServingSince] = [await statusOf("default"), before].map((backends) =>
    backends.map(({ servingSinceMs }) => servingSinceMs),
  );
  expect(servingSince?.[0]).toBe(wasServingSince?.[0]);
  expect(servingSince?.[1]).toBeGreaterThan(killedMs);
});
