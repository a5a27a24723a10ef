import { randomBytes } from "node:crypto";
import {
  brotliCompressSync,
  brotliDecompressSync,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateSync,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { valuesOf } from "./support-client.ts";
import { BOUND, bindAndDrain, STICKY } from "./support-drain.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {}, draining: STICKY });

beforeAll(() => bindAndDrain(stage.scene("draining")));

const CODINGS = {
  br: { compress: brotliCompressSync, decompress: brotliDecompressSync },
  deflate: { compress: deflateSync, decompress: inflateSync },
  gzip: { compress: gzipSync, decompress: gunzipSync },
  zstd: { compress: zstdCompressSync, decompress: zstdDecompressSync },
} as const;

const SHORT = Buffer.from("a few words ".repeat(50));
/** Random, so it stays over the 256 kB from which on a body is followed. */
const LONG = randomBytes(400_000);

describe.each([
  ["untouched", "any", SHORT, []],
  ["without a header it must not have", "any", SHORT, ["Alt-Svc", "h3"]],
  ["followed for its length", "any", LONG, []],
  ["followed on a draining backend", "draining", SHORT, []],
  ["followed as a stream of events", "any", SHORT, ["Content-Type", "text/event-stream"]],
] as const)("a compressed body that is passed on %s", (_, name, plain, headers) => {
  it.each(["br", "deflate", "gzip", "zstd"] as const)("keeps every byte: %s", async (coding) => {
    const { compress, decompress } = CODINGS[coding];
    const body = compress(plain);
    const scene = stage.scene(name);
    scene.answers((__, response) => {
      const length = String(body.length);
      response.writeHead(200, ["Content-Encoding", coding, "Content-Length", length, ...headers]).end(body);
    });
    const got = await scene.ask({ headers: [BOUND, ["Accept-Encoding", coding]] });
    expect(valuesOf(got.headers, "content-encoding")).toEqual([coding]);
    expect(valuesOf(got.headers, "content-length")).toEqual([String(body.length)]);
    expect(got.body.equals(body)).toBe(true);
    expect(decompress(got.body).equals(plain)).toBe(true);
  });
});

it.each(["br", "deflate", "gzip", "zstd"] as const)(
  "passes %s on in chunks, decoding nothing",
  async (coding) => {
    const body = CODINGS[coding].compress(SHORT);
    stage.scene("any").answers((_, response) => {
      response.writeHead(200, ["Content-Encoding", coding]);
      response.write(body.subarray(0, 10));
      response.end(body.subarray(10));
    });
    const got = await stage.scene("any").ask();
    expect(valuesOf(got.headers, "transfer-encoding")).toEqual(["chunked"]);
    expect(got.body.equals(body)).toBe(true);
  },
);

it("compresses nothing that the backend did not", async () => {
  stage.scene("any").answers((_, response) => {
    response.writeHead(200, ["Content-Type", "text/plain", "Content-Length", String(SHORT.length)]);
    response.end(SHORT);
  });
  const got = await stage.scene("any").ask({ headers: [["Accept-Encoding", "gzip, br"]] });
  expect(valuesOf(got.headers, "content-encoding")).toEqual([]);
  expect(got.body.equals(SHORT)).toBe(true);
});

it("passes a coding it has never heard of on exactly", async () => {
  const body = randomBytes(1_000);
  stage.scene("any").answers((_, response) => {
    response.writeHead(200, ["Content-Encoding", "x-secret", "Content-Length", "1000"]);
    response.end(body);
  });
  const got = await stage.scene("any").ask();
  expect(valuesOf(got.headers, "content-encoding")).toEqual(["x-secret"]);
  expect(got.body.equals(body)).toBe(true);
});

it("sends a compressed upload on exactly", async () => {
  const body = gzipSync(SHORT);
  const got = await stage.scene("any").delivers({
    method: "POST",
    headers: [["Content-Encoding", "gzip"]],
    body,
  });
  expect(valuesOf(got.headers, "content-encoding")).toEqual(["gzip"]);
  expect(got.body.equals(body)).toBe(true);
});
