import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type Answer, valuesOf } from "./support-client.ts";
import { raiseStage } from "./support-stage.ts";
import { agree, openWebSocket } from "./support-websocket.ts";

const SESSIONS = { affinity: [{ by: "token" }], tokens: { cookie: { name: "s", secure: false } } };
const stage = raiseStage({ sessions: SESSIONS });

/** The cookie that a token is in. */
const TOKEN = /^s=[\w-]{55}; Path=\/; HttpOnly; SameSite=Lax$/;

const GZIPPED = gzipSync("compressed by the backend");

describe("a first answer brings its token", () => {
  it.each([
    ["GET", 200, {}, "a body"],
    ["HEAD", 200, { "content-length": "6" }, undefined],
    ["POST", 201, { location: "/made" }, "made"],
    ["GET", 204, {}, undefined],
    ["GET", 302, { location: "/elsewhere" }, undefined],
    ["GET", 304, { etag: '"1"' }, undefined],
    ["GET", 404, {}, "not here"],
    ["GET", 500, {}, "a fault of its own"],
    ["GET", 200, { "content-encoding": "gzip" }, GZIPPED],
    ["GET", 200, { "content-type": "text/event-stream" }, "data: 1\n\n"],
    ["GET", 200, { "content-length": "300000" }, "x".repeat(300_000)],
  ] as const)("%s, %i with %j", async (method, status, headers, body) => {
    const scene = stage.scene("sessions");
    scene.answers((request, response) => {
      request.resume();
      response.writeHead(status, { ...headers, "set-cookie": ["a=1", "b=2"] }).end(body);
    });
    const answer = await scene.ask({ method });
    expect(answer.status).toBe(status);
    const cookies = valuesOf(answer.headers, "set-cookie");
    expect(cookies.slice(0, 2)).toEqual(["a=1", "b=2"]);
    expect(cookies.slice(2)).toEqual([expect.stringMatching(TOKEN)]);
    for (const [name, value] of Object.entries(headers))
      expect(valuesOf(answer.headers, name)).toEqual([value]);
    expect(answer.body).toEqual(Buffer.from(method === "HEAD" ? "" : (body ?? "")));
  });

  it("a WebSocket", async () => {
    const scene = stage.scene("sessions");
    scene.upgrades((request, socket, head) => agree(request, socket, head));
    const opened = await openWebSocket(scene.edgeUrl, scene.host);
    expect(valuesOf(opened.headers, "set-cookie")).toEqual([expect.stringMatching(TOKEN)]);
    opened.end.close(1000);
  });
});

it("sets no token again for a client that has one, and none with an answer of ours", async () => {
  const scene = stage.scene("sessions");
  scene.answers((_, response) => response.end("fine"));
  const [cookie = ""] = valuesOf((await scene.ask()).headers, "set-cookie");
  const headers = [["Cookie", cookie.split(";", 1)[0] ?? ""]] as const;
  expect(valuesOf((await scene.ask({ headers })).headers, "set-cookie")).toEqual([]);
  scene.answers((_, response) => response.destroy());
  const failed: Answer = await scene.ask();
  expect(failed.status).toBe(502);
  expect(valuesOf(failed.headers, "set-cookie")).toEqual([]);
});
