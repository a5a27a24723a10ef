import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { beforeAll, expect, it } from "vitest";
import { type Header, namesOf, pairs, valuesOf } from "./support-client.ts";
import { raiseStage, type Scene } from "./support-stage.ts";
import { agree, openWebSocket, type WebSocketEnd } from "./support-websocket.ts";

const stage = raiseStage({ any: {}, counted: {} });

// For a client that can send no other host than the edge's own.
beforeAll(() => stage.admin.do("PUT", "/routes/any-host", { pool: "any" }));

/** Long enough for the edge's next report. */
const REPORTED = { timeout: 5_000 };

interface Ends {
  readonly client: WebSocketEnd;
  readonly server: WebSocketEnd;
  /** Of the handshake, as the backend got them. */
  readonly asked: readonly Header[];
  /** Of the 101, as the client got them. */
  readonly agreed: readonly Header[];
}

/** Opens a WebSocket through the edge and gives both its ends. */
async function connect(
  scene: Scene,
  asking: readonly Header[] = [],
  agreeing: readonly Header[] = [],
): Promise<Ends> {
  const accepted = new Promise<Pick<Ends, "server" | "asked">>((resolve) => {
    scene.upgrades((request, socket, head) =>
      resolve({ server: agree(request, socket, head, agreeing), asked: pairs(request.rawHeaders) }),
    );
  });
  const { end: client, headers: agreed } = await openWebSocket(scene.edgeUrl, scene.host, asking);
  return { client, agreed, ...(await accepted) };
}

const SIDES = [
  ["client", "server"],
  ["server", "client"],
] as const;

const BROKEN = { kind: "close", code: 1011, reason: "the other side broke off" };

it.each(SIDES)("carries text from %s to %s, one message at a time", async (from, to) => {
  const ends = await connect(stage.scene("any"));
  const messages = ["hello", "", "\u20ac \u{1f3aa} \u0000", "x".repeat(70_000)];
  for (const text of messages) ends[from].send(text);
  for (const text of messages) expect(await ends[to].next()).toEqual({ kind: "text", text });
  ends.client.close(1000);
});

it.each(SIDES)("carries bytes from %s to %s as bytes", async (from, to) => {
  const ends = await connect(stage.scene("any"));
  const messages = [Buffer.from([0, 255, 128, 10]), Buffer.alloc(0), randomBytes(900_000)];
  for (const bytes of messages) ends[from].send(bytes);
  for (const bytes of messages) {
    const arrival = await ends[to].next();
    expect(arrival.kind).toBe("binary");
    expect("bytes" in arrival && arrival.bytes.equals(bytes)).toBe(true);
  }
  ends.client.close(1000);
});

it.each(SIDES)("delivers what %s said before it closed", async (from, to) => {
  const ends = await connect(stage.scene("any"));
  ends[from].send("last words");
  ends[from].close(1000, "done");
  expect(await ends[to].next()).toEqual({ kind: "text", text: "last words" });
  expect(await ends[to].next()).toEqual({ kind: "close", code: 1000, reason: "done" });
});

it.each(SIDES)("delivers to %s what %s says after it was told to close", async (from, to) => {
  const ends = await connect(stage.scene("any"));
  ends[to].answersClose = false;
  ends[from].close(1000);
  expect(await ends[to].next()).toEqual({ kind: "close", code: 1000, reason: "" });
  ends[to].send("one more thing");
  ends[to].close(4002, "now");
  expect(await ends[from].next()).toEqual({ kind: "text", text: "one more thing" });
  expect(await ends[from].next()).toEqual({ kind: "close", code: 4002, reason: "now" });
  expect(await ends[from].next()).toEqual({ kind: "ended" });
});

it.each(
  SIDES.flatMap(([from, to]) =>
    (
      [
        [1000, "", 1000],
        [1000, "bye \u20ac", 1000],
        [1001, "going away", 1001],
        [3000, "", 3000],
        [4001, "r".repeat(123), 4001],
        [undefined, "", null],
      ] as const
    ).map(([code, reason, seen]) => [from, to, code, reason, seen] as const),
  ),
)("tells why %s closes to %s: %s %s", async (from, to, code, reason, seen) => {
  const ends = await connect(stage.scene("any"));
  ends[from].close(code, reason);
  expect(await ends[to].next()).toEqual({ kind: "close", code: seen, reason });
  expect(await ends[from].next()).toEqual({ kind: "close", code: seen, reason });
  expect(await ends.client.next()).toEqual({ kind: "ended" });
  expect(await ends.server.next()).toEqual({ kind: "ended" });
});

// Codes that no frame may carry, and a reason whose every byte becomes three when it is read as UTF-8.
it.each(
  SIDES.flatMap(([from, to]) =>
    (
      [
        [999, ""],
        [1004, ""],
        [1006, ""],
        [1015, ""],
        [5000, ""],
        [1000, Buffer.alloc(123, 0xff)],
      ] as const
    ).map(([code, reason]) => [from, to, code, reason] as const),
  ),
)("ends both when %s closes to %s in a way that cannot be repeated: %i", async (from, to, code, reason) => {
  const ends = await connect(stage.scene("any"));
  ends[from].close(code, reason);
  expect(await ends[to].next()).toEqual(BROKEN);
  expect(await ends[from].next()).toEqual(BROKEN);
  expect(await ends[to].next()).toEqual({ kind: "ended" });
});

