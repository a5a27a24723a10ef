import type { IncomingMessage, ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { type Backend, startBackend } from "../support/backend.ts";
import { type Edge, OPERATOR_TOKEN, startEdge } from "../support/edge.ts";
import { casesOf, countCases, SEED } from "../support/fuzz.ts";
import { NASTY_JSON, NASTY_TEXT } from "../support/nasties.ts";

/** Connections at a time. */
const CLIENTS = 48;

/** A connection on which nothing comes for so long is given up, milliseconds. */
const QUIET_MS = 300;

/** What one client puts on one connection. */
interface Visit {
  readonly requests: readonly string[];
  /** Bytes after which it stops for a moment; 0: never. */
  readonly piece: number;
  /** Bytes after which it is gone, by a reset; 0: it stays. */
  readonly leavesAfter: number;
}

/** A line of a request, as bytes: every character is one. */
function bytes(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** All but `CONNECT`, which the local runtime answers with 500 by itself, and the platform's edge lets nobody send. */
const METHOD = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("GET", "GET", "PUT", "POST", "HEAD", "DELETE", "OPTIONS") },
  fc.constantFrom("TRACE", "get", "PURGE", "G\0T", "", "PRI", "M".repeat(300)),
);

const TARGET = fc.oneof(
  { weight: 6, arbitrary: NASTY_TEXT.map((text) => `/${bytes(text).replaceAll(/[\r\n ]/g, "")}`) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      "/",
      "/a?b=c",
      "/nothing",
      "/_ring/status",
      "/%5fring/pools",
      "//",
      "/../..",
      "/%2e%2e/_ring/x",
    ),
  },
  NASTY_TEXT.map(bytes),
  NASTY_TEXT.map((text) => `http://${bytes(text).replaceAll(/[\r\n ]/g, "")}/x`),
  fc.constantFrom(
    "*",
    "http://a.example/x",
    "https://u:p@a.example:99/x",
    "ftp://a/x",
    "a.example:443",
    "",
    `/${"x".repeat(20_000)}`,
    `/?${"q=1&".repeat(4_000)}`,
  ),
);

const VERSION = fc.oneof(
  { weight: 12, arbitrary: fc.constant("HTTP/1.1") },
  fc.constantFrom("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", ""),
);

const HOST = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(["Host: a.example"], ["Host: a.example:8080"], ["host: A.EXAMPLE."]),
  },
  fc.constantFrom(
    [],
    ["Host: a.example", "Host: b.example"],
    ["Host:"],
    ["Host: "],
    ["Host: [::1]:80"],
    ["Host: 127.0.0.1:1"],
  ),
  NASTY_TEXT.map((text) => [`Host: ${bytes(text)}`]),
);

/**
 * At most one: two, and one that is no object of JSON or a very deep one, the local runtime answers with 500 before there is
 * a worker.
 */
const BLOB = fc
  .record({ tlsClientRandom: NASTY_JSON, httpProtocol: NASTY_JSON, colo: NASTY_JSON, country: NASTY_JSON })
  .map((blob) => JSON.stringify(blob))
  .filter((blob) => !blob.includes("[".repeat(100)))
  .map((blob) => [`MF-CF-Blob: ${bytes(blob)}`]);

