import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { PoolStatus } from "../../durable/model/view.ts";
import { responseTo } from "./support-client.ts";
import { raiseStage, type Scene } from "./support-stage.ts";
import { agree, openWebSocket, type WebSocketEnd } from "./support-websocket.ts";

const stage = raiseStage({
  download: {},
  slow: {},
  socket: {},
  short: {},
  idle: { webSocketIdleTimeoutMs: 400 },
  closing: { closeSocketsAtDeadline: true },
  staying: {},
  again: { settleMs: 500, sync: { refreshMs: 500, leaseMs: 1_000, waitMs: 500 } },
  removed: { closeSocketsAtDeadline: true },
  deleted: { closeSocketsAtDeadline: true },
});

/** Longer than the longest lease that is granted here. */
const PATIENT = { timeout: 10_000 };

/** What the ring knows, asked of itself: no request goes through the edge. */
async function status(scene: Scene): Promise<PoolStatus> {
  const { body } = await scene.admin.do("GET", `/pools/${scene.name}/status`);
  return body;
}

async function inFlight(scene: Scene): Promise<number | undefined> {
  return (await status(scene)).backends[0]?.inFlight;
}

/** What is known of isolates and of what is open. */
async function known(scene: Scene): Promise<unknown> {
  const { backends, convergence } = await status(scene);
  return {
    inFlight: backends[0]?.inFlight,
    isolates: convergence.isolates,
    outstanding: convergence.outstandingIsolates,
  };
}

/** Changes the pool several times; each time the isolate has to say that it knows, since nobody else can. */
async function learnsOfChanges(scene: Scene): Promise<void> {
  for (const weight of [2, 3, 4, 5]) {
    await scene.admin.do("PATCH", `/pools/${scene.name}/backends/b`, { weight });
    expect(await known(scene)).toMatchObject({ outstanding: 1 });
    await expect.poll(() => known(scene), PATIENT).toEqual({ inFlight: 1, isolates: 1, outstanding: 0 });
  }
}

async function connect(
  scene: Scene,
): Promise<{ readonly client: WebSocketEnd; readonly server: WebSocketEnd }> {
  const accepted = new Promise<WebSocketEnd>((resolve) => {
    scene.upgrades((request, socket, head) => resolve(agree(request, socket, head)));
  });
  const { end: client } = await openWebSocket(scene.edgeUrl, scene.host);
  return { client, server: await accepted };
}

describe("an isolate without other requests keeps its lease, reports, and learns of changes", () => {
  it("while a download is open", async () => {
    const scene = stage.scene("download");
    const arrival = scene.arrival();
    const request = scene.open();
    request.end();
    const { response } = await arrival;
    response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
    const got = await responseTo(request);
    got.resume();
    await expect.poll(() => inFlight(scene), PATIENT).toBe(1);
    await learnsOfChanges(scene);
    response.end();
    await once(got, "end");
    await expect.poll(() => known(scene), PATIENT).toEqual({ inFlight: 0, isolates: 1, outstanding: 0 });
    // Then it falls silent, and its lease runs out.
    await expect.poll(() => known(scene), PATIENT).toEqual({ inFlight: 0, isolates: 0, outstanding: 0 });
  });

  it("while a backend is slow to answer", async () => {
    const scene = stage.scene("slow");
    const arrival = scene.arrival();
    const answer = scene.ask();
    const { response } = await arrival;
    await expect.poll(() => inFlight(scene), PATIENT).toBe(1);
    await learnsOfChanges(scene);
    response.end("late");
    expect(await answer).toMatchObject({ status: 200 });
    await expect.poll(() => known(scene), PATIENT).toEqual({ inFlight: 0, isolates: 1, outstanding: 0 });
  });

  it("while a WebSocket is open", async () => {
    const scene = stage.scene("socket");
    const { client } = await connect(scene);
    await expect.poll(() => inFlight(scene), PATIENT).toBe(1);
    await learnsOfChanges(scene);
    client.close(1000);
    await expect.poll(() => known(scene), PATIENT).toEqual({ inFlight: 0, isolates: 1, outstanding: 0 });
  });
});

it("takes back what it told of short requests, when no other comes", async () => {
  const scene = stage.scene("short");
  const first = scene.arrival();
  const answer = scene.ask();
  const { response } = await first;
  await expect.poll(() => scene.inFlight(), PATIENT).toBe(1);
  response.end("done");
  await answer;
  await expect.poll(() => known(scene), PATIENT).toEqual({ inFlight: 0, isolates: 1, outstanding: 0 });
});

/** So long an isolate has surely asked, and knows of a change. */
const ASKED_MS = 3_000;

async function deletePool(scene: Scene): Promise<void> {
  await scene.admin.do("DELETE", `/routes/${scene.name}`);
  await scene.admin.do("DELETE", `/pools/${scene.name}`);
}

