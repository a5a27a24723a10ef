import { beforeAll, expect, it } from "vitest";
import { problemIn } from "./support-problem.ts";
import { raiseStage } from "./support-stage.ts";
import { agree, openWebSocket, type WebSocketEnd } from "./support-websocket.ts";

const stage = raiseStage({ total: {}, body: {}, socket: {} });

// Before the first request, since an isolate notices a new route only at its next refresh.
beforeAll(async () => {
  const retry = { totalTimeoutMs: 500 };
  await stage.admin.do("PATCH", "/routes/total", { retry });
  await stage.admin.do("PATCH", "/routes/body", { bodyIdleTimeoutMs: 300 });
  await stage.admin.do("PATCH", "/routes/socket", { webSocketIdleTimeoutMs: 300 });
});

/** What it comes to, and how long that took. */
async function timed<Value>(work: Promise<Value>): Promise<readonly [Value, number]> {
  const beganMs = performance.now();
  return [await work, performance.now() - beganMs];
}

it("ends a request when its route's total time is up, though its pool's is longer", async () => {
  const scene = stage.scene("total");
  scene.answers(() => {});
  const [answer, tookMs] = await timed(scene.ask());
  expect(problemIn(answer)).toEqual([504, "Backend timed out"]);
  expect(tookMs).toBeGreaterThan(450);
  expect(tookMs).toBeLessThan(3_000);
});

it("cuts a response off that is silent for longer than its route allows", async () => {
  const scene = stage.scene("body");
  const closed = new Promise((resolve) => {
    scene.answers((_, response) => {
      response.once("close", resolve);
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
    });
  });
  await expect(scene.ask()).rejects.toThrow("aborted");
  await closed;
  await expect
    .poll(() => scene.backendStatus(), { timeout: 5_000 })
    .toMatchObject({ inFlight: 0, outcomes: { answered: expect.any(Number), cut: 1 } });
});

it("closes a WebSocket that is silent for longer than its route allows", async () => {
  const scene = stage.scene("socket");
  const accepted = new Promise<WebSocketEnd>((resolve) => {
    scene.upgrades((request, socket, head) => resolve(agree(request, socket, head)));
  });
  const { end: client } = await openWebSocket(scene.edgeUrl, scene.host);
  const server = await accepted;
  const idle = { kind: "close", code: 1001, reason: "idle for too long" };
  expect(await Promise.all([client.next(), server.next()])).toEqual([idle, idle]);
});
