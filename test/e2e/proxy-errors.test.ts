import { createServer } from "node:net";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { startEdge } from "../support/edge.ts";
import { type Answer, ask, type Header, namesOf, responseTo, valuesOf } from "./support-client.ts";
import { expectDiscretion, problemIn } from "./support-problem.ts";
import { raiseStage } from "./support-stage.ts";

/** Long enough for the edge's next report. */
const REPORTED = { timeout: 5_000 };

const stage = raiseStage({
  any: {},
  refused: {},
  empty: { backends: [] },
  counted: {},
});

beforeAll(async () => {
  const port = await freePort();
  await stage.admin.do("PATCH", "/pools/refused/backends/b", { url: `http://127.0.0.1:${port}` });
});

/** A port at which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  if (address === null || typeof address === "string") throw new Error("the server had no port");
  return address.port;
}

/** What a client gets when the backend writes these bytes and hangs up. */
async function answerOfBytes(bytes: string | Buffer): Promise<Answer> {
  const scene = stage.scene("any");
  scene.answers((request) => request.socket.end(bytes));
  return scene.ask();
}

describe("how an error is shown", () => {
  it.each([
    ["no Accept at all", []],
    ["an empty one", [["Accept", ""]]],
    ["anything", [["Accept", "*/*"]]],
    ["JSON", [["Accept", "application/json"]]],
    ["problem details", [["Accept", "text/plain, application/problem+json;q=0.5"]]],
    ["any application type", [["Accept", "application/*"]]],
    ["JSON rather than HTML", [["Accept", "text/html;q=0.5, application/json"]]],
  ] as const)("is problem details for a client that accepts %s", async (_, headers) => {
    expect(problemIn(await stage.scene("empty").ask({ headers }))).toEqual([503, "No backend available"]);
  });

  it.each([
    "text/html",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "TEXT/HTML;q=0.9, application/json;q=0.8",
    "text/*",
  ])("is a short page for a client that accepts %s", async (accept) => {
    const answer = await stage.scene("empty").ask({ headers: [["Accept", accept]] });
    const [requestId = "none"] = valuesOf(answer.headers, "x-request-id");
    expect(answer.status).toBe(503);
    expect(valuesOf(answer.headers, "content-type")).toEqual(["text/html; charset=utf-8"]);
    expect(answer.body.toString()).toMatch(/^<!doctype html>\n[^]*<h1>503 No backend available<\/h1>/);
    expect(answer.body.toString()).toContain(requestId);
    expect(answer.body.length).toBeLessThan(1_000);
    expectDiscretion(answer);
  });

  it("is called by the ray, where there is one, so that it can be found in the logs", async () => {
    const answer = await stage.scene("empty").ask({ headers: [["CF-Ray", "8f1b2c3d4e5f6071-FRA"]] });
    expect(valuesOf(answer.headers, "x-request-id")).toEqual(["8f1b2c3d4e5f6071-FRA"]);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ requestId: "8f1b2c3d4e5f6071-FRA" });
  });

  it("lets no markup into its page", async () => {
    const headers: readonly Header[] = [
      ["Accept", "text/html"],
      ["CF-Ray", "<script>alert(1)</script>&amp;"],
    ];
    const { body } = await stage.scene("empty").ask({ headers });
    expect(body.toString()).not.toContain("<script");
    expect(body.toString()).toContain("&lt;script>alert(1)&lt;/script>&amp;amp;");
  });

  it("has no body in answer to HEAD", async () => {
    const answer = await stage.scene("empty").ask({ method: "HEAD" });
    expect(answer).toMatchObject({ status: 503, body: Buffer.alloc(0) });
    expect(namesOf(answer.headers)).toContain("x-request-id");
  });

  it("does not wait for an upload to end", async () => {
    const request = stage.scene("empty").open({ method: "POST", headers: [["Content-Length", "1000000"]] });
    request.write("the beginning");
    expect((await responseTo(request)).statusCode).toBe(503);
    request.destroy();
  });
});

describe("what no backend is asked for", () => {
  it("is 404 where no route matches", async () => {
    expect(problemIn(await ask(stage.edgeUrl, "unknown.test"))).toEqual([404, "No route"]);
  });

  it("is 503 where a pool has no backend, and says when to come back", async () => {
    const answer = await stage.scene("empty").ask();
    expect(problemIn(answer)).toEqual([503, "No backend available"]);
    expect(valuesOf(answer.headers, "retry-after")).toEqual(["5"]);
  });

  it("is 503 where there is no pool, and says when to come back", async () => {
    const edge = await startEdge({ bundle: inject("bundle") });
    onTestFinished(() => edge.stop());
    const answer = await ask(edge.urls[0], "any.test");
    expect(problemIn(answer)).toEqual([503, "No pool"]);
    expect(valuesOf(answer.headers, "retry-after")).toEqual(["5"]);
  });
});

