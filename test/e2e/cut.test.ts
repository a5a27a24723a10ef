import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { beforeAll, describe, expect, it } from "vitest";
import { responseTo } from "./support-client.ts";
import { BOUND, bindAndDrain, STICKY } from "./support-drain.ts";
import { raiseStage, type Scene, seesItsEnd } from "./support-stage.ts";

const IDLE_MS = 400;

const stage = raiseStage({
  any: {},
  draining: STICKY,
  idle: { bodyIdleTimeoutMs: IDLE_MS },
  lively: { bodyIdleTimeoutMs: IDLE_MS },
  slow: { bodyIdleTimeoutMs: IDLE_MS },
});

beforeAll(() => bindAndDrain(stage.scene("draining")));

/** Long enough for the edge's next report. */
const REPORTED = { timeout: 5_000 };

interface Begun {
  readonly response: ServerResponse;
  readonly got: IncomingMessage;
}

/** Opens a request whose answer has begun with a few bytes. */
async function begin(scene: Scene, headers: Readonly<Record<string, string>>, path = "/"): Promise<Begun> {
  const arrival = scene.arrival();
  const request = scene.open({ path, headers: [BOUND] });
  request.end();
  const { response } = await arrival;
  response.writeHead(200, headers).write("the beginning");
  const got = await responseTo(request);
  got.on("error", () => {});
  got.resume();
  return { response, got };
}

/** Resolves when there is no more to come, whether that is all or not. */
function ended(got: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    got.once("close", resolve);
  });
}

async function seen(scene: Scene): Promise<unknown> {
  const { outcomes, inFlight } = await scene.backendStatus();
  return { cut: outcomes.cut, gone: outcomes.client_gone, inFlight };
}

const FOLLOWED = [
  ["an event stream", "any", { "content-type": "text/event-stream" }],
  ["a long body", "any", { "content-length": "100000000" }],
  ["a body in chunks from a draining backend", "draining", {}],
  ["a short body from a draining backend", "draining", { "content-length": "5000" }],
] as const;

const UNTOUCHED = [
  ["a short body", "any", { "content-length": "5000" }],
  ["a body in chunks", "any", {}],
] as const;

const WAYS = [
  ["closes", (response: ServerResponse) => response.socket?.end()],
  ["resets", (response: ServerResponse) => response.socket?.resetAndDestroy()],
] as const;

describe.each(WAYS)("a backend that %s its connection in the middle of its answer", (_, breakOff) => {
  it.each(FOLLOWED)("shows that to the client, and is blamed: %s", async (__, name, headers) => {
    const scene = stage.scene(name);
    const before = await scene.backendStatus();
    const { response, got } = await begin(scene, headers);
    breakOff(response);
    await ended(got);
    expect(got.complete).toBe(false);
    await expect
      .poll(() => seen(scene), REPORTED)
      .toEqual({ cut: before.outcomes.cut + 1, gone: 0, inFlight: 0 });
  });

  it.each(UNTOUCHED)("shows that to the client: %s", async (__, name, headers) => {
    const { response, got } = await begin(stage.scene(name), headers);
    breakOff(response);
    await ended(got);
    expect(got.complete).toBe(false);
  });
});

describe("a backend that falls silent in the middle of its answer", () => {
  it.each([
    ["an event stream", { "content-type": "text/event-stream" }],
    ["a long body", { "content-length": "100000000" }],
  ])("is cut off and blamed, and the client sees that: %s", async (_, headers) => {
    const scene = stage.scene("idle");
    const before = await scene.backendStatus();
    const { response, got } = await begin(scene, headers);
    await Promise.all([ended(got), seesItsEnd({ request: response.req, response })]);
    expect(got.complete).toBe(false);
    await expect
      .poll(() => seen(scene), REPORTED)
      .toEqual({ cut: before.outcomes.cut + 1, gone: 0, inFlight: 0 });
  });

  it("is not, while it says something now and then", async () => {
    const scene = stage.scene("lively");
    const { response, got } = await begin(scene, { "content-type": "text/event-stream" });
    let left = 10;
    const timer = setInterval(() => {
      if (left-- > 0) response.write(":\n\n");
      else {
        clearInterval(timer);
        response.end();
      }
    }, IDLE_MS / 4);
    await once(got, "end");
    expect(got.complete).toBe(true);
    await expect.poll(() => seen(scene), REPORTED).toMatchObject({ cut: 0, inFlight: 0 });
  });
});

it("waits for a client that reads slowly, and blames nobody", async () => {
  const scene = stage.scene("slow");
  const body = Buffer.alloc(30_000_000, "long ");
  scene.answers((_, response) => response.writeHead(200, { "content-length": body.length }).end(body));
  const request = scene.open();
  request.end();
  const got = await responseTo(request);
  // It takes nothing until several idle timeouts have gone by, in syncs that other requests bring.
  await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
  const since = performance.now();
  await expect
    .poll(() => scene.inFlight().then(() => performance.now() - since), REPORTED)
    .toBeGreaterThan(4 * IDLE_MS);
  let bytes = 0;
  for await (const chunk of got) bytes += (chunk as Buffer).length;
  expect(bytes).toBe(body.length);
  await expect.poll(() => seen(scene), REPORTED).toEqual({ cut: 0, gone: 0, inFlight: 0 });
});
