import { createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { startBackend } from "../support/backend.ts";
import { type Edge, startEdge } from "../support/edge.ts";
import { bytesOf } from "./support-client.ts";

const KEY = "the key of a webhook under test";
const BACKEND = { id: "a", url: "http://127.0.0.1:1001" };

/** What a receiver was told. */
interface Told {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Answers a call; without an answer it is left hanging. */
type Answer = (response: ServerResponse, told: Told) => void;

/** A receiver of webhooks on loopback, which answers 204 unless a call's turn in `answers` says otherwise. */
class Receiver {
  readonly told: Told[] = [];
  readonly answers: Answer[];
  readonly #waiting: (() => void)[] = [];

  constructor(answers: Answer[]) {
    this.answers = answers;
  }

  async hear(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const told = { headers: request.headers, body: (await bytesOf(request)).toString() };
    this.told.push(told);
    const answer = this.answers.shift() ?? answering(204);
    answer(response, told);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves when it has been told so often. */
  async heard(count: number): Promise<readonly Told[]> {
    while (this.told.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.told;
  }
}

function answering(status: number, headers: Record<string, string> = {}): Answer {
  return (response) => response.writeHead(status, headers).end();
}

const hanging: Answer = () => {};

interface Scene {
  readonly receiver: Receiver;
  readonly admin: AdminClient;
  readonly edgeUrl: string;
  readonly webhookUrl: string;
}

/** A pool with a webhook. */
async function stage(
  answers: Answer[],
  { secret = "WEBHOOK_KEY", variables = {} }: { secret?: string; variables?: Record<string, string> } = {},
): Promise<Scene> {
  const receiver = new Receiver(answers);
  const server = await startBackend("receiver", (request, response) => void receiver.hear(request, response));
  const edge = await startEdge({ bundle: inject("bundle"), variables: { WEBHOOK_KEY: KEY, ...variables } });
  onTestFinished(async () => {
    await edge.stop();
    await server.stop();
  });
  const admin = new AdminClient(edge.urls[0]);
  const webhookUrl = `${server.url}/hook?of=ours`;
  await admin.do("PUT", "/pools/default", {
    backends: [BACKEND, { ...BACKEND, id: "b" }],
    health: { webhooks: [{ url: webhookUrl, secret }] },
  });
  return { receiver, admin, edgeUrl: edge.urls[0], webhookUrl };
}

function pin(admin: AdminClient, id: string): Promise<unknown> {
  return admin.do("PUT", `/pools/default/backends/${id}/pin`, { health: "unhealthy", reason: "maintenance" });
}

/** What anybody has to do who wants to be sure that it was us, as `durable/README.md` says it. */
function isOurs({ headers, body }: Told): boolean {
  const mac = createHmac("sha256", KEY)
    .update(`${String(headers["ring-timestamp"])}.${body}`)
    .digest("hex");
  return headers["ring-signature"] === `v1=${mac}`;
}

/** Waits until the pool's webhook fares so. */
async function fares(admin: AdminClient, words: object): Promise<void> {
  for (let asked = 0; asked < 2_000; asked++) {
    const { body } = await admin.do("GET", "/pools/default/status");
    const [webhook] = body.webhooks;
    if (JSON.stringify({ ...webhook, ...words }) === JSON.stringify(webhook)) return;
  }
  const { body } = await admin.do("GET", "/pools/default/status");
  expect(body.webhooks).toEqual([expect.objectContaining(words)]);
}

describe("a webhook", () => {
  it("is told an event with a signature that the receiver can check, and the time", async () => {
    const { receiver, admin, webhookUrl } = await stage([]);
    await pin(admin, "a");
    const [told] = await receiver.heard(1);
    if (told === undefined) throw new Error("nothing was told");
    const { body } = await admin.do("GET", "/pools/default/events");
    expect(JSON.parse(told.body)).toEqual({ pool: "default", event: body.events[0], suppressed: 0 });
    expect(told.headers["content-type"]).toBe("application/json");
    expect(isOurs(told)).toBe(true);
    expect(isOurs({ ...told, body: told.body.replace("pinned", "healthy") })).toBe(false);
    expect(Math.abs(Number(told.headers["ring-timestamp"]) - Date.now() / 1_000)).toBeLessThan(60);
    await fares(admin, { url: webhookUrl, isSecretSet: true, waiting: 0, delivered: 1, dropped: 0 });
  });

  it("is told again after a failure, under an id that lets the receiver leave out what it has", async () => {
    const taken = new Map<string, unknown>();
    const failing: Answer = (response, { headers, body }) => {
      // The receiver has it, and dies before it can say so.
      taken.set(String(headers["ring-event-id"]), JSON.parse(body).event.id);
      response.writeHead(500).end();
    };
    const { receiver, admin } = await stage([failing]);
    await pin(admin, "a");
    await pin(admin, "b");
    const told = await receiver.heard(3);
    for (const { headers, body } of told)
      taken.set(String(headers["ring-event-id"]), JSON.parse(body).event.id);
    expect(told.map(({ body }) => JSON.parse(body).event.id)).toEqual([1, 1, 2]);
    expect(told.every(isOurs)).toBe(true);
    expect([...taken.values()]).toEqual([1, 2]);
    await fares(admin, { waiting: 0, delivered: 2, lastFailure: null });
  });

  it("is told again when it redirects, which is not followed", async () => {
    const elsewhere = await startBackend("elsewhere", () => {
      throw new Error("the redirect was followed");
    });
    onTestFinished(() => elsewhere.stop());
    const { receiver, admin } = await stage([answering(307, { location: elsewhere.url })]);
    await pin(admin, "a");
    expect(await receiver.heard(2)).toHaveLength(2);
  });

  it("holds up nothing while it gives no answer, and is told again when its time is over", async () => {
    const { receiver, admin, edgeUrl } = await stage([hanging]);
    await pin(admin, "a");
    await receiver.heard(1);
    const begun = Date.now();
    for (let turn = 0; turn < 20; turn++) {
      await pin(admin, "b");
      await admin.do("GET", "/pools/default/status");
      await fetch(edgeUrl);
    }
    await admin.do("POST", "/pools/default/backends/b/drain", { forMs: 100 });
    expect(Date.now() - begun).toBeLessThan(4_000);
    expect(receiver.told).toHaveLength(1);
    await fares(admin, { delivered: 0 });
    const [first, second] = await receiver.heard(2);
    expect(second?.headers["ring-event-id"]).toBe(first?.headers["ring-event-id"]);
    expect(Date.now() - begun).toBeGreaterThan(4_000);
  });

  it("is told again of what was on its way when everything stopped", async () => {
    const persist = await mkdtemp(join(tmpdir(), "ringmaster-webhooks-"));
    const receiver = new Receiver([hanging]);
    const server = await startBackend(
      "receiver",
      (request, response) => void receiver.hear(request, response),
    );
    const start = () => startEdge({ bundle: inject("bundle"), variables: { WEBHOOK_KEY: KEY }, persist });
    const first = await start();
    const admin = new AdminClient(first.urls[0]);
    await admin.do("PUT", "/pools/default", {
      backends: [BACKEND],
      health: { webhooks: [{ url: server.url, secret: "WEBHOOK_KEY" }] },
    });
    await pin(admin, "a");
    await receiver.heard(1);
    await first.stop();
    const second = await start();
    onTestFinished(async () => {
      await second.stop();
      await server.stop();
      await rm(persist, { recursive: true });
    });
    // Whoever asks first wakes the object; the alarm does the rest.
    await new AdminClient(second.urls[0]).do("GET", "/pools/default/status");
    const [lost, again] = await receiver.heard(2);
    expect([again?.headers["ring-event-id"], again?.body]).toEqual([
      lost?.headers["ring-event-id"],
      lost?.body,
    ]);
    await fares(new AdminClient(second.urls[0]), { waiting: 0 });
  });

  it("is not told anything without its secret, and the status says so", async () => {
    const { receiver, admin } = await stage([], { secret: "NOT_SET" });
    await pin(admin, "a");
    await fares(admin, { isSecretSet: false, dropped: 1, lastFailure: "there is no secret NOT_SET" });
    expect(receiver.told).toEqual([]);
  });
});

describe("the admin API", () => {
  it("gives events after an id, as many as are asked for, to viewers too", async () => {
    const VIEWER = "a-viewer-token-of-ours";
    const { admin, edgeUrl } = await stage([], { variables: { VIEWER_TOKENS: VIEWER } });
    for (const id of ["a", "b", "a"]) await pin(admin, id);
    const viewer = new AdminClient(edgeUrl, VIEWER);
    const all = (await viewer.do("GET", "/pools/default/events")).body;
    expect(all).toMatchObject({ events: [{ id: 1 }, { id: 2 }, { id: 3 }], lastId: 3 });
    const page = (await viewer.do("GET", "/pools/default/events?after=1&limit=1")).body;
    expect(page).toEqual({ events: [all.events[1]], lastId: 3 });
    expect((await viewer.do("GET", "/pools/default/events?after=3")).body).toEqual({ events: [], lastId: 3 });
    expect(await viewer.send("GET", "/pools/nowhere/events")).toMatchObject({
      status: 404,
      body: { detail: "pool nowhere does not exist" },
    });
  });
});

describe("an admin API that allows no private backends, as a deployed one", () => {
  let edge: Edge;
  let admin: AdminClient;
  beforeAll(async () => {
    edge = await startEdge({ bundle: inject("bundle"), variables: { ALLOW_PRIVATE_BACKENDS: "false" } });
    admin = new AdminClient(edge.urls[0]);
  });
  afterAll(() => edge.stop());

  it.each([
    ["limit=0", "limit 0 must be an integer 1…500"],
    ["limit=501", "limit 501 must be an integer 1…500"],
    ["limit=", 'limit "" must be an integer 1…500'],
    ["limit=ten", 'limit "ten" must be an integer 1…500'],
    ["after=-1", 'after "-1" must be an integer 0…9007199254740991'],
    ["after=1.5", 'after "1.5" must be an integer 0…9007199254740991'],
    ["since=1", 'since "1" is not known here; known: after, limit'],
  ])("refuses to give events with %s", async (query, detail) => {
    expect(await admin.send("GET", `/pools/default/events?${query}`)).toMatchObject({
      status: 422,
      body: { detail },
    });
  });

  it.each([
    ["http://hooks.example.com/", "must begin with https://"],
    ["https://127.0.0.1/hook", "must name its host"],
    ["https://[::1]/hook", "must name its host"],
    ["https://2130706433/hook", "must name its host"],
    ["https://localhost/hook", "must name a public host"],
    ["https://receiver.internal/hook", "must name a public host"],
  ])("refuses a webhook at %s where private backends are not allowed", async (url, why) => {
    const health = {
      webhooks: [
        { url: "https://hooks.example.com/", secret: "KEY" },
        { url, secret: "KEY" },
      ],
    };
    await admin.do("PUT", "/pools/default", {});
    for (const [method, path] of [
      ["PUT", "/pools/default"],
      ["PUT", "/pools/other"],
      ["PATCH", "/pools/default"],
    ] as const) {
      const answer = await admin.send(method, path, { health });
      expect(answer).toMatchObject({
        status: 422,
        body: { errors: [{ field: "health.webhooks.1.url", value: url }] },
      });
      expect(answer.body.detail).toContain(why);
    }
    expect((await admin.do("GET", "/pools/default")).body.health.webhooks).toEqual([]);
  });

  it("takes a public one, and refuses the same twice", async () => {
    const webhook = { url: "https://hooks.example.com/", secret: "KEY" };
    await admin.do("PUT", "/pools/default", { health: { webhooks: [webhook] } });
    expect(
      await admin.send("PATCH", "/pools/default", { health: { webhooks: [webhook, webhook] } }),
    ).toMatchObject({
      status: 422,
      body: { errors: [{ field: "health.webhooks", range: "must name each url once" }] },
    });
  });
});