const FIELD = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(
        "Accept",
        "Accept-Encoding",
        "Authorization",
        "CF-Connecting-IP",
        "CF-Ray",
        "CDN-Loop",
        "Connection",
        "Cookie",
        "Early-Data",
        "Expect",
        "Forwarded",
        "Idempotency-Key",
        "If-None-Match",
        "Keep-Alive",
        "MF-Original-URL",
        "Range",
        "TE",
        "Trailer",
        "True-Client-IP",
        "Upgrade",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Real-IP",
        "x-session",
      ),
      NASTY_TEXT,
    )
    .map(([name, value]) => `${name}: ${bytes(value)}`),
  NASTY_TEXT.map(bytes),
  fc.constantFrom(
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Connection: cookie, host, via, x-forwarded-for, content-length, authorization",
    "Expect: 100-continue",
    ` folded: ${"x".repeat(10)}\r\n\tand more`,
    "No-Colon",
    ": no name",
    "Space : before the colon",
    `Cookie: ${"ring=a; ".repeat(8_000)}`,
    `Cookie: ${"__Host-ring-default=AAAA; ".repeat(2_400)}`,
    `Cookie: ${"=".repeat(64_000)}`,
    `X-Giant: ${"x".repeat(200_000)}`,
    `Accept: ${"*/*,".repeat(15_000)}`,
    `Accept: ${"text/html;q=0,".repeat(4_000)}`,
    `Connection: ${"a,".repeat(20_000)}`,
    Array.from({ length: 2_000 }, (_, index) => `X-Many-${index}: 1`).join("\r\n"),
    Array.from({ length: 2_000 }, () => "Cookie: ring=a").join("\r\n"),
  ),
);

