import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import type { WebhookStatus } from "../../durable/model/delivery.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { freezeTime, type HeldRing, pass, ring } from "./support.ts";

// A real receiver is in `test/e2e/webhooks.test.ts`. Here a stand-in for the network answers at once or never: an answer that
// a test gave later would come from outside of the object, which the runtime forbids.

const URL_WEST = "https://west.example/hook";
const WEBHOOK = { url: URL_WEST, secret: "WEBHOOK_KEY" };

/** How long a pin lasts when it does not say, milliseconds: until then nothing else happens by itself. */
const PIN_MS = 3_600_000;

interface Call {
  readonly url: string;
  readonly id: string | null;
  readonly body: string;
  readonly timestamp: string | null;
}

let calls: Call[] = [];
/** What is answered to the calls, one after another; 204 to all further ones. */
let script: ("nothing" | number)[] = [];
let network: MockInstance<typeof fetch>;
let logged: MockInstance<Console["error"]>;

beforeEach(() => {
  freezeTime();
  calls = [];
  script = [];
  logged = vi.spyOn(console, "error").mockReturnValue();
  network = vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input, init);
    const { headers, url } = request;
    const [id, timestamp] = [headers.get("ring-event-id"), headers.get("ring-timestamp")];
    calls.push({ url, id, timestamp, body: await request.text() });
    const status = script.shift() ?? 204;
    return status === "nothing" ? new Promise(() => {}) : new Response(null, { status });
  });
});
afterEach(() => {
  network.mockRestore();
  logged.mockRestore();
  vi.useRealTimers();
});

async function pinned(name: string, webhooks: readonly object[] = [WEBHOOK]): Promise<HeldRing> {
  const held = ring(name);
  await held.put({ a: 1, b: 1 }, { health: { webhooks } });
  await held.pin("a");
  return held;
}

/** Waits until so many calls have been made; they come behind the alarm. */
async function made(held: HeldRing, count: number): Promise<void> {
  for (let asked = 0; calls.length < count; asked++) {
    if (asked > MOST_ASKED) throw new Error(`there were ${calls.length} calls`);
    await held.status();
  }
}

/** Waits until a webhook fares so, and the alarm that follows is set. */
async function fares(held: HeldRing, words: Partial<WebhookStatus>): Promise<void> {
  for (let asked = 0; asked < MOST_ASKED; asked++) {
    const [webhook] = (await held.status()).webhooks;
    if (JSON.stringify({ ...webhook, ...words }) === JSON.stringify(webhook)) return;
  }
  expect((await held.status()).webhooks).toEqual([expect.objectContaining(words)]);
}

const MOST_ASKED = 500;

it("is told by the alarm, not by the command", async () => {
  const held = await pinned("webhook-alarm");
  expect(await held.alarmAtMs()).toBe(Date.now());
  expect(calls).toEqual([]);
  expect(await held.runAlarm()).toBe(true);
  await fares(held, { waiting: 0, delivered: 1, lastFailure: null });
  const [event] = (await held.events()).events;
  expect(calls.map(({ url, body }) => [url, JSON.parse(body)])).toEqual([
    [URL_WEST, { pool: "webhook-alarm", event, suppressed: 0 }],
  ]);
  expect(await held.alarmAtMs()).toBe(Date.now() + PIN_MS);
});

it("holds up neither alarms nor calls while it gives no answer", async () => {
  script = ["nothing"];
  const held = await pinned("webhook-hangs");
  await held.drain("b", 1_000);
  await held.runAlarm();
  await made(held, 1);
  expect(await held.alarmAtMs()).toBe(Date.now() + 1_000);
  pass(1_000);
  await held.runAlarm();
  expect((await held.view()).version).toBe(4);
  expect(await held.admits()).toMatchObject({ b: "none" });
  expect(calls).toHaveLength(1);
});

it("is told again what it did not take, under the same id and with the same body", async () => {
  script = [500];
  const held = await pinned("webhook-again");
  await held.runAlarm();
  await fares(held, { waiting: 1, lastFailure: "status 500" });
  const pauseMs = ((await held.alarmAtMs()) ?? 0) - Date.now();
  expect(pauseMs).toBeGreaterThanOrEqual(500);
  expect(pauseMs).toBeLessThanOrEqual(1_000);
  pass(1_000);
  await held.runAlarm();
  await fares(held, { waiting: 0, delivered: 1, dropped: 0, lastFailure: null });
  const [first, second] = calls;
  expect(second).toEqual({ ...first, timestamp: String(Number(first?.timestamp) + 1) });
});

it("is told of what happened before an eviction", async () => {
  const held = await pinned("webhook-cold");
  await held.evict();
  await held.runAlarm();
  await fares(held, { waiting: 0, delivered: 1 });
  expect(calls).toHaveLength(1);
});

