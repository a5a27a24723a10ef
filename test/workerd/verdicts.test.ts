import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { freezeTime, type HeldRing, pass, report, ring } from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

/** What a status shows of one backend. */
async function backend(held: HeldRing, id: string) {
  const { backends } = await held.status();
  const found = backends.find((each) => each.id === id);
  if (found === undefined) throw new Error(`there is no backend ${id}`);
  return found;
}

describe("a verdict", () => {
  it("comes of what two isolates each saw too little of, and is in the answer to the second", async () => {
    const held = ring("verdict-merged");
    await held.put({ a: 1, b: 1, c: 1 });
    const ill = report({ a: { unreachable: 25 }, b: { answered: 25 } });
    const first = await held.lease({ isolate: "isolate-1", report: ill });
    expect(first).toMatchObject({ version: 1 });
    const second = await held.lease({ isolate: "isolate-2", report: ill });
    expect(second).toMatchObject({ version: 2, document: { version: 2 } });
    expect(await held.admits()).toEqual({ a: "none", b: "new", c: "new" });
    expect(await backend(held, "a")).toMatchObject({
      health: "unhealthy",
      observed: { passive: { kind: "ejected", cause: "failure_percentage", untilMs: Date.now() + 30_000 } },
    });
  });

  it("does not come of a batch that is sent twice", async () => {
    const held = ring("verdict-resent");
    await held.put({ a: 1, b: 1, c: 1 });
    const ill = report({ a: { unreachable: 25 } });
    await held.lease({ report: ill });
    expect(await held.lease({ report: { ...ill, ageMs: 5_000 } })).toMatchObject({ version: 1 });
  });

  it("is over by the alarm, after an eviction too, and a cold object finds it so", async () => {
    const held = ring("verdict-over");
    await held.put({ a: 1, b: 1, c: 1 });
    await held.lease({ report: report({ a: { unreachable: 50 } }) });
    expect(await held.alarmAtMs()).toBe(Date.now() + 30_000);
    await held.evict();
    expect(await held.admits()).toMatchObject({ a: "none" });
    await held.evict();
    pass(30_000);
    expect(await held.runAlarm()).toBe(true);
    await held.evict();
    expect((await held.view()).version).toBe(3);
    expect(await held.admits()).toMatchObject({ a: "new" });
    expect(await backend(held, "a")).toMatchObject({ observed: { passive: { kind: "in", times: 1 } } });
  });

  it("begins anew after an eviction, which forgets what was seen and not what was decided", async () => {
    const held = ring("verdict-evicted");
    await held.put({ a: 1, b: 1, c: 1 });
    await held.lease({ isolate: "isolate-1", report: report({ a: { unreachable: 49 } }) });
    await held.evict();
    expect(
      await held.lease({ isolate: "isolate-2", report: report({ a: { unreachable: 49 } }) }),
    ).toMatchObject({
      version: 1,
    });
  });

  it.each([2, 3, 5])("leaves a pool of %i with some who serve, though all fail", async (size) => {
    const held = ring("verdict-all", String(size));
    const ids = Array.from({ length: size }, (_, index) => `b${index}`);
    await held.put(Object.fromEntries(ids.map((id) => [id, 1])));
    for (let batch = 1; batch <= 20; batch++) {
      const ill = report(Object.fromEntries(ids.map((id) => [id, { unreachable: 60 }])), { batch });
      await held.lease({ report: ill });
      const admitted = Object.values(await held.admits()).filter((admits) => admits === "new");
      expect(admitted.length).toBeGreaterThanOrEqual(size - 1);
      pass(10_000);
    }
    expect((await held.status()).backends.some(({ observed }) => observed.passive.times > 1)).toBe(true);
  });

  it("that cannot be written is not in force, and what it comes of is not lost", async () => {
    const logged: MockInstance<Console["error"]> = vi.spyOn(console, "error").mockReturnValue();
    const held = ring("verdict-unwritten");
    await held.put({ a: 1, b: 1, c: 1 });
    const mend = await held.breakWrites("rows");
    const ill = report({ a: { unreachable: 50 } });
    await expect(held.sync({ report: ill })).rejects.toThrow("sync of verdict-unwritten failed");
    expect(await held.admits()).toMatchObject({ a: "new" });
    expect(await backend(held, "a")).toMatchObject({ outcomes: { unreachable: 50 } });
    await mend();
    // The isolate sends it again, as it got no answer.
    expect(await held.lease({ report: ill })).toMatchObject({ version: 2 });
    expect(await backend(held, "a")).toMatchObject({ health: "unhealthy", outcomes: { unreachable: 50 } });
    logged.mockRestore();
  });

  it("of one pool is not held against another of the same name", async () => {
    const held = ring("verdict-another");
    await held.put({ a: 1, b: 1, c: 1 });
    await held.lease({ isolate: "isolate-1", report: report({ a: { unreachable: 49 } }) });
    await held.do({ kind: "delete-pool" });
    await held.put({ a: 1, b: 1, c: 1 });
    await held.lease({ isolate: "isolate-2", report: report({ a: { unreachable: 49 } }) });
    expect(await held.admits()).toMatchObject({ a: "new" });
  });
});

describe("a short isolation", () => {
  it("makes isolates ask every second, until it is over", async () => {
    const held = ring("verdict-isolation");
    await held.put({ a: 1, b: 1, c: 1 });
    const reply = await held.lease({ report: report({ a: { answered: 800, unreachable: 200 } }) });
    expect(reply.nextSyncMs).toBeLessThanOrEqual(1_000);
    expect(await held.alarmAtMs()).toBe(Date.now() + 100);
    expect(await held.admits()).toMatchObject({ a: "none" });
    pass(100);
    expect((await held.lease()).nextSyncMs).toBeGreaterThanOrEqual(4_500);
    expect(await held.admits()).toMatchObject({ a: "new" });
  });
});

describe("what a backend says of itself", () => {
  it("is believed where the pool does, survives an eviction, and is over by the alarm", async () => {
    const held = ring("verdict-announced");
    await held.put({ a: 1, b: 1 }, { health: { trustAnnouncements: true } });
    const draining = report({});
    const told = [{ id: "a", outcomes: { answered: 1 }, announced: "draining" as const }];
    await held.lease({ report: { ...draining, backends: told } });
    expect(await held.admits()).toEqual({ a: "sticky", b: "new" });
    await held.evict();
    expect(await held.alarmAtMs()).toBe(Date.now() + 60_000);
    pass(60_000);
    await held.runAlarm();
    await held.evict();
    expect(await held.admits()).toEqual({ a: "new", b: "new" });
  });
});
