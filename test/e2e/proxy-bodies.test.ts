import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import { expect, it, vi } from "vitest";
import { type Header, pairs, responseTo, valuesOf } from "./support-client.ts";
import { edgeMemoryMb } from "./support-memory.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {} });

const MB = 1_000_000;
const BODY_MB = 100;
const LENGTH: Header = ["Content-Length", String(BODY_MB * MB)];
const CHUNKED: Header = ["Transfer-Encoding", "chunked"];

/** An edge that held the body would need as much again. */
const MOST_GROWTH_MB = 60;

/** What is to be sent: different bytes in every megabyte. */
function megabyte(index: number): Buffer {
  const bytes = Buffer.alloc(MB, `megabyte ${index} `);
  bytes.writeUInt32BE(index);
  return bytes;
}

/** Writes megabytes as fast as they are taken; gives their hash, and the most memory the edge ever had. */
async function pour(
  into: Writable,
  count: number,
): Promise<{ readonly hash: string; readonly peakMb: number }> {
  const hash = createHash("sha256");
  let peakMb = 0;
  for (let index = 0; index < count; index++) {
    const bytes = megabyte(index);
    hash.update(bytes);
    if (!into.write(bytes)) await once(into, "drain");
    if (index % 10 === 0) peakMb = Math.max(peakMb, await edgeMemoryMb());
  }
  into.end();
  return { hash: hash.digest("hex"), peakMb };
}

async function hashOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const hash: Hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}

/** Bytes that have left through a socket since this was asked, once no more do. */
async function sentUntilStuck(socket: Socket | null): Promise<number> {
  if (socket === null) throw new Error("the request has no socket yet");
  const left = () => socket.bytesWritten - socket.writableLength;
  const before = left();
  let now = -1;
  await vi.waitFor(
    () => {
      const last = now;
      now = left();
      expect(now).toBe(last);
    },
    { timeout: 10_000, interval: 300 },
  );
  return now - before;
}

const hasNoProc = process.platform !== "linux";

it.skipIf(hasNoProc).each([
  ["with its length", LENGTH],
  ["in chunks", CHUNKED],
])(`uploads ${BODY_MB} MB unchanged, and holds none of it: %s`, async (_, framing) => {
  const scene = stage.scene("any");
  const arrival = scene.arrival();
  const beforeMb = await edgeMemoryMb();
  const upload = scene.open({ method: "PUT", headers: [framing] });
  const poured = pour(upload, BODY_MB);
  const { request, response } = await arrival;
  const received = await hashOf(request);
  response.end();
  const { hash, peakMb } = await poured;
  expect(received).toBe(hash);
  expect(peakMb - beforeMb).toBeLessThan(MOST_GROWTH_MB);
  const framings = pairs(request.rawHeaders).filter(([name]) =>
    /^(?:content-length|transfer-enc)/i.test(name),
  );
  expect(framings).toEqual([framing]);
  expect((await responseTo(upload)).statusCode).toBe(200);
});

it.skipIf(hasNoProc).each([
  ["with its length", LENGTH],
  ["in chunks", CHUNKED],
])(`downloads ${BODY_MB} MB unchanged, and holds none of it: %s`, async (_, framing) => {
  const scene = stage.scene("any");
  const arrival = scene.arrival();
  const beforeMb = await edgeMemoryMb();
  const download = scene.open();
  download.end();
  const { response } = await arrival;
  response.writeHead(200, framing === LENGTH ? [...LENGTH] : []);
  const poured = pour(response, BODY_MB);
  const got = await responseTo(download);
  const received = await hashOf(got);
  const { hash, peakMb } = await poured;
  expect(received).toBe(hash);
  expect(peakMb - beforeMb).toBeLessThan(MOST_GROWTH_MB);
  expect(valuesOf(pairs(got.rawHeaders), framing[0])).toEqual([framing[1]]);
});

it.skipIf(hasNoProc).each([
  ["that is followed to its end", LENGTH],
  ["that passes untouched", CHUNKED],
])("lets a slow reader slow the backend down, and holds no download %s", async (_, framing) => {
  const scene = stage.scene("any");
  const arrival = scene.arrival();
  const beforeMb = await edgeMemoryMb();
  const download = scene.open();
  download.end();
  const { request, response } = await arrival;
  response.writeHead(200, framing === LENGTH ? [...LENGTH] : []);
  const poured = pour(response, BODY_MB);
  const got = await responseTo(download);
  // Nobody reads. Once what lies between both ends is full, the backend cannot get rid of anything more.
  expect(await sentUntilStuck(request.socket)).toBeLessThan((BODY_MB * MB) / 2);
  expect((await edgeMemoryMb()) - beforeMb).toBeLessThan(MOST_GROWTH_MB);
  expect(await hashOf(got)).toBe((await poured).hash);
});

it.skipIf(hasNoProc)("lets a slow backend slow the client down, and holds no upload", async () => {
  const scene = stage.scene("any");
  const arrival = scene.arrival();
  const beforeMb = await edgeMemoryMb();
  const upload = scene.open({ method: "PUT", headers: [LENGTH] });
  const poured = pour(upload, BODY_MB);
  const { request, response } = await arrival;
  expect(await sentUntilStuck(upload.socket)).toBeLessThan((BODY_MB * MB) / 2);
  expect((await edgeMemoryMb()) - beforeMb).toBeLessThan(MOST_GROWTH_MB);
  expect(await hashOf(request)).toBe((await poured).hash);
  response.end();
  expect((await responseTo(upload)).statusCode).toBe(200);
});

it.each(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PROPFIND"])(
  "sends the body of a %s on with its length",
  async (method) => {
    const got = await stage.scene("any").delivers({ method, body: "a query" });
    expect(got.method).toBe(method);
    expect(got.body.toString()).toBe("a query");
    expect(valuesOf(got.headers, "content-length")).toEqual(["7"]);
  },
);

it("serves a GET that says it has a body of no bytes", async () => {
  const got = await stage.scene("any").delivers({ headers: [["Content-Length", "0"]] });
  expect(got).toMatchObject({ method: "GET", body: Buffer.alloc(0) });
});

it("sends a POST without a body on as one", async () => {
  const got = await stage.scene("any").delivers({ method: "POST", body: "" });
  expect(got).toMatchObject({ method: "POST", body: Buffer.alloc(0) });
  expect(valuesOf(got.headers, "content-length")).toEqual(["0"]);
});