describe("a backend that gives no answer", () => {
  it("is 502 when it refuses the connection", async () => {
    expect(problemIn(await stage.scene("refused").ask())).toEqual([502, "Backend unreachable"]);
  });

  it("is 502 when it resets the connection", async () => {
    const scene = stage.scene("any");
    scene.answers((request) => request.socket.resetAndDestroy());
    expect(problemIn(await scene.ask())).toEqual([502, "Backend unreachable"]);
  });

  it.each([
    ["closes the connection", ""],
    ["breaks off within its headers", "HTTP/1.1 200 OK\r\nContent-Le"],
    ["answers garbage", "\u0000\u0001 this is not HTTP\r\n\r\n"],
    [
      "contradicts itself about its length",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
    ],
    ["answers with a status that there is not", "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nab"],
    ["switches to another protocol unasked", "HTTP/1.1 101 Switch\r\nContent-Length: 5\r\n\r\nhello"],
    [
      "switches to WebSocket unasked",
      "HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello",
    ],
    ["switches to a stream", "HTTP/1.1 101 Switch\r\nContent-Type: text/event-stream\r\n\r\nhello"],
    ["does so at length", `HTTP/1.1 600 Odd\r\nContent-Length: 300000\r\n\r\n${"x".repeat(300_000)}`],
  ])("is 502 when it %s", async (_, bytes) => {
    expect(problemIn(await answerOfBytes(bytes))).toEqual([502, "Backend unreachable"]);
  });
});

// In production the platform answers in the place of a backend that it cannot reach. Here a backend does it for it.
describe("an answer of the platform", () => {
  it.each([
    [520, 502],
    [521, 502],
    [522, 502],
    [523, 502],
    [524, 504],
    [525, 502],
    [526, 502],
    [527, 502],
    [530, 502],
  ])("is not passed on: %i becomes %i", async (status, ours) => {
    const page = "<h1>127.0.0.1 is down</h1>";
    const answer = await answerOfBytes(
      `HTTP/1.1 ${status} Down\r\nServer: cloudflare\r\nContent-Length: ${page.length}\r\n\r\n${page}`,
    );
    expect(problemIn(answer)).toEqual([ours, ours === 504 ? "Backend timed out" : "Backend unreachable"]);
  });

  it.each(["error code: 1003", "error code: 1003\n"])(
    "is not passed on: its refusal to fetch an address, %j",
    async (text) => {
      const answer = await answerOfBytes(
        `HTTP/1.1 403 Forbidden\r\nServer: cloudflare\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
      );
      expect(problemIn(answer)).toEqual([502, "Backend unreachable"]);
    },
  );
});

describe("an error of the backend's own passes untouched", () => {
  const refusal = Buffer.from("error code: 1003");
  const zipped = gzipSync("no");

  it.each([
    [403, "the same words from somebody else", refusal, [["Server", "nginx"]]],
    [403, "another refusal of the platform's", Buffer.from("error code: 1020"), [["Server", "cloudflare"]]],
    [403, "more words", Buffer.from("error code: 1003 is what I saw"), [["Server", "cloudflare"]]],
    [403, "a page", Buffer.alloc(5_000, "forbidden "), [["Server", "cloudflare"]]],
    [403, "no words", Buffer.alloc(0), [["Server", "cloudflare"]]],
    [
      403,
      "short bytes that are no text",
      zipped,
      [
        ["Server", "cloudflare"],
        ["Content-Encoding", "gzip"],
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
      ],
    ],
    [404, "a page", Buffer.from("<p>nothing here"), [["Content-Type", "text/html"]]],
    [500, "its stack", Buffer.from("Error: at x.js:1"), [["Content-Type", "text/plain"]]],
    [502, "a gateway's", Buffer.from("bad gateway"), []],
    [503, "a break", Buffer.from("be right back"), [["Retry-After", "120"]]],
    [504, "a gateway's", Buffer.from("late"), []],
    [508, "a loop of its own", Buffer.from("loop"), []],
  ] as const)("%i with %s", async (status, _, body, headers) => {
    const scene = stage.scene("any");
    const sent: readonly Header[] = [...headers, ["Content-Length", String(body.length)]];
    scene.answers((__, response) => response.writeHead(status, sent.flat()).end(body));
    const answer = await scene.ask();
    expect(answer.status).toBe(status);
    expect(answer.body.equals(body)).toBe(true);
    const got = answer.headers.filter(([name]) => !/^(?:date|connection|keep-alive)$/i.test(name));
    expect(got.map(lowered).toSorted()).toEqual(sent.map(lowered).toSorted());
  });

  it("a 403 to HEAD", async () => {
    const scene = stage.scene("any");
    scene.answers((_, response) =>
      response.writeHead(403, ["Server", "cloudflare", "Content-Length", "16"]).end(),
    );
    const answer = await scene.ask({ method: "HEAD" });
    expect(answer).toMatchObject({ status: 403, body: Buffer.alloc(0) });
    expect(valuesOf(answer.headers, "content-length")).toEqual(["16"]);
  });
});

function lowered([name, value]: Header): string {
  return `${name.toLowerCase()}: ${value}`;
}

it("counts each outcome once, and has nothing in flight", async () => {
  const scene = stage.scene("counted");
  for (const status of [403, 500, 503, 521, 524]) {
    scene.answers((_, response) => response.writeHead(status).end());
    await scene.ask();
  }
  scene.answers((request) => request.socket.destroy());
  await scene.ask();
  await expect
    .poll(() => scene.backendStatus(), REPORTED)
    .toMatchObject({
      outcomes: { server_error: 1, gateway_error: 1, unreachable: 2, timed_out: 1, client_gone: 0 },
      inFlight: 0,
    });
});
