import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, onTestFinished, vi } from "vitest";
import type { BackendStatus } from "../../durable/model/view.ts";
import { Cluster } from "../support/cluster.ts";

const SOON = { timeout: 10_000 };
const IDS = ["a", "b", "c"];
/** One for each test. */
const POOLS = 20;

type Handle = (request: IncomingMessage, response: ServerResponse, id: string) => void;

/** Answers when it has the whole body, with its length. */
const TAKES: Handle = (request, response) => {
  let bytes = 0;
  request.on("data", (chunk: Buffer) => (bytes += chunk.length));
  request.on("error", () => {});
  request.on("end", () => response.end(String(bytes)));
};

let handle: Handle = TAKES;
/** Attempts that reached a backend, by method. */
const arrived: string[] = [];
/** Attempts that are open there. */
let open = 0;
let servers: readonly Server[] = [];
let urls: readonly string[] = [];
let cluster: Cluster;

beforeAll(async () => {
  servers = await Promise.all(IDS.map(startServer));
  urls = servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  cluster = await Cluster.launch({ bundle: inject("bundle"), backends: [] });
  // Before the first request, since an isolate notices a new route only at its next refresh.
  for (let number = 1; number <= POOLS; number++) {
    const name = `p${number}`;
    await cluster.admin.do("PUT", `/pools/${name}`, { backends: [] });
    await cluster.admin.do("PUT", `/routes/${name}`, { host: `${name}.test`, pool: name });
  }
});

afterAll(async () => {
  await cluster.stop();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

beforeEach(() => {
  handle = TAKES;
});

async function startServer(id: string): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url === "/nudge") {
      request.resume();
      response.end();
      return;
    }
    arrived.push(`${id} ${request.method}`);
    open++;
    response.once("close", () => open--);
    handle(request, response, id);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return server;
}

/** A pool of its own for the test, so that nothing of before is counted. */
async function pool(config: object = {}, ids: readonly string[] = IDS): Promise<Pool> {
  const made = new Pool(`p${++pools}`);
  await made.put(config, ids);
  return made;
}

let pools = 0;

class Pool {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  get host(): string {
    return `${this.name}.test`;
  }

  async put(config: object, ids: readonly string[]): Promise<void> {
    const backends = ids.map((id) => ({ id, url: urls[IDS.indexOf(id)] }));
    await cluster.admin.do("PUT", `/pools/${this.name}`, {
      sync: { refreshMs: 500, leaseMs: 1_000 },
      ...config,
      backends,
    });
    arrived.length = 0;
  }

  ask(method: string, path = "/", headers: Readonly<Record<string, string>> = {}) {
    return cluster.ask({ method, path, host: this.host, headers });
  }

  /** What backends are blamed for, and whether anything is open. */
  async blamed(): Promise<unknown> {
    await this.ask("GET", "/nudge");
    const { body } = await cluster.admin.do("GET", `/pools/${this.name}/status`);
    const { backends, incidents } = body;
    const sum = (count: (backend: BackendStatus) => number): number =>
      backends.reduce((total: number, backend: BackendStatus) => total + count(backend), 0);
    return {
      gone: sum(({ outcomes }) => outcomes.client_gone),
      blamed: sum(({ outcomes }) => outcomes.unreachable + outcomes.timed_out + outcomes.server_error),
      inFlight: sum(({ inFlight }) => inFlight),
      retried: incidents.retry + incidents.retry_denied,
      panic: incidents.panic,
      hedged: incidents.hedge,
    };
  }

  /** Sends bytes as a client does that speaks to nobody's rules. */
  talk(method: string, headers: string, body: string): Talk {
    const talk = new Talk();
    talk.socket.write(`${method} / HTTP/1.1\r\nHost: ${this.host}\r\n${headers}\r\n\r\n${body}`);
    return talk;
  }
}

class Talk {
  readonly socket: Socket;
  text = "";

  constructor() {
    const { port, hostname } = new URL(cluster.edge.urls[0]);
    this.socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    this.socket.on("error", () => {});
    this.socket.on("data", (data: Buffer) => (this.text += data.toString("latin1")));
    onTestFinished(() => {
      this.socket.destroy();
    });
  }

  /** The status it was answered with; waits for it. */
  async status(): Promise<number> {
    await vi.waitUntil(() => this.text.includes("\r\n\r\n"), SOON);
    return Number(this.text.split(" ")[1]);
  }
}

const NOBODY = { blamed: 0, inFlight: 0, retried: 0, panic: 0, hedged: 0 };

