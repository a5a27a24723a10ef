import { expect, inject, it, onTestFinished } from "vitest";
import { type Answer, Cluster } from "../support/cluster.ts";
import { LongBackend } from "../support/long-backend.ts";

/** How long a download takes, and WebSockets stay open. */
const LONG_MS = Number(process.env["DRAIN_DOWNLOAD_MS"] ?? 6_000);
/** The same of a download that does not say how long it is: the last thing that is open. */
const ENDLESS_MS = LONG_MS + 4_000;
const DRAIN_MS = 2_000;
const LANES = 4;
const MEGABYTE = 2 ** 20;

/** Keep-alive clients that ask every instance until they are stopped. */
class Load {
  readonly answers: Answer[] = [];
  readonly #over = new AbortController();
  readonly #lanes: Promise<readonly void[]>;

  constructor(cluster: Cluster) {
    const asked = cluster.edge.urls.flatMap((_, instance) => Array<number>(LANES).fill(instance));
    this.#lanes = Promise.all(
      asked.map(async (instance) => {
        while (!this.#over.signal.aborted) this.answers.push(await cluster.ask({ instance }));
      }),
    );
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#lanes;
  }
}

/** A WebSocket whose every message has to come back before the next one is sent, until its client closes it. */
async function talk(url: string): Promise<{ readonly sent: number; readonly code: number }> {
  const socket = new WebSocket(url.replace("http", "ws"));
  const closed = new Promise<number>((resolve) =>
    socket.addEventListener("close", ({ code }) => resolve(code)),
  );
  const over = performance.now() + LONG_MS;
  let sent = 0;
  socket.addEventListener("open", () => socket.send(`message ${sent}`));
  socket.addEventListener("message", ({ data }) => {
    if (data !== `message ${sent}`) return socket.close(4_000, "not what was sent");
    sent++;
    return performance.now() < over ? socket.send(`message ${sent}`) : socket.close(1_000);
  });
  return { code: await closed, sent };
}

async function download(
  url: string,
  path: string,
): Promise<{ readonly backend: string | null; readonly bytes: number }> {
  const response = await fetch(`${url}${path}`);
  return {
    backend: response.headers.get("x-backend"),
    bytes: (await response.arrayBuffer()).byteLength,
  };
}

// b is drained while it sends downloads and holds WebSockets, all in one of four isolates or another:
//
//   b         new and sticky | sticky, 2 s | nothing new … downloads and sockets end | safe | killed
//   receipt   active         | draining    | expired, inFlight: n                    | safe
it(
  "reaches safe under load with downloads and WebSockets open, and then the backend can be killed",
  async () => {
    const [a, b] = await Promise.all([LongBackend.start("a"), LongBackend.start("b")]);
    onTestFinished(async () => void (await Promise.all([a.kill(), b.kill()])));
    const cluster = await Cluster.start({ bundle: inject("bundle"), instances: 4, backends: [] });
    const { admin, edge } = cluster;
    await admin.do("PUT", "/pools/default", {
      settleMs: 500,
      sync: { refreshMs: 500, leaseMs: 10_000, waitMs: 500 },
      // A request that fails is lost.
      retry: { maxAttempts: 1 },
      backends: [a, b].map(({ id, url }) => ({ id, url })),
    });
    const load = new Load(cluster);
    const downloads = edge.urls.flatMap((url) =>
      Array.from({ length: 2 }, () => download(url, `/download?ms=${LONG_MS}`)),
    );
    const endless = edge.urls.flatMap((url) =>
      Array.from({ length: 2 }, () => download(url, `/endless?ms=${ENDLESS_MS}`)),
    );
    const talks = edge.urls.flatMap((url) => [talk(url), talk(url)]);
    await expect.poll(async () => (await receipt()).body.inFlight, { timeout: 5_000 }).toBeGreaterThan(3);

    await admin.do("POST", "/pools/default/backends/b/drain", { forMs: DRAIN_MS });
    await expect.poll(async () => (await receipt()).body.state, { timeout: 10_000 }).toBe("expired");
    expect((await receipt()).body).toMatchObject({ safe: false });
    expect((await receipt()).body.inFlight).toBeGreaterThan(0);

    const safe = await receipt("?wait=60s");
    expect(safe.body).toMatchObject({ state: "safe", safe: true, inFlight: 0, outstandingIsolates: 0 });
    await b.kill();
    const before = load.answers.length;
    await expect.poll(() => load.answers.length - before, { timeout: 10_000 }).toBeGreaterThan(200);
    await load.stop();

    expect(load.answers.filter(({ status }) => status !== 200)).toEqual([]);
    for (const received of [await Promise.all(downloads), await Promise.all(endless)]) {
      expect(received.map(({ bytes }) => bytes)).toEqual(received.map(() => MEGABYTE));
      expect(received.map(({ backend }) => backend)).toContain("b");
    }
    const talked = await Promise.all(talks);
    expect(talked.map(({ code }) => code)).toEqual(talked.map(() => 1_000));
    expect(talked.every(({ sent }) => sent > 10)).toBe(true);

    function receipt(query = "") {
      return admin.do("GET", `/pools/default/backends/b/receipt${query}`);
    }
  },
  60_000 + ENDLESS_MS,
);
