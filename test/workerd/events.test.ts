import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { EventLog } from "../../durable/io/event-log.ts";
import { Store } from "../../durable/io/store.ts";
import type { Occurrence } from "../../durable/model/event.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { epochMs } from "../../durable/model/time.ts";
import { freezeTime, id, inEmptyStorage, pass, ring } from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

describe("a pin", () => {
  it("is an event when it is set and when it is taken away, with who did it and what it said", async () => {
    const held = ring("events-pin");
    await held.put({ a: 1, b: 1 });
    const atMs = Date.now();
    const evidence = { health: "unhealthy", reason: "its disk is full", untilMs: atMs + 60_000 };
    const pinned = await held.pin("a", { reason: "its disk is full", forMs: 60_000 });
    pass(1_000);
    const unpinned = await held.unpin("a");
    const common = { backend: "a", cause: "operator", evidence };
    expect(await held.events()).toEqual({
      events: [
        { ...common, id: 1, version: pinned.version, atMs, kind: "pinned" },
        { ...common, id: 2, version: unpinned.version, atMs: atMs + 1_000, kind: "unpinned" },
      ],
      lastId: 2,
    });
  });

  it("is an event when it runs out, by the time", async () => {
    const held = ring("events-pin-time");
    await held.put({ a: 1, b: 1 });
    await held.pin("a", { forMs: 60_000 });
    pass(60_000);
    await held.runAlarm();
    const { events } = await held.events({ after: 1 });
    const { version } = await held.view();
    expect(events).toMatchObject([{ id: 2, version, atMs: Date.now(), kind: "unpinned", cause: "time" }]);
  });

  it("is none when nothing changed, nor is anything else that an operator does", async () => {
    const held = ring("events-none");
    await held.put({ a: 1, b: 1 });
    await held.unpin("a");
    await held.drain("b", 0);
    await held.put({ a: 3 });
    expect(await held.events()).toEqual({ events: [], lastId: 0 });
  });
});

describe("the events of a pool", () => {
  it("are given after an id, oldest first, so many at a time", async () => {
    const held = ring("events-pages");
    await held.put({ a: 1 });
    for (let turn = 0; turn < 3; turn++) {
      await held.pin("a");
      await held.unpin("a");
    }
    const idsAfter = async (after: number): Promise<readonly number[]> =>
      (await held.events({ after, limit: 4 })).events.map((event) => event.id);
    expect([await idsAfter(0), await idsAfter(4), await idsAfter(6), await idsAfter(99)]).toEqual([
      [1, 2, 3, 4],
      [5, 6],
      [],
      [],
    ]);
    expect((await held.events({ after: 4, limit: 1 })).lastId).toBe(6);
  });

  it("outlive an eviction, and their ids go on", async () => {
    const held = ring("events-evicted");
    await held.put({ a: 1 });
    await held.pin("a");
    const before = await held.events();
    await held.evict();
    expect(await held.events()).toEqual(before);
    await held.unpin("a");
    expect((await held.events({ after: 1 })).events).toMatchObject([{ id: 2, kind: "unpinned" }]);
  });

  it("go with the pool, but a pool of the same name goes on counting", async () => {
    const held = ring("events-deleted");
    await held.put({ a: 1 });
    await held.pin("a");
    await held.do({ kind: "delete-pool" });
    await held.evict();
    await held.put({ a: 1 });
    expect(await held.events()).toEqual({ events: [], lastId: 1 });
    await held.pin("a");
    expect((await held.events()).events).toMatchObject([{ id: 2 }]);
  });

  it("are bounded, and the oldest go first", async () => {
    await inEmptyStorage("events-bounded", (storage) => {
      const store = new Store<object, object>(storage);
      const log = new EventLog(storage);
      const happen = (count: number): void => {
        store.write({}, [], () => log.append(log.number(occurrences(count), 1)));
      };
      const kept = (): readonly number[] => log.read({ after: 0, limit: 10_000 }).map((event) => event.id);
      happen(LIMITS.events);
      expect([kept().length, kept()[0]]).toEqual([LIMITS.events, 1]);
      happen(3);
      expect([kept().length, kept()[0], log.lastId]).toEqual([LIMITS.events, 4, LIMITS.events + 3]);
      happen(2 * LIMITS.events);
      expect([kept().length, kept()[0]]).toEqual([LIMITS.events, 2 * LIMITS.events + 4]);
      expect(new EventLog(storage).lastId).toBe(3 * LIMITS.events + 3);
    });
  });
});

describe("a write that fails", () => {
  let logged: MockInstance<Console["error"]>;
  beforeEach(() => {
    logged = vi.spyOn(console, "error").mockReturnValue();
  });
  afterEach(() => {
    logged.mockRestore();
  });

  it.each(["events", "rows"] as const)("leaves neither an event nor what it tells of: %s", async (table) => {
    const held = ring("events-broken", table);
    await held.put({ a: 1 });
    await held.pin("a");
    const before = [await held.view(), await held.events()];
    const mend = await held.breakWrites(table);
    await expect(held.unpin("a")).rejects.toThrow("failed");
    expect([await held.view(), await held.events()]).toEqual(before);
    await held.evict();
    expect([await held.view(), await held.events()]).toEqual(before);
    await mend();
    await held.unpin("a");
    expect((await held.events()).events.map((event) => [event.id, event.kind])).toEqual([
      [1, "pinned"],
      [2, "unpinned"],
    ]);
  });

  it("keeps a pin that has run out and its event together, until both can be stored", async () => {
    const held = ring("events-broken-alarm");
    await held.put({ a: 1 });
    await held.pin("a", { forMs: 60_000 });
    const mend = await held.breakWrites("events");
    pass(60_000);
    await expect(held.runAlarm()).rejects.toThrow("the disk is full");
    await mend();
    expect((await held.status()).backends).toMatchObject([{ id: "a", pin: null }]);
    expect((await held.events()).events.map((event) => event.kind)).toEqual(["pinned", "unpinned"]);
  });
});

function occurrences(count: number): readonly Occurrence[] {
  return Array.from({ length: count }, () => ({
    atMs: epochMs(Date.now()),
    backend: id("a"),
    kind: "unhealthy",
    cause: "probe",
    evidence: {},
  }));
}
