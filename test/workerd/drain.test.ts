import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { epochMs } from "../../durable/model/time.ts";
import { freezeTime, id, pass, pool, ring } from "./support.ts";

// The clock stands still but for `pass`. What only `view` shows after an alarm is the alarm's doing: `view` looks at no
// clock, while a sync, a status and a change carry out by themselves what the alarm should have.

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

describe("the beginning of a drain", () => {
  it("publishes a version in which the backend admits only sticky, and sets the alarm to the deadline", async () => {
    const held = ring("drain-begins");
    await held.put({ a: 1, b: 1 });
    const deadlineMs = Date.now() + 60_000;
    expect(await held.drain("a", 60_000)).toMatchObject({
      version: 2,
      changes: [
        { path: "backends.a.admin.kind", before: "active", after: "draining" },
        { path: "backends.a.admin.untilMs", before: null, after: deadlineMs },
      ],
    });
    expect(await held.admits()).toEqual({ a: "sticky", b: "new" });
    expect(await held.alarmAtMs()).toBe(deadlineMs);
    expect((await held.status()).backends).toMatchObject([
      { id: "a", drainsUntilMs: deadlineMs },
      { id: "b", drainsUntilMs: null },
    ]);
  });

  it("takes the pool's drain time when none is given", async () => {
    const held = ring("drain-pool-time");
    await held.put({ a: 1 }, { drainMs: 90_000 });
    await held.drain("a");
    expect(await held.alarmAtMs()).toBe(Date.now() + 90_000);
  });

  it("is its end too when no time is given to it", async () => {
    const held = ring("drain-now");
    await held.put({ a: 1, b: 1 });
    expect(await held.drain("a", 0)).toMatchObject({ version: 2 });
    expect(await held.admits()).toEqual({ a: "none", b: "new" });
    expect(await held.alarmAtMs()).toBeNull();
  });

  it("may be in a pool as it is written: a deadline to come, or one gone by", async () => {
    const held = ring("drain-document");
    const untilMs = epochMs(Date.now() + 60_000);
    await held.put({
      a: { admin: { kind: "draining", untilMs } },
      b: { admin: { kind: "draining", untilMs: Date.now() - 1 } },
    });
    expect(await held.admits()).toEqual({ a: "sticky", b: "none" });
    expect(await held.alarmAtMs()).toBe(untilMs);
  });

  it("makes isolates ask every second, until the deadline has passed", async () => {
    const held = ring("drain-hurry");
    await held.put({ a: 1 });
    await held.drain("a", 60_000);
    expect((await held.lease()).nextSyncMs).toBeLessThanOrEqual(1_000);
    pass(60_000);
    expect((await held.lease()).nextSyncMs).toBeGreaterThanOrEqual(4_500);
  });
});

describe("the deadline of a drain", () => {
  it("publishes a version in which the backend admits nothing, by the alarm", async () => {
    const held = ring("drain-deadline");
    await held.put({ a: 1, b: 1 });
    const { version } = await held.drain("a", 60_000);
    pass(60_000);
    expect(await held.runAlarm()).toBe(true);
    expect((await held.view()).version).toBe(version + 1);
    expect(await held.admits()).toEqual({ a: "none", b: "new" });
    expect(await held.alarmAtMs()).toBeNull();
  });

  it("is kept through an eviction, and so is its alarm, which finds the object cold", async () => {
    const held = ring("drain-evicted");
    await held.put({ a: 1, b: 1 });
    const { version } = await held.drain("a", 60_000);
    await held.evict();
    expect(await held.alarmAtMs()).toBe(Date.now() + 60_000);
    await held.evict();
    pass(60_000);
    expect(await held.runAlarm()).toBe(true);
    await held.evict();
    expect((await held.view()).version).toBe(version + 1);
    expect(await held.admits()).toEqual({ a: "none", b: "new" });
  });

  it("is nothing to an alarm that comes early, which sets itself again", async () => {
    const held = ring("drain-early");
    await held.put({ a: 1 });
    const { version } = await held.drain("a", 60_000);
    pass(59_999);
    await held.runAlarm();
    expect((await held.view()).version).toBe(version);
    expect(await held.alarmAtMs()).toBe(Date.now() + 1);
  });

  it("makes one version only when the alarm comes twice", async () => {
    const held = ring("drain-twice");
    await held.put({ a: 1 });
    const { version } = await held.drain("a", 60_000);
    pass(60_000);
    await held.runAlarm();
    await held.inside((storage) => storage.setAlarm(Date.now()));
    expect(await held.runAlarm()).toBe(true);
    expect((await held.view()).version).toBe(version + 1);
    expect(await held.alarmAtMs()).toBeNull();
  });

  it.each(["status", "published"] as const)("does not wait for an alarm that is late: %s", async (ask) => {
    const held = ring("drain-late", ask);
    await held.put({ a: 1 });
    const { version } = await held.drain("a", 60_000);
    pass(60_000);
    expect(await held[ask]()).toMatchObject({ version: version + 1, backends: [{ admits: "none" }] });
    expect(await held.alarmAtMs()).toBeNull();
  });

  it("is a version of its own before the change that comes after it", async () => {
    const held = ring("drain-late-change");
    await held.put({ a: 1, b: 1 });
    const { version } = await held.drain("a", 60_000);
    pass(60_000);
    const applied = await held.do({ kind: "patch-backend", id: id("b"), patch: { weight: 9 } });
    expect(applied).toMatchObject({ version: version + 2, changes: [{ path: "backends.b.weight" }] });
    expect(await held.alarmAtMs()).toBeNull();
  });

  it("gets its alarm back from a restart when it was lost", async () => {
    const held = ring("drain-alarm-lost");
    await held.put({ a: 1 });
    await held.drain("a", 60_000);
    await held.inside((storage) => storage.deleteAlarm());
    await held.evict();
    expect(await held.alarmAtMs()).toBe(Date.now() + 60_000);
  });

  it("comes to each of several drains in turn", async () => {
    const held = ring("drain-several");
    await held.put({ a: 1, b: 1, c: 1 });
    await held.drain("a", 60_000);
    await held.drain("b", 20_000);
    expect(await held.alarmAtMs()).toBe(Date.now() + 20_000);
    pass(20_000);
    await held.runAlarm();
    expect(await held.admits()).toEqual({ a: "sticky", b: "none", c: "new" });
    expect(await held.alarmAtMs()).toBe(Date.now() + 40_000);
  });

  it("moves when the drain is asked for again, and reopens one that has passed", async () => {
    const held = ring("drain-moved");
    await held.put({ a: 1 });
    await held.drain("a", 60_000);
    await held.drain("a", 20_000);
    expect(await held.alarmAtMs()).toBe(Date.now() + 20_000);
    pass(20_000);
    await held.runAlarm();
    await held.drain("a", 30_000);
    expect(await held.admits()).toEqual({ a: "sticky" });
    expect(await held.alarmAtMs()).toBe(Date.now() + 30_000);
  });
});

