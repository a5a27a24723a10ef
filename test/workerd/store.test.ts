import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { EventLog } from "../../durable/io/event-log.ts";
import { Store } from "../../durable/io/store.ts";
import { directory, freezeTime, inEmptyStorage, pass, pool, poolName, ring, tables } from "./support.ts";

type Head = { readonly title: string };
type Row = { readonly name: string };

describe("a store", () => {
  it("holds nothing at first, and no lease", async () => {
    await inEmptyStorage("store-fresh", (storage) => {
      const store = new Store<Head, Row>(storage);
      expect([store.read(), store.readLongestLeaseMs()]).toEqual([null, 0]);
      expect(tables(storage)).toEqual({
        schema_version: [{ version: 4 }],
        head: [],
        rows: [],
        longest_lease: [],
        events: [],
        last_event: [],
        outbox: [],
        versions: [],
        parts: [],
        lost_leases: [],
        published: [],
      });
    });
  });

  it.each([
    ["more rows", ["a", "b", "c", "d"]],
    ["fewer rows", ["a"]],
    ["no rows", []],
    ["the same rows in another order", ["c", "b", "a"]],
    ["one row taken out of the middle", ["a", "c"]],
  ])("gives a new reader what was written last: %s", async (what, last) => {
    await inEmptyStorage(`store-last ${what}`, (storage) => {
      const store = new Store<Head, Row>(storage);
      store.write({ title: "first" }, rows("a", "b", "c"));
      store.write({ title: "last" }, rows(...last));
      expect(new Store(storage).read()).toEqual({ head: { title: "last" }, rows: rows(...last) });
    });
  });

  it("goes on from what an earlier life of the object wrote", async () => {
    await inEmptyStorage("store-next-life", (storage) => {
      new Store<Head, Row>(storage).write({ title: "first" }, rows("a", "b", "c"));
      const store = new Store<Head, Row>(storage);
      store.read();
      store.write({ title: "last" }, rows("a", "x"));
      expect(new Store(storage).read()).toEqual({ head: { title: "last" }, rows: rows("a", "x") });
    });
  });

  it("writes again only the rows that differ", async () => {
    await inEmptyStorage("store-differing", (storage) => {
      const store = new Store<Head, Row>(storage);
      store.write({ title: "first" }, rows("a", "b", "c"));
      const written = noteRowsWritten(storage);
      store.write({ title: "second" }, rows("a", "x", "c", "d"));
      expect(written()).toEqual([1, 3]);
      store.write({ title: "third" }, rows("a", "x", "c", "d"));
      expect(written()).toEqual([1, 3]);
    });
  });

  it("writes again only the rows that differ from what an earlier life wrote", async () => {
    await inEmptyStorage("store-differing-life", (storage) => {
      new Store<Head, Row>(storage).write({ title: "first" }, rows("a", "b", "c"));
      const store = new Store<Head, Row>(storage);
      store.read();
      const written = noteRowsWritten(storage);
      store.write({ title: "second" }, rows("a", "b", "x"));
      expect(written()).toEqual([2]);
    });
  });

  it("takes over what the first version of the schema holds", async () => {
    await inEmptyStorage("store-first-schema", (storage) => {
      const { sql } = storage;
      sql.exec("CREATE TABLE schema_version (version INTEGER NOT NULL)");
      sql.exec("CREATE TABLE head (only INTEGER PRIMARY KEY CHECK (only = 0), json TEXT NOT NULL)");
      sql.exec("CREATE TABLE rows (position INTEGER PRIMARY KEY, json TEXT NOT NULL)");
      sql.exec("CREATE TABLE longest_lease (only INTEGER PRIMARY KEY CHECK (only = 0), ms INTEGER NOT NULL)");
      sql.exec("INSERT INTO schema_version VALUES (1)");
      sql.exec("INSERT INTO longest_lease VALUES (0, 64000)");
      sql.exec("INSERT INTO head VALUES (0, ?)", JSON.stringify({ title: "of the past" }));
      sql.exec("INSERT INTO rows VALUES (0, ?)", JSON.stringify({ name: "a" }));
      const store = new Store(storage);
      expect(store.read()).toEqual({ head: { title: "of the past" }, rows: rows("a") });
      expect(store.readLongestLeaseMs()).toBe(64_000);
      expect(new EventLog(storage).lastId).toBe(0);
    });
  });

  it("writes nothing when what is to be written alongside fails", async () => {
    await inEmptyStorage("store-alongside", (storage) => {
      const store = new Store<Head, Row>(storage);
      store.write({ title: "first" }, rows("a"));
      const before = tables(storage);
      const failing = (): void => {
        storage.sql.exec("INSERT INTO missing VALUES (1)");
      };
      expect(() => store.write({ title: "second" }, rows("a", "b"), failing)).toThrow("no such table");
      expect(tables(storage)).toEqual(before);
      store.write({ title: "third" }, rows("a", "b"));
      expect(new Store(storage).read()).toEqual({ head: { title: "third" }, rows: rows("a", "b") });
    });
  });

  it("remembers the longest lease, and a shorter one after it", async () => {
    await inEmptyStorage("store-lease", (storage) => {
      const store = new Store<Head, Row>(storage);
      store.writeLongestLeaseMs(64_000);
      expect(new Store(storage).readLongestLeaseMs()).toBe(64_000);
      store.writeLongestLeaseMs(32_000);
      expect(new Store(storage).readLongestLeaseMs()).toBe(32_000);
    });
  });
});

