import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { freezeTime, type HeldRing, id, pass, ring } from "./support.ts";

// The clock stands still but for `pass`, and alarms go off when a test says so. What a probe asks for is answered here.

/** A fetch that a test answers when it likes. */
interface Asked {
  readonly backend: string;
  readonly atMs: number;
  /** Of the answer; null: there is none yet. */
  status: number | null;
}

let asked: Asked[] = [];
/** Answers by itself, at once; null: it hangs until the test says something. */
let answers: (backend: string) => number | null = () => 200;

beforeEach(() => {
  freezeTime();
  asked = [];
  answers = () => 200;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
    const { hostname } = new URL(input instanceof Request ? input.url : input);
    const backend = hostname.replace(".example", "");
    const question: Asked = { backend, atMs: Date.now(), status: answers(backend) };
    asked.push(question);
    // Asked again and again: nothing that belongs to the test may wake the object.
    while (question.status === null) await scheduler.wait(2);
    return new Response(null, { status: question.status });
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const PROBE = { kind: "http", timeoutMs: 60_000 };
const SOON = { timeout: 5_000 };

/** Lets the fetch of that number be answered well. */
function answer(index: number): void {
  const question = asked[index];
  if (question === undefined) throw new Error(`nothing was asked a ${index}th time`);
  question.status = 200;
}

function many(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`b${index}`, 1]));
}

/** Lets the time pass until the alarm, and lets it go off. */
async function nextAlarm(held: HeldRing): Promise<void> {
  const alarmMs = await held.alarmAtMs();
  if (alarmMs === null) throw new Error("no alarm is set");
  pass(Math.max(0, alarmMs - Date.now()));
  await held.runAlarm();
}

async function verdicts(held: HeldRing): Promise<Record<string, string | null>> {
  const { backends } = await held.status();
  return Object.fromEntries(backends.map(({ id: name, observed }) => [name, observed.probe.verdict]));
}

describe("a pool that gets a probe", () => {
  it("is probed at once, and again by the alarm that is set then", async () => {
    const held = ring("probe-begins");
    await held.put({ a: 1, b: 1 });
    expect(await held.alarmAtMs()).toBeNull();
    await held.put({ a: 1, b: 1 }, { health: { probe: PROBE } });
    expect(await held.alarmAtMs()).toBe(Date.now());
    await held.runAlarm();
    expect(asked.map(({ backend }) => backend)).toEqual(["a", "b"]);
    expect(await verdicts(held)).toEqual({ a: "healthy", b: "healthy" });
    const alarmMs = (await held.alarmAtMs()) ?? 0;
    expect(alarmMs).toBeGreaterThanOrEqual(Date.now() + 5_000);
    expect(alarmMs).toBeLessThanOrEqual(Date.now() + 16_000);
  });

  it("leaves its backends the benefit of the doubt, and lets only those wait that come later", async () => {
    const held = ring("probe-waits");
    await held.put({ a: 1 });
    const health = { probe: PROBE, startsAs: "unhealthy" };
    await held.put({ a: 1, b: 1 }, { health });
    expect(await held.admits()).toEqual({ a: "new", b: "none" });
    const { servingSinceMs } = (await held.status()).backends[1] ?? {};
    pass(1_000);
    await held.runAlarm();
    expect(await held.admits()).toEqual({ a: "new", b: "new" });
    expect((await held.status()).backends[1]?.servingSinceMs).toBe((servingSinceMs ?? 0) + 1_000);
  });

  it("is probed no more when it is taken away, and what was said by it is forgotten", async () => {
    const held = ring("probe-ends");
    answers = () => 500;
    await held.put({ a: 1, b: 1 }, { health: { probe: { ...PROBE, fall: 1 } } });
    await held.runAlarm();
    expect(await verdicts(held)).toEqual({ a: "unhealthy", b: "unhealthy" });
    await held.do({ kind: "patch-pool", patch: { health: { probe: null } } });
    expect(await held.alarmAtMs()).toBeNull();
    expect(await verdicts(held)).toEqual({ a: null, b: null });
    expect((await held.status()).probes).toBeNull();
  });

  it("drops what comes of a probe that was made as another one, or of a backend that is gone", async () => {
    const held = ring("probe-late");
    answers = () => null;
    await held.put({ a: 1, b: 1 }, { health: { probe: { ...PROBE, fall: 1 } } });
    const alarm = held.runAlarm();
    await expect.poll(() => asked.length, SOON).toBe(2);
    await held.do({ kind: "remove-backend", id: id("b") });
    await held.do({ kind: "patch-pool", patch: { health: { probe: { path: "/other" } } } });
    answers = () => 200;
    for (const question of asked) question.status = 500;
    await alarm;
    expect(await verdicts(held)).toEqual({ a: null });
  });
});

/** How often the webhook was called. */
function timesTold(): number {
  return asked.filter(({ backend }) => backend === "alerts").length;
}

it("keeps no webhook waiting while a probe hangs, neither for an event nor for another attempt", async () => {
  const held = ring("probe-hangs-webhook");
  let isDown = true;
  answers = (backend) => (backend === "a" ? null : backend === "alerts" && isDown ? 500 : 200);
  const webhooks = [{ url: "https://alerts.example/hook", secret: "WEBHOOK_KEY" }];
  await held.put({ a: 1, b: 1 }, { health: { probe: PROBE, webhooks } });
  const alarm = held.runAlarm();
  await expect.poll(() => asked.map(({ backend }) => backend), SOON).toEqual(["a", "b"]);
  await held.pin("b");
  await expect.poll(timesTold, SOON).toBe(1);
  isDown = false;
  await expect.poll(async () => (await held.status()).webhooks[0]?.lastFailure, SOON).toBe("status 500");
  pass(1_500);
  await expect.poll(timesTold, SOON).toBe(2);
  answer(0);
  await alarm;
  expect((await held.status()).webhooks).toMatchObject([{ delivered: 1, waiting: 0 }]);
});