describe("a drain that is called off", () => {
  it("leaves the backend as it was, and no alarm", async () => {
    const held = ring("drain-undrained");
    await held.put({ a: 1 });
    await held.drain("a", 60_000);
    expect(await held.do({ kind: "undrain-backend", id: id("a") })).toMatchObject({ version: 3 });
    expect(await held.alarmAtMs()).toBeNull();
    await held.evict();
    pass(60_000);
    expect(await held.admits()).toEqual({ a: "new" });
    expect((await held.view()).version).toBe(3);
  });

  it("can be called off after its deadline too", async () => {
    const held = ring("drain-undrained-late");
    await held.put({ a: 1 });
    await held.drain("a", 60_000);
    pass(60_000);
    await held.runAlarm();
    await held.do({ kind: "undrain-backend", id: id("a") });
    expect(await held.admits()).toEqual({ a: "new" });
  });

  it("leaves the alarm of another one", async () => {
    const held = ring("drain-undrained-one");
    await held.put({ a: 1, b: 1 });
    await held.drain("a", 20_000);
    await held.drain("b", 60_000);
    await held.do({ kind: "undrain-backend", id: id("a") });
    expect(await held.alarmAtMs()).toBe(Date.now() + 60_000);
  });

  it.each([
    { kind: "remove-backend", id: id("a") },
    { kind: "put-pool", document: pool({ b: 1 }) },
  ] as const)("leaves the alarm to what is left of it when $kind ends it: its server id", async (command) => {
    const held = ring("drain-removed", command.kind);
    await held.put({ a: 1, b: 1 });
    await held.drain("a", 60_000);
    await held.do(command);
    expect(await held.alarmAtMs()).toBeGreaterThan(Date.now() + 24 * 3_600_000);
  });

  it.each([{ kind: "disable-backend", id: id("a") }, { kind: "delete-pool" }] as const)(
    "leaves no alarm when $kind ends it",
    async (command) => {
      const held = ring("drain-ended", command.kind);
      await held.put({ a: 1, b: 1 });
      await held.drain("a", 60_000);
      await held.do(command);
      expect(await held.alarmAtMs()).toBeNull();
    },
  );

  it("leaves the alarm right when drains and undrains come together", async () => {
    const held = ring("drain-together");
    await held.put({ a: 1, b: 1 });
    await Promise.all(
      Array.from({ length: 20 }, (_, turn) => [
        held.drain("a", 60_000 + turn),
        held.do({ kind: "undrain-backend", id: id("a") }),
        held.drain("b", 90_000 + turn),
        held.do({ kind: "undrain-backend", id: id("b") }),
        held.drain("b", 99_000),
      ]).flat(),
    );
    expect(await held.alarmAtMs()).toBe(Date.now() + 99_000);
  });
});

// The one test by the real clock: that the runtime itself wakes an evicted object, and so runs the constructor and the
// alarm in one event, is not something a test can do in its stead.
it("ends a drain by the runtime's own alarm when nobody calls", async () => {
  vi.useRealTimers();
  const held = ring("drain-real-alarm");
  await held.put({ a: 1 });
  const { version } = await held.drain("a", 150);
  await held.evict();
  await expect.poll(async () => (await held.view()).version, { timeout: 4_000 }).toBe(version + 1);
  expect(await held.alarmAtMs()).toBeNull();
});