describe("an upload that its client breaks off", () => {
  it.each([
    ["one that is kept", "PUT", "Content-Length: 1000", "abc", 400],
    ["one that is never retried", "POST", "Content-Length: 1000", "abc", 400],
    ["one that is too long to be kept", "PUT", "Content-Length: 1000000", "a".repeat(100_000), 400],
    ["one of unknown length", "PUT", "Transfer-Encoding: chunked", "3\r\nabc\r\n", 502],
  ] as const)("blames nobody, and is not tried again: %s", async (_, method, headers, body, status) => {
    const { length: tries } = IDS;
    const asked = await pool();
    for (let index = 0; index < 2 * tries; index++) {
      const before = arrived.length;
      const talk = asked.talk(method, headers, body);
      await expect.poll(() => arrived.length, SOON).toBe(before + 1);
      talk.socket.end();
      expect(await talk.status()).toBe(status);
    }
    await expect.poll(() => asked.blamed(), SOON).toEqual({ ...NOBODY, gone: 2 * tries });
    expect(arrived.length).toBe(2 * tries);
  });

  it("blames nobody if it is malformed, and moves nobody's session", async () => {
    handle = (request, response, id) => {
      response.setHeader("x-backend", id);
      TAKES(request, response, id);
    };
    const asked = await pool({ affinity: [{ by: "token" }] });
    const sessions = [];
    for (let index = 0; index < 6; index++) {
      const { backend, headers } = await asked.ask("GET");
      sessions.push({ backend, cookie: headers["set-cookie"]?.[0]?.split(";")[0] ?? "none" });
    }
    for (let index = 0; index < 5; index++) {
      const cookie = `Cookie: ${sessions[0]?.cookie}`;
      const talk = asked.talk("POST", `${cookie}\r\nTransfer-Encoding: chunked`, "3\r\nabc\r\nZZZ\r\n");
      await talk.status();
    }
    for (const { backend, cookie } of sessions)
      expect((await asked.ask("GET", "/", { cookie })).backend).toBe(backend);
    await expect.poll(() => asked.blamed(), SOON).toEqual({ ...NOBODY, gone: 5 });
  });
});

describe("an upload that comes slowly", () => {
  it.each([
    ["one that is kept", "PUT", 20, "d"],
    ["one that is never retried", "POST", 20, "d"],
    ["one that is too long to be kept", "PUT", 100_000, "d".repeat(5_000)],
  ] as const)("goes to one backend, and takes its time: %s", async (_, method, length, piece) => {
    const asked = await pool({
      headerTimeoutMs: 300,
      retry: { totalTimeoutMs: 600, hedge: { afterMs: 100, percent: 100 } },
    });
    const talks = Array.from({ length: 3 }, () => asked.talk(method, `Content-Length: ${length}`, ""));
    for (let sent = 0; sent < length; sent += piece.length) {
      for (const { socket } of talks) socket.write(piece);
      await setTimeout(50);
    }
    for (const talk of talks) expect(await talk.status()).toBe(200);
    for (const { text } of talks) expect(text).toMatch(new RegExp(`${length}$`));
    expect(arrived.length).toBe(3);
    await expect.poll(() => asked.blamed(), SOON).toEqual({ ...NOBODY, gone: 0 });
  });

  it("is answered with 408 when nothing comes for too long, and nobody is blamed", async () => {
    const asked = await pool({ headerTimeoutMs: 100, bodyIdleTimeoutMs: 400 });
    const kept = asked.talk("PUT", "Content-Length: 10", "abc");
    const long = asked.talk("PUT", "Content-Length: 100000", "abc");
    expect([await kept.status(), await long.status()]).toEqual([408, 408]);
    await expect.poll(() => asked.blamed(), SOON).toEqual({ ...NOBODY, gone: 2 });
    expect(arrived.length).toBe(2);
    await expect.poll(() => open, SOON).toBe(0);
  });

  it("is tried elsewhere when it is whole and its backend hangs", async () => {
    handle = (request, response, id) => id !== "a" && TAKES(request, response, id);
    const asked = await pool({ policy: "first", headerTimeoutMs: 300 });
    const talk = asked.talk("PUT", "Content-Length: 6", "abc");
    await setTimeout(600);
    expect(arrived).toEqual(["a PUT"]);
    talk.socket.write("def");
    expect(await talk.status()).toBe(200);
    expect(arrived).toEqual(["a PUT", "b PUT"]);
  });
});

it("blames a backend that does not take a long upload, however long its client would go on", async () => {
  handle = (request, response, id) => (id === "a" ? request.pause() : TAKES(request, response, id));
  const asked = await pool({ policy: "first", headerTimeoutMs: 500 });
  const talk = asked.talk("PUT", "Content-Length: 100000000", "");
  const piece = Buffer.alloc(1_000_000);
  let isOver = false;
  const go = (): void => {
    if (!isOver) talk.socket.write(piece, () => setImmediate(go));
  };
  go();
  expect(await talk.status()).toBe(504);
  isOver = true;
  talk.socket.destroy();
  await expect.poll(() => asked.blamed(), SOON).toMatchObject({ blamed: 1, gone: 0, inFlight: 0 });
});

it.each([
  ["with a body", "PUT", { "content-length": "5" }, "hello"],
  ["with one of no bytes", "POST", { "content-length": "0" }, ""],
] as const)("waits once for a backend that hangs, by requests %s", async (_, method, headers, body) => {
  handle = (request, response, id) => id !== "a" && TAKES(request, response, id);
  const asked = await pool({ policy: "first", headerTimeoutMs: 400 });
  const statuses = [];
  for (let index = 0; index < 6; index++) {
    const talk = asked.talk(method, `Content-Length: ${headers["content-length"]}`, body);
    statuses.push(await talk.status());
  }
  expect(arrived.filter((arrival) => arrival.startsWith("a"))).toEqual([`a ${method}`]);
  expect(statuses.slice(1)).toEqual(Array(5).fill(200));
});