it("tells a pool that is deleted and made again what has been open all the while, so it is not safe to stop", async () => {
  const scene = stage.scene("again");
  const { admin, backend } = scene;
  const { client, server } = await connect(scene);
  await expect.poll(() => inFlight(scene), PATIENT).toBe(1);
  const { body: document } = await admin.do("GET", "/pools/again");
  await deletePool(scene);
  await sleep(ASKED_MS);
  await admin.do("PUT", "/pools/again", document);
  await drain(scene, 0);
  const receipt = (wait: string) =>
    admin.do("GET", `/pools/again/backends/${backend.id}/receipt?wait=${wait}`);
  expect((await receipt("6s")).body).toMatchObject({ state: "expired", safe: false, inFlight: 1 });
  server.send("still open");
  expect(await client.next()).toEqual({ kind: "text", text: "still open" });
  client.close(1000);
  expect((await receipt("20s")).body).toMatchObject({ state: "safe", inFlight: 0 });
}, 45_000);

const IDLE = { kind: "close", code: 1001, reason: "idle for too long" };

describe("a WebSocket that is idle for too long", () => {
  it("is closed on both sides, and nobody is blamed", async () => {
    const scene = stage.scene("idle");
    const { client, server } = await connect(scene);
    expect(await Promise.all([client.next(), server.next()])).toEqual([IDLE, IDLE]);
    expect(await Promise.all([client.next(), server.next()])).toEqual([{ kind: "ended" }, { kind: "ended" }]);
    await expect.poll(() => inFlight(scene), PATIENT).toBe(0);
    const [backend] = (await status(scene)).backends;
    expect(backend?.outcomes).toMatchObject({ cut: 0, unreachable: 0, timed_out: 0 });
  });

  it.each(["client", "server"] as const)("is not, while the %s speaks", async (side) => {
    const ends = await connect(stage.scene("idle"));
    const other = side === "client" ? ends.server : ends.client;
    for (let index = 0; index < 10; index++) {
      setTimeout(() => ends[side].send("still here"), 100);
      expect(await other.next()).toEqual({ kind: "text", text: "still here" });
    }
    expect(await other.next()).toEqual(IDLE);
  });

  it("is over soon, when the backend does not answer", async () => {
    const scene = stage.scene("idle");
    const { server } = await connect(scene);
    server.answersClose = false;
    expect(await server.next()).toEqual(IDLE);
    await expect.poll(() => inFlight(scene), PATIENT).toBe(0);
    server.hangUp();
  });
});

function drain(scene: Scene, forMs: number): Promise<unknown> {
  return scene.admin.do("POST", `/pools/${scene.name}/backends/b/drain`, { forMs, force: true });
}

const ASIDE = { kind: "close", code: 1001, reason: "the server is taken out of service" };

describe("when a backend admits nothing any more, because its drain is over", () => {
  it("closes every socket that is open there, if the pool wants that, and not before", async () => {
    const scene = stage.scene("closing");
    const opened = [await connect(scene), await connect(scene), await connect(scene)];
    await drain(scene, 3_600_000);
    await expect.poll(() => known(scene), PATIENT).toMatchObject({ inFlight: 3, outstanding: 0 });
    for (const { client, server } of opened) {
      client.send("still open");
      expect(await server.next()).toEqual({ kind: "text", text: "still open" });
    }
    await drain(scene, 0);
    for (const { client, server } of opened)
      expect(await Promise.all([client.next(), server.next()])).toEqual([ASIDE, ASIDE]);
    await expect.poll(() => inFlight(scene), PATIENT).toBe(0);
  });

  it("closes them when the backend is removed", async () => {
    const scene = stage.scene("removed");
    const { client, server } = await connect(scene);
    await expect.poll(() => inFlight(scene), PATIENT).toBe(1);
    await scene.admin.do("DELETE", "/pools/removed/backends/b", { force: true });
    expect(await Promise.all([client.next(), server.next()])).toEqual([ASIDE, ASIDE]);
  });

  it("closes them when its pool is deleted", async () => {
    const scene = stage.scene("deleted");
    const { client, server } = await connect(scene);
    await expect.poll(() => inFlight(scene), PATIENT).toBe(1);
    await deletePool(scene);
    expect(await Promise.all([client.next(), server.next()])).toEqual([ASIDE, ASIDE]);
  });

  it("leaves them open otherwise", async () => {
    const scene = stage.scene("staying");
    const { client, server } = await connect(scene);
    await drain(scene, 0);
    await expect.poll(() => known(scene), PATIENT).toEqual({ inFlight: 1, isolates: 1, outstanding: 0 });
    server.send("still open");
    expect(await client.next()).toEqual({ kind: "text", text: "still open" });
    client.close(1000);
  });
});