it("is told nothing before the attempt can be noted, and everything then", async () => {
  const held = await pinned("webhook-broken");
  const mend = await held.breakWrites("outbox");
  await held.runAlarm();
  await held.status();
  expect(logged).toHaveBeenCalledWith(
    expect.objectContaining({ message: expect.stringContaining("the disk is full") }),
  );
  expect(calls).toEqual([]);
  expect(await held.alarmAtMs()).toBe(Date.now() + 60_000);
  await mend();
  pass(59_999);
  await held.runAlarm();
  await fares(held, { waiting: 1 });
  expect(calls).toEqual([]);
  pass(1);
  await held.runAlarm();
  await fares(held, { waiting: 0, delivered: 1 });
});

it("makes a command fail whose event cannot be put on its way, and nothing is changed", async () => {
  const held = await pinned("webhook-broken-command");
  const before = [await held.view(), await held.events()];
  const mend = await held.breakWrites("outbox");
  await expect(held.unpin("a")).rejects.toThrow("failed");
  expect([await held.view(), await held.events()]).toEqual(before);
  await mend();
  await held.unpin("a");
  await fares(held, { waiting: 2 });
});

it("is told events in their order, and nothing later before what it did not take", async () => {
  script = [204, 500];
  const held = await pinned("webhook-order");
  await held.pin("b");
  await held.unpin("a");
  await held.runAlarm();
  await fares(held, { waiting: 2, delivered: 1, lastFailure: "status 500" });
  pass(1_000);
  await held.runAlarm();
  await fares(held, { waiting: 0, delivered: 3 });
  expect(calls.map(({ body }) => JSON.parse(body).event.id)).toEqual([1, 2, 2, 3]);
});

it("is told of a flapping backend so often in a minute, and how it ended when that is over", async () => {
  const limit = LIMITS.toldPerBackendMinute;
  const held = await pinned("webhook-flapping");
  for (let turn = 0; turn < limit; turn++) {
    await held.unpin("a");
    await held.pin("a");
  }
  await held.runAlarm();
  await fares(held, { waiting: 1, delivered: limit });
  expect(await held.alarmAtMs()).toBe(Date.now() + 60_000);
  expect((await held.events()).lastId).toBe(2 * limit + 1);
  await held.evict();
  pass(60_000);
  await held.runAlarm();
  await fares(held, { waiting: 0 });
  expect(calls).toHaveLength(limit + 1);
  expect(JSON.parse(calls.at(-1)?.body ?? "")).toMatchObject({
    event: { id: 2 * limit + 1, kind: "pinned" },
    suppressed: limit,
  });
});

it("goes on in the next alarm when there is much to tell", async () => {
  const held = ring("webhook-much");
  const ids = Array.from({ length: 25 }, (_, index) => `b${index}`);
  await held.put(Object.fromEntries(ids.map((each) => [each, 1])), { health: { webhooks: [WEBHOOK] } });
  for (const each of ids) await held.pin(each);
  await held.runAlarm();
  await fares(held, { waiting: 5, delivered: 20 });
  expect(await held.alarmAtMs()).toBe(Date.now());
  await held.runAlarm();
  await fares(held, { waiting: 0, delivered: 25 });
});

describe("without its secret", () => {
  it.each(["NOT_THERE", "RING", "toString"])(
    "is told nothing, and both log and status say so: %s",
    async (secret) => {
      const held = await pinned(`webhook-secret-${secret.toLowerCase().replace("_", "-")}`, [
        { url: URL_WEST, secret },
      ]);
      await held.runAlarm();
      await fares(held, {
        isSecretSet: false,
        waiting: 0,
        dropped: 1,
        lastFailure: `there is no secret ${secret}`,
      });
      expect(logged).toHaveBeenCalledWith(
        expect.stringMatching(/^event 1 of pool \S+ is not told to west\.example: there is no secret /),
      );
      expect(calls).toEqual([]);
    },
  );
});

it("is not told again what it answers 410 to", async () => {
  script = [410];
  const held = await pinned("webhook-gone");
  await held.runAlarm();
  await fares(held, { waiting: 0, dropped: 1, lastFailure: "status 410" });
  expect(await held.alarmAtMs()).toBe(Date.now() + PIN_MS);
});

it("gets nothing that waits when it is taken out of the pool, or the pool is deleted", async () => {
  const removed = await pinned("webhook-removed");
  await removed.put({ a: 1 });
  expect(await removed.alarmAtMs()).toBe(Date.now() + PIN_MS);
  const deleted = await pinned("webhook-deleted");
  await deleted.do({ kind: "delete-pool" });
  expect(await deleted.alarmAtMs()).toBeNull();
  await deleted.evict();
  expect(await deleted.alarmAtMs()).toBeNull();
  expect(await deleted.inside(({ sql }) => sql.exec("SELECT * FROM outbox").toArray())).toEqual([]);
});