// The disk fails at the second row: the head and the first row are written by then.
describe("a write that fails in its middle", () => {
  let logged: MockInstance<Console["error"]>;
  beforeEach(() => {
    freezeTime();
    logged = vi.spyOn(console, "error").mockReturnValue();
  });
  afterEach(() => {
    logged.mockRestore();
    vi.useRealTimers();
  });

  const changed = pool({ a: 9, b: 9, c: 9 }, { policy: "rendezvous" });

  it("changes neither what callers see nor what is stored", async () => {
    const held = ring("store-half");
    await held.put({ a: 1, b: 1, c: 1 });
    const [view, published] = [await held.view(), await held.published()];
    await held.breakWrites("rows", "NEW.position = 1");
    await expect(held.apply({ kind: "put-pool", document: changed })).rejects.toThrow("apply of store-half");
    expect([await held.view(), await held.published()]).toEqual([view, published]);
    await held.evict();
    expect([await held.view(), await held.published()]).toEqual([view, published]);
  });

  it("can be made again when the disk is well", async () => {
    const held = ring("store-half-again");
    const { version } = await held.put({ a: 1, b: 1, c: 1 });
    const mend = await held.breakWrites("rows", "NEW.position = 1");
    await expect(held.apply({ kind: "put-pool", document: changed })).rejects.toThrow("failed");
    await mend();
    expect(await held.do({ kind: "put-pool", document: changed })).toMatchObject({ version: version + 1 });
    await held.evict();
    expect((await held.view()).document.backends.map(({ weight }) => weight)).toEqual([9, 9, 9]);
  });

  it("keeps a deleted pool", async () => {
    const held = ring("store-half-delete");
    await held.put({ a: 1 });
    const view = await held.view();
    await held.breakWrites("head");
    await expect(held.apply({ kind: "delete-pool" })).rejects.toThrow("failed");
    expect(await held.view()).toEqual(view);
    await held.evict();
    expect(await held.view()).toEqual(view);
  });

  it("publishes no end of a drain, until it can be stored", async () => {
    const held = ring("store-half-drain");
    await held.put({ a: 1, b: 1 });
    const { version } = await held.drain("b", 60_000);
    const mend = await held.breakWrites("rows", "NEW.position = 1");
    pass(60_000);
    await expect(held.runAlarm()).rejects.toThrow("the disk is full");
    expect((await held.view()).version).toBe(version);
    await mend();
    expect(await held.admits()).toEqual({ a: "new", b: "none" });
  });

  it("changes no route", async () => {
    const held = directory("store-half-directory");
    const before = await held.view();
    await held.breakWrites("head");
    await expect(held.apply({ kind: "add-pool", name: poolName("api") })).rejects.toThrow("failed");
    expect(await held.view()).toEqual(before);
  });
});

describe("an object whose tables are newer than the code", () => {
  it("writes nothing", async () => {
    await inEmptyStorage("store-newer", (storage) => {
      new Store<Head, Row>(storage).write({ title: "of the future" }, rows("a"));
      storage.sql.exec("UPDATE schema_version SET version = 99");
      const before = tables(storage);
      expect(() => new Store(storage)).toThrow("newer");
      expect(tables(storage)).toEqual(before);
    });
  });

  // The runtime prints the error several times: it breaks the object, as it should.
  it("answers nothing, and says why", async () => {
    const held = ring("store-newer-ring");
    await held.put({ a: 1 });
    await held.inside(({ sql }) => void sql.exec("UPDATE schema_version SET version = 99"));
    await held.evict();
    await expect(held.raw("/do/call/view")).rejects.toThrow("stored schema version 99 is newer than 4");
  });
});

function rows(...names: string[]): Row[] {
  return names.map((name) => ({ name }));
}

/** Lets SQLite note the position of every row written from now on. */
function noteRowsWritten({ sql }: DurableObjectStorage): () => number[] {
  sql.exec("CREATE TABLE noted (position INTEGER)");
  sql.exec("CREATE TRIGGER note AFTER INSERT ON rows BEGIN INSERT INTO noted VALUES (NEW.position); END");
  return () =>
    sql
      .exec<{ position: number }>("SELECT position FROM noted ORDER BY rowid")
      .toArray()
      .map(({ position }) => position);
}
