import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { valuesOf } from "./support-client.ts";
import { problemIn } from "./support-problem.ts";
import { raiseStage, type Scene } from "./support-stage.ts";

const stage = raiseStage({
  busy: { maxInFlight: 2, waiting: { timeoutMs: 0 } },
  patient: { maxInFlight: 1, waiting: { timeoutMs: 10_000, maxRequests: 3 } },
  impatient: { maxInFlight: 1, waiting: { timeoutMs: 100 } },
  drained: {
    settleMs: 0,
    // The isolate asks its ring only if those in line make it: no answer takes long enough for its own context to do so.
    sync: { refreshMs: 500, leaseMs: 1_000, waitMs: 50, maxStaleMs: 0 },
    headerTimeoutMs: 1_900,
    retry: { maxAttempts: 1 },
    maxInFlight: 1,
    waiting: { timeoutMs: 10_000 },
  },
  shed: { shed: { newPercent: 100 } },
});

/** A request that takes up the only place, until it is answered. */
async function occupy(scene: Scene) {
  const arrival = scene.arrival();
  const answer = scene.ask();
  return { ...(await arrival), answer };
}

/** So long a request is sure to wait in line, before another one follows it. */
const IN_LINE_MS = 100;

it("refuses what exceeds the limit in flight, and takes requests again when one is answered", async () => {
  const scene = stage.scene("busy");
  const open = [];
  for (let count = 0; count < 2; count++) {
    const arrival = scene.arrival();
    const answer = scene.ask();
    open.push({ ...(await arrival), answer });
  }
  const refused = await scene.ask();
  expect(problemIn(refused)).toEqual([503, "All backends busy"]);
  expect(valuesOf(refused.headers, "retry-after")).toEqual(["1"]);
  for (const { response, answer } of open) {
    response.end();
    expect((await answer).status).toBe(200);
  }
  scene.answers((_, response) => response.end());
  expect((await scene.ask()).status).toBe(200);
});

it("has requests wait for room, and serves them in the order they came", async () => {
  const scene = stage.scene("patient");
  const { response, answer } = await occupy(scene);
  const served: string[] = [];
  const open: ServerResponse[] = [];
  scene.answers((request, waiting) => {
    served.push(request.url ?? "");
    open.push(waiting);
  });
  const leaving = scene.open({ path: "/leaving" });
  leaving.end();
  await sleep(IN_LINE_MS);
  const answers = [];
  for (const path of ["/second", "/third"]) {
    answers.push(scene.ask({ path }));
    await sleep(IN_LINE_MS);
  }
  // Three are in line.
  expect(problemIn(await scene.ask({ path: "/fourth" }))).toEqual([503, "All backends busy"]);
  leaving.socket?.resetAndDestroy();
  await sleep(IN_LINE_MS);
  expect(served).toEqual([]);
  response.end();
  expect((await answer).status).toBe(200);
  await expect.poll(() => served).toEqual(["/second"]);
  open[0]?.end();
  await expect.poll(() => served).toEqual(["/second", "/third"]);
  open[1]?.end();
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200]);
  scene.answers((_, idle) => idle.end());
  await expect
    .poll(async () => (await scene.status()).incidents, { timeout: 5_000 })
    .toMatchObject({ waited: 3, full: 1 });
  await expect.poll(() => scene.inFlight(), { timeout: 5_000 }).toBe(0);
  const { outcomes } = await scene.backendStatus();
  expect([outcomes.unreachable, outcomes.client_gone]).toEqual([0, 0]);
});

it("refuses what has waited in vain", async () => {
  const scene = stage.scene("impatient");
  const { response, answer } = await occupy(scene);
  const refused = await scene.ask();
  expect(problemIn(refused)).toEqual([503, "All backends busy"]);
  expect(valuesOf(refused.headers, "retry-after")).toEqual(["1"]);
  response.end();
  expect((await answer).status).toBe(200);
});

it("sends nobody who waits in line to a backend that is safe to stop", async () => {
  const scene = stage.scene("drained");
  let arrivals = 0;
  scene.answers((_, response) => {
    arrivals++;
    setTimeout(() => response.end(), 1_750);
  });
  const answers = Array.from({ length: 6 }, () => scene.ask());
  await expect.poll(() => arrivals).toBe(1);
  const path = "/pools/drained/backends/b";
  await scene.admin.do("POST", `${path}/drain`, { forMs: 0, force: true });
  const receipt = await scene.admin.do("GET", `${path}/receipt?wait=20s`);
  expect(receipt.body).toMatchObject({ state: "safe", inFlight: 0 });
  const before = arrivals;
  await Promise.all(answers);
  expect(arrivals).toBe(before);
}, 30_000);

it("turns away what is shed, and says when to come again", async () => {
  const scene = stage.scene("shed");
  scene.answers((_, response) => response.end());
  const refused = await scene.ask();
  expect(problemIn(refused)).toEqual([503, "Overloaded"]);
  expect(valuesOf(refused.headers, "retry-after")).toEqual(["10"]);
});
