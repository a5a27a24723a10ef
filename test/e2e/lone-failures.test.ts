import type { RequestListener } from "node:http";
import { expect, inject, it, onTestFinished } from "vitest";
import { startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";

const IDS = ["a", "b", "c"];
const HEADER_TIMEOUT_MS = 500;
const SOON = { timeout: 10_000, interval: 20 };

/** A pool with sessions, whose backends answer quickly, but for what `spoil` takes on itself. */
async function stage(spoil: (id: string) => RequestListener, config: object = {}): Promise<Cluster> {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  const backends = await Promise.all(
    IDS.map((id) =>
      startBackend(id, (request, response) => {
        if (request.url === "/") response.setHeader("x-backend", id).end(id);
        else spoil(id)(request, response);
      }),
    ),
  );
  onTestFinished(async () => {
    await Promise.all(backends.map((backend) => backend.stop()));
  });
  await cluster.admin.do("PUT", "/pools/default", {
    affinity: [{ by: "token" }],
    headerTimeoutMs: HEADER_TIMEOUT_MS,
    ...config,
    backends: backends.map(({ id, url }) => ({ id, url })),
  });
  await cluster.converge();
  return cluster;
}

interface Visited {
  readonly status: number;
  readonly backend: string | null;
  /** Null: none was given. */
  readonly cookie: string | null;
}

async function visit(cluster: Cluster, cookie: string | null, path = "/"): Promise<Visited> {
  const response = await fetch(cluster.edge.urls[0] + path, { headers: cookie === null ? {} : { cookie } });
  await response.text();
  const { status, headers } = response;
  const given = headers.get("set-cookie")?.split(";")[0] ?? null;
  return { status, backend: headers.get("x-backend"), cookie: given };
}

/** Sessions, one after the other, so that each backend has some. */
async function begin(cluster: Cluster, count: number): Promise<readonly Visited[]> {
  const sessions: Visited[] = [];
  for (let session = 0; session < count; session++) sessions.push(await visit(cluster, null));
  return sessions;
}

/** Sessions as they are served now: where, and whether they get another token. */
async function revisit(cluster: Cluster, sessions: readonly Visited[]): Promise<readonly Visited[]> {
  const served: Visited[] = [];
  for (const { cookie } of sessions) served.push(await visit(cluster, cookie));
  return served;
}

function atHome(sessions: readonly Visited[]): readonly Visited[] {
  return sessions.map(({ status, backend }) => ({ status, backend, cookie: null }));
}

// slow request   |--- a --- x --- another --- x --- the third --- x 504
// sessions                      ↑ all at home                       ↑
it("leaves sessions where they are when a slow request times out at one backend after the other", async () => {
  const asked: string[] = [];
  const cluster = await stage((id) => () => asked.push(id));
  const sessions = await begin(cluster, 9);
  expect(new Set(sessions.map(({ backend }) => backend))).toEqual(new Set(IDS));
  const slow = visit(cluster, null, "/slow");
  await expect.poll(() => asked.length, SOON).toBe(2);
  expect(await revisit(cluster, sessions)).toEqual(atHome(sessions));
  expect((await slow).status).toBe(504);
  expect(await revisit(cluster, sessions)).toEqual(atHome(sessions));
});

it.each(["temporary", "sticky", "refuse"])(
  "saves a request elsewhere whose connection broke, and keeps its session at home: %s",
  async (ejected) => {
    let breaksNext: string | null = null;
    const breakOnce =
      (id: string): RequestListener =>
      (request, response) => {
        if (breaksNext !== id) response.setHeader("x-backend", id).end(id);
        else request.socket.destroy();
        breaksNext = null;
      };
    const cluster = await stage(breakOnce, { sessions: { lost: { ejected } } });
    const [session] = await begin(cluster, 1);
    if (session === undefined) throw new Error("it did not begin");
    breaksNext = session.backend;
    const saved = await visit(cluster, session.cookie, "/broken");
    expect(saved).toMatchObject({ status: 200, cookie: null });
    expect(saved.backend).not.toBe(session.backend);
    expect(await revisit(cluster, [session])).toEqual(atHome([session]));
  },
);
