import type { ClientRequest, ServerResponse } from "node:http";
import { beforeAll, describe, expect, it } from "vitest";
import { responseTo } from "./support-client.ts";
import { BOUND, bindAndDrain, STICKY } from "./support-drain.ts";
import { type Arrival, raiseStage, type Scene, seesItsEnd } from "./support-stage.ts";

const stage = raiseStage({ before: {}, upload: {}, during: {}, draining: STICKY, storm: {}, others: {} });

beforeAll(() => bindAndDrain(stage.scene("draining")));

/** Long enough for the edge's next report. */
const REPORTED = { timeout: 5_000 };

/** How many clients left, how many attempts the backend is blamed for, and how many are still in flight. */
async function blamed(scene: Scene): Promise<unknown> {
  const { outcomes, inFlight } = await scene.backendStatus();
  const { client_gone: gone, server_error: failed, timed_out: late, unreachable } = outcomes;
  return { gone, blamed: failed + late + unreachable, inFlight };
}

function reset(request: ClientRequest): void {
  request.socket?.resetAndDestroy();
}

/** Goes on sending until its connection is over: a plain close shows only to somebody who writes. */
function goOnSending({ response }: Arrival): void {
  const timer = setInterval(() => response.write("data: more\n\n"), 10);
  response.once("close", () => clearInterval(timer));
}

// A plain close before the headers is not here: the local runtime notices none, as long as it has nothing to write.
describe("a client that resets its connection before the headers", () => {
  it.each([
    ["a GET", "GET", undefined],
    ["a POST whose body has arrived", "POST", "the body"],
  ] as const)("aborts %s at the backend, and nobody is blamed", async (_, method, body) => {
    const scene = stage.scene("before");
    const earlier = (await scene.backendStatus()).outcomes.client_gone;
    const arrival = scene.arrival();
    const headers = body === undefined ? [] : [["Content-Length", String(body.length)] as const];
    const request = scene.open({ method, headers });
    request.end(body);
    const arrived = await arrival;
    arrived.request.resume();
    await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
    reset(request);
    await seesItsEnd(arrived);
    await expect.poll(() => blamed(scene), REPORTED).toEqual({ gone: earlier + 1, blamed: 0, inFlight: 0 });
  });
});

describe("a client that leaves in the middle of its upload", () => {
  it.each([
    ["with its length", ["Content-Length", "1000000"]],
    ["in chunks", ["Transfer-Encoding", "chunked"]],
  ] as const)("aborts it at the backend by a reset, and nobody is blamed: %s", async (_, framing) => {
    const scene = stage.scene("before");
    const earlier = (await scene.backendStatus()).outcomes.client_gone;
    const arrival = scene.arrival();
    const request = scene.open({ method: "POST", headers: [framing] });
    request.write("the beginning");
    const arrived = await arrival;
    await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
    reset(request);
    await seesItsEnd(arrived);
    expect(arrived.request.complete).toBe(false);
    await expect.poll(() => blamed(scene), REPORTED).toEqual({ gone: earlier + 1, blamed: 0, inFlight: 0 });
  });

  // Nothing but the broken body tells the local runtime of a plain close. One in chunks that breaks off could be the backend's
  // doing too, and so blames nobody either way.
  it.each([
    ["with its length", ["Content-Length", "1000000"]],
    ["in chunks", ["Transfer-Encoding", "chunked"]],
  ] as const)("aborts it at the backend by a plain close, and nobody is blamed: %s", async (_, framing) => {
    const scene = stage.scene("upload");
    const earlier = (await scene.backendStatus()).outcomes.client_gone;
    const arrival = scene.arrival();
    const request = scene.open({ method: "POST", headers: [framing] });
    request.write("the beginning");
    const arrived = await arrival;
    await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
    request.destroy();
    await seesItsEnd(arrived);
    expect(arrived.request.complete).toBe(false);
    await expect.poll(() => blamed(scene), REPORTED).toEqual({ gone: earlier + 1, blamed: 0, inFlight: 0 });
  });
});

describe.each([
  ["by a reset, while the backend is silent", reset, () => {}],
  ["by a plain close", (request: ClientRequest) => request.destroy(), goOnSending],
] as const)("a client that leaves in the middle of its download %s", (_, leave, goOn) => {
  it.each([
    ["an event stream", "during", { "content-type": "text/event-stream" }],
    ["a long body", "during", { "content-length": "100000000" }],
    ["anything from a draining backend", "draining", {}],
  ] as const)("aborts %s at the backend, and ends it here", async (__, name, headers) => {
    const scene = stage.scene(name);
    const arrival = scene.arrival();
    const request = scene.open({ headers: [BOUND] });
    request.end();
    const arrived = await arrival;
    arrived.response.writeHead(200, headers).flushHeaders();
    await responseTo(request);
    await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
    goOn(arrived);
    leave(request);
    await seesItsEnd(arrived);
    await expect.poll(() => blamed(scene), REPORTED).toMatchObject({ blamed: 0, inFlight: 0 });
  });

  it("aborts what passes untouched, too", async () => {
    const scene = stage.scene("during");
    const arrival = scene.arrival();
    const request = scene.open();
    request.end();
    const arrived = await arrival;
    arrived.response.flushHeaders();
    await responseTo(request);
    goOn(arrived);
    leave(request);
    await seesItsEnd(arrived);
    expect(arrived.response.writableFinished).toBe(false);
  });
});

it("leaves other requests alone", async () => {
  const scene = stage.scene("others");
  const first = scene.arrival();
  const leaving = scene.open();
  leaving.end();
  const abandoned = await first;
  const second = scene.arrival();
  const staying = scene.ask();
  const { response } = await second;
  reset(leaving);
  await seesItsEnd(abandoned);
  response.end("still here");
  expect(await staying).toMatchObject({ status: 200, body: Buffer.from("still here") });
});

it("has nothing in flight after a storm of clients that left, and blames nobody", async () => {
  const scene = stage.scene("storm");
  const each = 20;
  const open = new Set<ServerResponse>();
  const arrived = Promise.withResolvers<void>();
  scene.answers((request, response) => {
    open.add(response);
    response.once("close", () => open.delete(response));
    const isStream = request.url === "/stream";
    if (isStream) response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
    if (open.size === 3 * each) arrived.resolve();
  });
  const waiting = Array.from({ length: each }, () => scene.open());
  const streaming = Array.from({ length: each }, () => scene.open({ path: "/stream" }));
  const uploading = Array.from({ length: each }, () =>
    scene.open({ method: "POST", headers: [["Content-Length", "1000000"]] }),
  );
  const streams = streaming.map(responseTo);
  for (const request of [...waiting, ...streaming]) request.end();
  for (const request of uploading) request.write("the beginning");
  await Promise.all([arrived.promise, ...streams]);
  for (const request of [...waiting, ...streaming, ...uploading]) reset(request);
  await expect.poll(() => blamed(scene), REPORTED).toEqual({ gone: 2 * each, blamed: 0, inFlight: 0 });
  // The request that looks after the others lives on for a moment, and with it what it asked of the backend.
  await expect.poll(() => open.size, REPORTED).toBe(0);
});