it.each(SIDES.flatMap(([from, to]) => [[from, to, "hangUp"] as const, [from, to, "reset"] as const]))(
  "tells the other when %s breaks off without a word to %s: %s",
  async (from, to, how) => {
    const ends = await connect(stage.scene("any"));
    ends[from][how]();
    expect(await ends[to].next()).toEqual(BROKEN);
    expect(await ends[to].next()).toEqual({ kind: "ended" });
  },
);

it("agrees on the subprotocol that the backend chose", async () => {
  const { asked, agreed, client } = await connect(
    stage.scene("any"),
    [["Sec-WebSocket-Protocol", "chat.v1, chat.v2"]],
    [["Sec-WebSocket-Protocol", "chat.v2"]],
  );
  expect(valuesOf(asked, "sec-websocket-protocol")).toEqual(["chat.v1, chat.v2"]);
  expect(valuesOf(agreed, "sec-websocket-protocol")).toEqual(["chat.v2"]);
  client.close(1000);
});

it("treats the handshake's headers like those of any request and response", async () => {
  const { asked, agreed, client } = await connect(
    stage.scene("any"),
    [
      ["Cookie", "a=1"],
      ["Origin", "https://shop.example"],
      ["X-Forwarded-For", "192.0.2.1"],
      ["CF-Connecting-IP", "203.0.113.9"],
      ["MF-CF-Blob", "{}"],
    ],
    [
      ["Set-Cookie", "a=1; Path=/"],
      ["Set-Cookie", "b=2"],
      ["X-Session", "s"],
      ["Alt-Svc", 'h3=":443"'],
    ],
  );
  expect(valuesOf(asked, "cookie")).toEqual(["a=1"]);
  expect(valuesOf(asked, "origin")).toEqual(["https://shop.example"]);
  expect(valuesOf(asked, "x-forwarded-for")).toEqual(["203.0.113.9"]);
  expect(namesOf(asked)).not.toContain("mf-cf-blob");
  expect(namesOf(asked)).toContain("via");
  expect(valuesOf(agreed, "set-cookie")).toEqual(["a=1; Path=/", "b=2"]);
  expect(valuesOf(agreed, "x-session")).toEqual(["s"]);
  expect(namesOf(agreed)).not.toContain("alt-svc");
  client.close(1000);
});

it("passes on a backend's refusal to open one", async () => {
  const scene = stage.scene("any");
  scene.upgrades((_, socket) =>
    socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"),
  );
  await expect(openWebSocket(scene.edgeUrl, scene.host)).rejects.toThrow("status 403");
});

it("answers 502 when the backend hangs up instead", async () => {
  const scene = stage.scene("any");
  scene.upgrades((_, socket) => socket.destroy());
  await expect(openWebSocket(scene.edgeUrl, scene.host)).rejects.toThrow("status 502");
});

it("serves a client that compresses, in both directions", async () => {
  const scene = stage.scene("any");
  scene.upgrades((request, socket, head) => {
    const server = agree(request, socket, head);
    void server.next().then((arrival) => {
      server.send("text" in arrival ? arrival.text : "no text came");
      server.close(4003, "enough");
    });
  });
  // The client of Node offers permessage-deflate, as browsers do.
  const client = new WebSocket(stage.edgeUrl.replace("http", "ws"));
  await once(client, "open");
  const message = once(client, "message");
  const closed = once(client, "close");
  const text = "the same words again and again. ".repeat(3_000);
  client.send(text);
  expect((await message)[0].data).toBe(text);
  expect((await closed)[0]).toMatchObject({ code: 4003, reason: "enough", wasClean: true });
});

it.each([
  ["client", "closes", (ends: Ends) => ends.client.close(1000)],
  ["server", "closes", (ends: Ends) => ends.server.close(4001, "bye")],
  ["client", "closes with a code that may not be sent", (ends: Ends) => ends.client.close(999)],
  ["client", "hangs up", (ends: Ends) => ends.client.hangUp()],
  ["server", "hangs up", (ends: Ends) => ends.server.hangUp()],
  ["client", "resets its connection", (ends: Ends) => ends.client.reset()],
  ["server", "resets its connection", (ends: Ends) => ends.server.reset()],
] as const)("is in flight from its handshake until the %s %s", async (_side, _how, end) => {
  const scene = stage.scene("counted");
  const ends = await connect(scene);
  await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
  end(ends);
  await expect.poll(() => scene.inFlight(), REPORTED).toBe(0);
});

it("is in flight no longer when the client broke off and the backend does not care", async () => {
  const scene = stage.scene("counted");
  const { client, server } = await connect(scene);
  server.answersClose = false;
  await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
  client.reset();
  expect(await server.next()).toEqual(BROKEN);
  await expect.poll(() => scene.inFlight(), REPORTED).toBe(0);
  server.hangUp();
});

it.each([
  ["until the backend answers", (server: Ends["server"]) => server.close(1000), { code: 1000 }],
  ["for 5 s at most, if the backend never answers", () => {}, { code: 1011 }],
] as const)("stays in flight after the client's close %s", async (_, answer, told) => {
  const scene = stage.scene("counted");
  const { client, server } = await connect(scene);
  server.answersClose = false;
  client.close(1000);
  expect(await server.next()).toMatchObject({ kind: "close" });
  await expect.poll(() => scene.inFlight(), REPORTED).toBe(1);
  answer(server);
  await expect.poll(() => scene.inFlight(), { ...REPORTED, timeout: 10_000 }).toBe(0);
  expect(await client.next()).toMatchObject({ kind: "close", ...told });
  server.hangUp();
});