describe("an object that is evicted", () => {
  it("between any two alarms probes every backend in its time, and none more often", async () => {
    const held = ring("probe-evicted");
    await held.put(many(8), { health: { probe: { ...PROBE, intervalMs: 10_000 } } });
    await held.runAlarm();
    asked = [];
    const sinceMs = Date.now();
    while (Date.now() < sinceMs + 60_000) {
      await held.evict();
      await nextAlarm(held);
    }
    for (const name of Object.keys(many(8))) {
      const times = asked.flatMap(({ backend, atMs }) => (backend === name ? [atMs] : []));
      expect(times.length).toBeGreaterThanOrEqual(5);
      expect(times.length).toBeLessThanOrEqual(7);
    }
  });

  it("keeps the streak, so that three failures are three", async () => {
    const held = ring("probe-streak");
    await held.put({ a: 1, b: 1 }, { health: { probe: PROBE } });
    await held.runAlarm();
    answers = (backend) => (backend === "a" ? 500 : 200);
    const { version } = await held.view();
    const verdictsSeen: (string | null | undefined)[] = [];
    while (asked.filter(({ backend }) => backend === "a").length < 4) {
      await held.evict();
      await nextAlarm(held);
      verdictsSeen.push((await verdicts(held))["a"]);
    }
    expect(verdictsSeen.at(-1)).toBe("unhealthy");
    expect(verdictsSeen.slice(0, -1)).not.toContain("unhealthy");
    expect((await held.view()).version).toBe(version + 1);
    expect(await held.admits()).toEqual({ a: "none", b: "new" });
  });
});

describe("one alarm", () => {
  it("makes no more than five probes at once and forty in all, and the next one goes on at once", async () => {
    const held = ring("probe-many");
    answers = () => null;
    await held.put(many(60), { health: { probe: PROBE } });
    const first = held.runAlarm();
    for (let over = 0; over < 35; over++) {
      await expect.poll(() => asked.length, SOON).toBe(over + 5);
      answer(over);
    }
    await first;
    expect(asked).toHaveLength(40);
    expect(await held.alarmAtMs()).toBeLessThanOrEqual(Date.now());
    answers = () => 200;
    const second = held.runAlarm();
    asked.forEach((_, index) => answer(index));
    await second;
    expect(asked).toHaveLength(60);
    expect(Object.values(await verdicts(held)).filter((verdict) => verdict === "healthy")).toHaveLength(60);
  });

  it("holds up no other backend and no drain by a probe that hangs", async () => {
    const held = ring("probe-hangs");
    answers = (backend) => (backend === "a" ? null : 200);
    await held.put({ a: 1, b: 1, c: 1 }, { health: { probe: PROBE } });
    const alarm = held.runAlarm();
    await expect.poll(() => verdicts(held), SOON).toEqual({ a: null, b: "healthy", c: "healthy" });
    const { version } = await held.drain("c", 20);
    pass(20);
    // Only `view` is asked, which looks at no clock.
    await expect.poll(async () => (await held.view()).version, SOON).toBe(version + 1);
    expect(await held.admits()).toMatchObject({ c: "none" });
    answer(0);
    await alarm;
  });
});

describe("storage that fails", () => {
  it("in the middle of an alarm costs the results of that moment, and the next alarm goes on", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const held = ring("probe-disk-full");
    await held.put({ a: 1, b: 1 }, { health: { probe: PROBE } });
    const mend = await held.breakWrites("rows");
    await held.runAlarm();
    expect(error).toHaveBeenCalledTimes(2);
    expect(await verdicts(held)).toEqual({ a: null, b: null });
    await mend();
    await nextAlarm(held);
    await nextAlarm(held);
    expect(await verdicts(held)).toEqual({ a: "healthy", b: "healthy" });
    await held.evict();
    expect(await verdicts(held)).toEqual({ a: "healthy", b: "healthy" });
  });

  it("loses an alarm: the next sync sets it, in an object that is in memory and in one that is not", async () => {
    const held = ring("probe-alarm-lost");
    await held.put({ a: 1, b: 1 }, { health: { probe: PROBE } });
    await held.inside((storage) => storage.deleteAlarm());
    await held.lease();
    expect(await held.alarmAtMs()).toBeNull();
    pass(10_000);
    await held.lease();
    expect(await held.alarmAtMs()).not.toBeNull();
    await held.inside((storage) => storage.deleteAlarm());
    await held.evict();
    await held.lease();
    expect(await held.alarmAtMs()).not.toBeNull();
    await nextAlarm(held);
    await nextAlarm(held);
    expect(await verdicts(held)).toEqual({ a: "healthy", b: "healthy" });
  });

  it("fails to set the alarm: that alarm fails, and the next sync sets one", async () => {
    const held = ring("probe-alarm-fails");
    await held.put({ a: 1 }, { health: { probe: PROBE } });
    await held.inside((storage) => {
      vi.spyOn(storage, "setAlarm").mockRejectedValueOnce(new Error("the disk is full"));
    });
    await expect(held.runAlarm()).rejects.toThrow("the disk is full");
    expect(await verdicts(held)).toEqual({ a: "healthy" });
    expect(await held.alarmAtMs()).toBeNull();
    pass(30_000);
    await held.lease();
    expect(await held.alarmAtMs()).not.toBeNull();
    await nextAlarm(held);
    expect(asked).toHaveLength(2);
  });
});
