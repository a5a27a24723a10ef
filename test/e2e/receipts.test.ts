import { expect, inject, it, onTestFinished } from "vitest";
import { type Answer, Cluster } from "../support/cluster.ts";

const QUICK = { settleMs: 500, sync: { refreshMs: 500, leaseMs: 30_000, waitMs: 500 } };

/** Asks every instance again and again until the test is over; every answer is kept. */
function keepAsking(cluster: Cluster): readonly Answer[] {
  const answers: Answer[] = [];
  const over = new AbortController();
  const traffic = cluster.edge.urls.map(async (_, instance) => {
    while (!over.signal.aborted) answers.push(await cluster.ask({ instance }));
  });
  onTestFinished(async () => {
    over.abort();
    await Promise.all(traffic);
  });
  return answers;
}

it("says when a drained backend can be stopped, and then not one request is lost", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 4, backends: ["a", "b"] });
  const { admin } = cluster;
  await cluster.putPool("default", ["a", "b"], { ...QUICK, retry: { maxAttempts: 1 } });
  const answers = keepAsking(cluster);
  await expect.poll(() => answers.some(({ backend }) => backend === "b"), { timeout: 5_000 }).toBe(true);
  const drained = await admin.do("POST", "/pools/default/backends/b/drain", { forMs: 1_000 });
  const draining = await admin.do("GET", "/pools/default/backends/b/receipt");
  expect(draining).toMatchObject({
    status: 200,
    etag: drained.etag,
    body: { id: "b", state: "draining", safe: false },
  });
  const early = await admin.do("GET", "/pools/default/backends/b/receipt?wait=10ms");
  expect(early).toMatchObject({ status: 202, body: { safe: false } });
  const receipt = await admin.do("GET", "/pools/default/backends/b/receipt?wait=30s");
  expect(receipt).toMatchObject({
    status: 200,
    body: { state: "safe", safe: true, inFlight: 0, outstandingIsolates: 0 },
  });
  const before = answers.length;
  await cluster.stopBackend("b");
  await expect.poll(() => answers.length - before, { timeout: 10_000 }).toBeGreaterThan(200);
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  expect(answers.slice(before + 4).every(({ backend }) => backend === "a")).toBe(true);
});

it("drains a zone in one step, tells when all of it can be stopped, and takes it back", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"] });
  const { admin } = cluster;
  const inZone = (id: string, zone: string) => ({ ...cluster.backend(id), labels: { zone } });
  await admin.do("PUT", "/pools/default", {
    ...QUICK,
    backends: [inZone("a", "x"), inZone("b", "y"), inZone("c", "y")],
  });
  await cluster.ask();
  keepAsking(cluster);
  const y = { label: "zone", value: "y" };
  const drained = await admin.do("POST", "/pools/default/drain?wait=20s", { ...y, forMs: 0 });
  expect(drained).toMatchObject({ status: 200, body: { version: 2, convergence: { governsAtMs: null } } });
  const receipts = await admin.do("GET", "/pools/default/receipts?label=zone&value=y&wait=20s");
  expect(receipts).toMatchObject({
    status: 200,
    etag: '"2"',
    body: {
      safe: true,
      inFlight: 0,
      receipts: [
        { id: "b", safe: true },
        { id: "c", safe: true },
      ],
    },
  });
  const undrained = await admin.do("POST", "/pools/default/undrain", y);
  expect(undrained.body).toMatchObject({ version: 3 });
  const after = await admin.do("GET", "/pools/default/receipts?label=zone&value=y");
  expect(after.body).toMatchObject({
    safe: false,
    safeAtMs: null,
    receipts: [{ state: "active" }, { state: "active" }],
  });
});

it("does not take out the last backend that takes new traffic unless it is forced", async () => {
  const { admin, backend } = await startWithTwo();
  await admin.do("POST", "/pools/default/backends/b/disable");
  const last = [
    ["POST", "/pools/default/backends/a/drain", {}],
    ["POST", "/pools/default/drain", { label: "zone", value: "x" }],
    ["POST", "/pools/default/backends/a/disable", {}],
    ["DELETE", "/pools/default/backends/a", {}],
  ] as const;
  for (const [method, path, body] of last) {
    const answer = await admin.send(method, path, body);
    expect(answer).toMatchObject({ status: 409, body: { detail: expect.stringContaining("force: true") } });
    expect(await admin.send(method, path, { ...body, force: "yes" })).toMatchObject({ status: 422 });
  }
  expect((await admin.do("GET", "/pools/default")).etag).toBe('"2"');
  await admin.do("POST", "/pools/default/backends/a/drain", { force: true });
  await admin.do("POST", "/pools/default/backends/a/undrain");
  await admin.do("DELETE", "/pools/default/backends/a", { force: true });
  expect((await admin.do("GET", "/pools/default/backends")).body.backends).toMatchObject([{ id: backend }]);
  expect((await admin.do("GET", "/pools/default/backends/a/receipt")).body).toMatchObject({
    state: "removed",
  });
});

it("refuses receipts and drains of what is not there, and names what is wrong", async () => {
  const { admin } = await startWithTwo();
  const found = async (method: string, path: string, body?: object): Promise<number> =>
    (await admin.send(method, path, body)).status;
  expect(await found("GET", "/pools/none/backends/a/receipt")).toBe(404);
  expect(await found("GET", "/pools/default/backends/none/receipt")).toBe(404);
  expect(await found("GET", "/pools/default/receipts?label=zone&value=none")).toBe(404);
  expect(await found("POST", "/pools/default/drain", { label: "zone", value: "none" })).toBe(404);
  expect(await found("POST", "/pools/default/undrain", { label: "zone", value: "none" })).toBe(404);
  const fields = async (method: string, path: string, body?: object): Promise<readonly string[]> => {
    const answer = await admin.send(method, path, body);
    expect(answer.status).toBe(422);
    return answer.body.errors.map(({ field }: { field: string }) => field);
  };
  expect(await fields("GET", "/pools/default/backends/a/receipt?wait=2m")).toEqual(["wait"]);
  expect(await fields("GET", "/pools/default/receipts?label=zone")).toEqual(["value"]);
  expect(await fields("GET", "/pools/default/receipts?label=zone&value=x&wait=9h")).toEqual(["wait"]);
  expect(await fields("POST", "/pools/default/drain", { label: "zone", value: 1, forMs: -1 })).toEqual([
    "value",
    "forMs",
  ]);
});

/** A pool with a backend in zone x, and another one. */
async function startWithTwo() {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b"] });
  await cluster.admin.do("PUT", "/pools/default", {
    backends: [{ ...cluster.backend("a"), labels: { zone: "x" } }, cluster.backend("b")],
  });
  return { admin: cluster.admin, backend: "b" };
}
