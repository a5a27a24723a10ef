import type { RequestListener } from "node:http";
import { beforeAll, describe, expect, it } from "vitest";
import { type Answer, namesOf, valuesOf } from "./support-client.ts";
import { BOUND, bindAndDrain, STICKY } from "./support-drain.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {}, draining: STICKY });

beforeAll(() => bindAndDrain(stage.scene("draining")));

/** Longer than what passes unfollowed. */
const LONG = Buffer.alloc(300_000, "long ");

/** What a client gets when the backend answers like this. */
async function answerOf(listener: RequestListener, method = "GET"): Promise<Answer> {
  stage.scene("any").answers(listener);
  return stage.scene("any").ask({ method });
}

/** The same when the backend writes these bytes, which Node's own server might not. */
function answerOfBytes(bytes: string, method = "GET"): Promise<Answer> {
  return answerOf((request) => request.socket.write(Buffer.from(bytes, "latin1")), method);
}

// A response is passed on as it is, or made anew without headers it must not have, or followed to its end. What holds for
// one way has to hold for all.
describe.each([
  ["passes untouched", "any", [], "short"],
  ["loses a header", "any", [["Alt-Svc", 'h3=":443"']], "short"],
  ["is long and followed", "any", [], LONG],
  ["is long, followed and loses a header", "any", [["Alt-Svc", 'h3=":443"']], LONG],
  ["comes from a draining backend", "draining", [], "short"],
] as const)("a response that %s", (_, name, dropped, body) => {
  async function answer(
    status: number,
    headers: readonly (readonly [string, string])[],
    method = "GET",
  ): Promise<Answer> {
    const scene = stage.scene(name);
    scene.answers((__, response) => {
      response.writeHead(status, [...headers, ...dropped].flat());
      response.end(method === "HEAD" || status === 204 || status === 304 ? undefined : body);
    });
    return scene.ask({ method, headers: [BOUND] });
  }
  const length = ["Content-Length", String(Buffer.byteLength(body))] as const;

  it.each([200, 201, 299, 400, 404, 418, 425, 429, 451, 500, 503, 529, 599])(
    "keeps status %i, body and length",
    async (status) => {
      const got = await answer(status, [length, ["Content-Type", "text/plain"], ["Retry-After", "7"]]);
      expect(got.status).toBe(status);
      expect(got.body.equals(Buffer.from(body))).toBe(true);
      expect(valuesOf(got.headers, "content-length")).toEqual([length[1]]);
      expect(valuesOf(got.headers, "content-type")).toEqual(["text/plain"]);
      expect(valuesOf(got.headers, "retry-after")).toEqual(["7"]);
    },
  );

  it.each([301, 302, 303, 307, 308])("is not followed elsewhere: %i", async (status) => {
    const { url } = stage.scene(name).backend;
    for (const location of ["/next?a=%2F#b", `${url}/private`, "//other.test/", "next"]) {
      const got = await answer(status, [length, ["Location", location]]);
      expect(got.status).toBe(status);
      expect(valuesOf(got.headers, "location")).toEqual([location]);
    }
  });

  it("keeps its cookies apart", async () => {
    const cookies = ["a=1; Path=/", "b=2; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "a=3; Path=/x"];
    const got = await answer(200, [length, ...cookies.map((cookie) => ["Set-Cookie", cookie] as const)]);
    expect(valuesOf(got.headers, "set-cookie")).toEqual(cookies);
  });

  it("never advertises the backend's own HTTP/3", async () => {
    expect(namesOf((await answer(200, [length])).headers)).not.toContain("alt-svc");
  });

  it("keeps the length and no body in answer to HEAD", async () => {
    const got = await answer(200, [length, ["ETag", '"1"']], "HEAD");
    expect(got).toMatchObject({ status: 200, body: Buffer.alloc(0) });
    expect(valuesOf(got.headers, "content-length")).toEqual([length[1]]);
    expect(valuesOf(got.headers, "etag")).toEqual(['"1"']);
  });

  it.each([204, 304])("has no body with status %i", async (status) => {
    const got = await answer(status, [["ETag", '"1"']]);
    expect(got).toMatchObject({ status, body: Buffer.alloc(0) });
    expect(valuesOf(got.headers, "etag")).toEqual(['"1"']);
    expect(namesOf(got.headers)).not.toContain("transfer-encoding");
  });

  it("brings the part that was asked for", async () => {
    const range = `bytes 100-${99 + Buffer.byteLength(body)}/1000000`;
    const got = await answer(206, [length, ["Content-Range", range], ["Accept-Ranges", "bytes"]]);
    expect(got.status).toBe(206);
    expect(got.body.equals(Buffer.from(body))).toBe(true);
    expect(valuesOf(got.headers, "content-range")).toEqual([range]);
  });

  it("keeps the words its status is put in", async () => {
    const scene = stage.scene(name);
    scene.answers((__, response) => {
      response.writeHead(200, "Quite Fine", [length, ...dropped].flat()).end(body);
    });
    expect(await scene.ask({ headers: [BOUND] })).toMatchObject({ status: 200, statusText: "Quite Fine" });
  });
});

it("drops what the backend's Connection header nominates", async () => {
  const got = await answerOfBytes(
    "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nhi",
  );
  expect(namesOf(got.headers)).not.toContain("x-hop");
  expect(namesOf(got.headers)).not.toContain("keep-alive");
  expect(valuesOf(got.headers, "x-kept")).toEqual(["2"]);
  expect(got.body.toString()).toBe("hi");
});

it("passes bytes of header values on as they are", async () => {
  const got = await answerOfBytes(
    "HTTP/1.1 200 OK\r\nX-Latin: caf\u00e9\r\nX-Utf-8: \u00e2\u0082\u00ac\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n",
  );
  expect(valuesOf(got.headers, "x-latin")).toEqual(["caf\u00e9"]);
  expect(valuesOf(got.headers, "x-utf-8")).toEqual(["\u00e2\u0082\u00ac"]);
  expect(valuesOf(got.headers, "x-empty")).toEqual([""]);
});

it.each([
  ["ends with its connection", "HTTP/1.1 200 OK\r\n\r\n"],
  ["is HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n"],
])("passes on a body that %s", async (_, head) => {
  const got = await answerOf((request) => request.socket.end(`${head}until the end`));
  expect(got).toMatchObject({ status: 200, body: Buffer.from("until the end") });
});

it("waits for the final response when early hints come first", async () => {
  const got = await answerOf((_, response) => {
    response.writeEarlyHints({ link: "</style.css>; rel=preload" });
    response.end("final");
  });
  expect(got).toMatchObject({ status: 200, body: Buffer.from("final") });
});

it.each([
  ["with a length", "Content-Length: 10\r\n\r\nshort"],
  ["in chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"],
  ["with a length that is followed", "Content-Length: 1000000\r\n\r\nshort"],
])("shows a client that its body was cut off: %s", async (_, rest) => {
  stage.scene("any").answers((request) => request.socket.end(`HTTP/1.1 200 OK\r\n${rest}`));
  await expect(stage.scene("any").ask()).rejects.toMatchObject({ code: "ECONNRESET" });
});