/** Framing and body that belong together, or do not. A request inside a body must never get out of it. */
const INNER = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\nX-Nonce: smuggled\r\n\r\n";
const FRAMED = fc.oneof(
  { weight: 8, arbitrary: fc.constant([[], ""] as const) },
  {
    weight: 3,
    arbitrary: NASTY_TEXT.map(
      (text) => [[`Content-Length: ${Buffer.byteLength(text)}`], bytes(text)] as const,
    ),
  },
  { weight: 3, arbitrary: fc.constant([["Transfer-Encoding: chunked"], "4\r\nabcd\r\n0\r\n\r\n"] as const) },
  fc.constantFrom<readonly [readonly string[], string]>(
    [[`Content-Length: ${INNER.length}`], INNER],
    [["Content-Length: 5", "Content-Length: 6"], "abcdef"],
    [["Content-Length: 5, 5"], "abcde"],
    [["Content-Length: -1"], ""],
    [["Content-Length: +3"], "abc"],
    [["Content-Length: 0x3"], "abc"],
    [["Content-Length: 99999999999999999999"], "abc"],
    [["Content-Length: 100"], "short"],
    [["Content-Length: 4", "Transfer-Encoding: chunked"], `0\r\n\r\n${INNER}`],
    [["Transfer-Encoding: chunked", "Content-Length: 4"], `1\r\nZ\r\n0\r\n\r\n${INNER}`],
    [["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], `0\r\n\r\n${INNER}`],
    [["Transfer-Encoding: identity, chunked"], `0\r\n\r\n${INNER}`],
    [["Transfer-Encoding: xchunked"], `0\r\n\r\n${INNER}`],
    [["Transfer-Encoding : chunked"], `0\r\n\r\n${INNER}`],
    [["Transfer-Encoding:\tchunked"], `0\r\n\r\n${INNER}`],
    [["Transfer-Encoding: chunked"], "zz\r\nabc\r\n0\r\n\r\n"],
    [["Transfer-Encoding: chunked"], "ffffffffffffffff\r\nabc"],
    [["Transfer-Encoding: chunked"], "-1\r\nabc\r\n0\r\n\r\n"],
    [["Transfer-Encoding: chunked"], '3;ext="\r\n"\r\nabc\r\n0\r\n\r\n'],
    [["Transfer-Encoding: chunked"], "3\nabc\n0\n\n"],
    [["Transfer-Encoding: chunked"], "3\r\nabcdef\r\n0\r\n\r\n"],
    [["Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\nX-Nonce: trailer\r\n\r\n"],
    [["Transfer-Encoding: chunked"], `${"1\r\na\r\n".repeat(3_000)}0\r\n\r\n`],
  ),
);

/** A request with `NONCE` where its own goes. */
const REQUEST: fc.Arbitrary<string> = fc
  .tuple(
    fc.tuple(METHOD, TARGET, VERSION).map((parts) => parts.join(" ")),
    HOST,
    fc.oneof(fc.constant([]), BLOB),
    fc.array(FIELD, { maxLength: 3 }),
    FRAMED,
    fc.nat({ max: 9 }),
  )
  .map(([first, host, blob, fields, [framing, body], turn]) => {
    const lines = [...host, ...blob, ...fields, ...framing];
    lines.splice(turn % (lines.length + 1), 0, "X-Nonce: NONCE");
    return `${first}\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
  });

const PLAIN = "GET /plain HTTP/1.1\r\nHost: a.example\r\nX-Nonce: NONCE\r\n\r\n";
const VISIT: fc.Arbitrary<Visit> = fc.record({
  requests: fc.array(fc.oneof(REQUEST, REQUEST, fc.constant(PLAIN)), { minLength: 1, maxLength: 4 }),
  piece: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 400 })),
  leavesAfter: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 400 })),
});

let edge: Edge;
let backends: readonly Backend[];
const logged: string[] = [];
/** What came to a backend by another way than through the edge. */
const stray: string[] = [];
let served = 0;

beforeAll(async () => {
  // As on the platform: an isolate that keeps more than 128 MB is gone, and so are its answers.
  process.env["MINIFLARE_WORKERD_V8_FLAGS"] = "--max-old-space-size=128";
  edge = await startEdge({ bundle: inject("bundle"), onLog: (line) => logged.push(line) });
  backends = await Promise.all(["a", "b", "c"].map((id) => startBackend(id, misbehave)));
  await new AdminClient(edge.urls[0]).do("PUT", "/pools/default", {
    affinity: [{ by: "token" }, { by: "cookie", name: "user" }, { by: "connection" }],
    tokens: { header: "x-session" },
    headerTimeoutMs: 150,
    backends: backends.map(({ id, url }) => ({ id, url })),
  });
  const admin = new AdminClient(edge.urls[0]);
  await admin.do("PUT", "/pools/empty", {});
  await admin.do("PUT", "/routes/nothing", { path: "/nothing", pool: "empty" });
  await admin.do("PUT", "/routes/rest", { pool: "default" });
});

afterAll(async () => {
  await edge.stop();
  await Promise.all(backends.map((backend) => backend.stop()));
});

/** Says which nonce it was asked with, in one of many ways, some of them bad. */
function misbehave(request: IncomingMessage, response: ServerResponse): void {
  const nonce = String(request.headers["x-nonce"] ?? "");
  if (!String(request.headers.via).includes("ringmaster-")) stray.push(`${request.method} ${request.url}`);
  const isGood = request.url === "/plain" || request.url === "/check";
  const manner = isGood ? 0 : served++ % 12;
  request.on("error", () => {});
  request.resume();
  switch (manner) {
    case 1:
      request.socket.resetAndDestroy();
      return;
    case 2:
      response.writeHead(200, { "content-length": "1000" });
      response.write(`${nonce}\n`, () => request.socket.destroy());
      return;
    case 3:
      response.writeHead(503).end(`${nonce}\n`);
      return;
    case 4:
      request.socket.end("HTTP/1.1 999 what\r\n\r\n");
      return;
    case 5:
      return;
    case 6:
      response.write(`${nonce}\n`);
      setTimeout(() => response.end("slowly\n"), 30);
      return;
    default:
      response.end(`${nonce}\n`);
  }
}

/** All that comes back on a connection, until it is over or nothing more comes. */
function visit({ requests, piece, leavesAfter }: Visit, nonces: readonly string[]): Promise<string> {
  const text = requests.map((request, index) => request.replace("NONCE", nonces[index] ?? "")).join("");
  const { port } = new URL(edge.urls[0]);
  return new Promise((resolve) => {
    let got = "";
    const socket = connect(Number(port), "127.0.0.1");
    socket.setNoDelay(true);
    socket.setTimeout(QUIET_MS, () => socket.destroy());
    socket.on("data", (chunk) => {
      got += chunk.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(got));
    socket.once("connect", () => send(socket, Buffer.from(text, "latin1"), piece, leavesAfter));
  });
}

function send(socket: Socket, text: Buffer, piece: number, leavesAfter: number): void {
  if (leavesAfter > 0) {
    socket.write(text.subarray(0, leavesAfter), () => socket.resetAndDestroy());
  } else if (piece === 0) socket.write(text);
  else {
    const [first, rest] = [text.subarray(0, piece), text.subarray(piece)];
    socket.write(first, () => setTimeout(() => socket.write(rest), 20));
  }
}

/** What no answer may hold: addresses of backends, stacks, names of files, secrets. */
function findLeak(answer: string): string | undefined {
  const ports = backends.map(({ url }) => new URL(url).port);
  const secrets = [
    OPERATOR_TOKEN,
    "127.0.0.1",
    "localhost",
    "Error:",
    "workerd",
    "error code",
    ...ports.map((port) => `:${port}`),
  ];
  return secrets.find((secret) => answer.includes(secret)) ?? /\.[jt]s:\d|\n\s+at \S/.exec(answer)?.[0];
}

/** Statuses of all answers on a connection. */
function statusesIn(answers: string): readonly string[] {
  return [...answers.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status = ""]) => status);
}

it("gives every client its own answers and no one else's, and nobody an address, a stack or an exception, whatever is sent", async () => {
  const visits = fc.sample(VISIT, { numRuns: casesOf("wire"), seed: SEED });
  const findings: unknown[] = [];
  const check = async (index: number): Promise<void> => {
    const one = visits[index];
    if (one === undefined) return;
    const nonces = one.requests.map((_, request) => `nonce-${index}-${request}.`);
    const answers = await visit(one, nonces);
    const seen = [...answers.matchAll(/nonce-\d+-\d+\./g)].map(([nonce]) => nonce);
    const inOrder = nonces.filter((nonce) => seen.includes(nonce));
    const hasMixed = seen.join() !== inOrder.join();
    const leak = findLeak(answers);
    if (hasMixed || leak !== undefined || statusesIn(answers).includes("500"))
      findings.push({
        index,
        leak,
        seen,
        answers: answers.slice(0, 600),
        visit: JSON.stringify(one).slice(0, 2_000),
      });
  };
  await work(visits.map((_, index) => () => check(index)));
  expect({ findings: findings.slice(0, 5), logged: logged.slice(0, 5) }).toEqual({
    findings: [],
    logged: [],
  });
  expect(stray).toEqual([]);
  await expect.poll(askPlainly, PATIENCE).toBe("200 nonce-0-0.");
  countCases("wire", visits.length);
}, 300_000);

// An isolate that kept all of it would need 740 MB in a long run. The resident memory says little: what the runtime keeps for a request outside its heap goes when the heap is collected.
it("keeps nothing of what came with requests that are over, or its heap of 128 MB would not do", async () => {
  const cases = casesOf("memory");
  await work(Array.from({ length: cases }, (_, index) => () => sendFat(index)));
  await expect.poll(askPlainly, PATIENCE).toBe("200 nonce-0-0.");
  expect(logged).toEqual([]);
  countCases("memory", cases);
}, 300_000);

/** Four requests with 40 kB of cookies each, that no other has. */
async function sendFat(index: number): Promise<void> {
  const requests = Array.from({ length: 4 }, (_, request) => {
    const id = `${index}-${request}`;
    const last = request === 3 ? "Connection: close\r\n" : "";
    return `GET /plain HTTP/1.1\r\nHost: a.example\r\n${last}X-Session: ${id}\r\nCookie: other=${`${id}/`.repeat(6_000)}\r\n\r\n`;
  });
  await visit({ requests, piece: 0, leavesAfter: 0 }, []);
}

/** What went before may still be at work, and the pool has little patience itself. */
const PATIENCE = { timeout: 20_000, interval: 200 };

/** Asks as a good client does. */
async function askPlainly(): Promise<string> {
  const response = await fetch(`${edge.urls[0]}/plain`, { headers: { "x-nonce": "nonce-0-0." } });
  return `${response.status} ${(await response.text()).trim()}`;
}

/** Does some jobs, so many at a time. */
async function work(jobs: readonly (() => Promise<void>)[]): Promise<void> {
  const queue = [...jobs];
  const workers = Array.from({ length: CLIENTS }, async () => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job();
  });
  await Promise.all(workers);
}
