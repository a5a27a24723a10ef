import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { expect, it } from "vitest";
import { responseTo } from "./support-client.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {} });

/** Reads on until `count` bytes have come. Each test sends the next only then, so nothing may be held back. */
async function read(stream: IncomingMessage, count: number): Promise<string> {
  for (;;) {
    const bytes: Buffer | null = stream.read(count);
    if (bytes !== null) return bytes.toString();
    await once(stream, "readable");
  }
}

it.each([
  ["an event stream", { "content-type": "text/event-stream" }],
  [
    "an event stream with a charset, in other letters",
    { "content-type": "Text/Event-Stream; charset=utf-8" },
  ],
  ["a body in chunks", { "content-type": "application/json" }],
  ["a long body with a length", { "content-length": "400000" }],
  ["a short body with a length", { "content-length": "400" }],
  ["a compressed event stream", { "content-type": "text/event-stream", "content-encoding": "gzip" }],
])("passes on every piece of %s before the backend sends the next", async (_, headers) => {
  const scene = stage.scene("any");
  const arrival = scene.arrival();
  const request = scene.open();
  request.end();
  const { response } = await arrival;
  response.writeHead(200, headers);
  response.flushHeaders();
  const got = await responseTo(request);
  for (let index = 0; index < 10; index++) {
    const event = `data: ${index}\n\n`;
    response.write(event);
    expect(await read(got, event.length)).toBe(event);
  }
  request.destroy();
});

it.each([
  ["in chunks", ["Transfer-Encoding", "chunked"]],
  ["with its length", ["Content-Length", "400000"]],
] as const)("lets both sides speak at once, each word after the other's: %s", async (_, framing) => {
  const scene = stage.scene("any");
  const arrival = scene.arrival();
  const client = scene.open({ method: "POST", headers: [framing] });
  client.flushHeaders();
  const { request, response } = await arrival;
  response.flushHeaders();
  const got = await responseTo(client);
  for (let index = 0; index < 10; index++) {
    client.write(`ask ${index}\n`);
    expect(await read(request, 6)).toBe(`ask ${index}\n`);
    response.write(`say ${index}\n`);
    expect(await read(got, 6)).toBe(`say ${index}\n`);
  }
  client.destroy();
});

it("lets a backend answer before it has read the body", async () => {
  const scene = stage.scene("any");
  scene.answers((request, response) => {
    response.writeHead(413, { connection: "close" }).end("too much");
    request.resume();
  });
  const client = scene.open({ method: "POST", headers: [["Content-Length", "400000"]] });
  client.write("the beginning");
  const got = await responseTo(client);
  expect(got.statusCode).toBe(413);
  expect(await read(got, 8)).toBe("too much");
  client.destroy();
});
