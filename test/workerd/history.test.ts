import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { HistoryLog } from "../../durable/io/history-log.ts";
import { Store } from "../../durable/io/store.ts";
import type { Change, PoolCommand } from "../../durable/model/command.ts";
import type { HistoryEntry, VersionRecord } from "../../durable/model/history.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { epochMs } from "../../durable/model/time.ts";
import {
  accepted,
  directory,
  freezeTime,
  type HeldRing,
  id,
  inEmptyStorage,
  pass,
  poolName,
  refused,
  report,
  ring,
  route,
  routeId,
} from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

function weigh(weight: number): PoolCommand {
  return { kind: "patch-backend", id: id("a"), patch: { weight } };
}

/** Each version as number and actor, newest first. */
async function actors(held: HeldRing): Promise<readonly string[]> {
  return (await held.versions()).versions.map(({ version, actor }) => `${version} ${actor}`);
}

function paths({ changes }: { readonly changes: readonly Change[] }): readonly string[] {
  return changes.map(({ path }) => path);
}

describe("the history of a pool", () => {
  it("tells of every change who made it, when, why, by what, and what was before and after", async () => {
    const held = ring("history-changes");
    await held.put({ a: 1 });
    pass(1_000);
    const applied = accepted(
      await held.apply(weigh(5), {}, { operator: "operator alice", reason: "more traffic" }),
    );
    const { versions, oldest, newest } = await held.versions({ limit: 1 });
    expect([oldest, newest]).toEqual([1, 2]);
    expect(versions).toEqual([
      {
        version: 2,
        atMs: Date.now(),
        actor: "operator alice",
        command: "patch-backend",
        reason: "more traffic",
        changes: [{ path: "backends.a.weight", before: 1, after: 5 }],
      },
    ]);
    expect(versions[0]?.changes).toEqual(applied.changes);
  });

  it("tells the same changes as the answer to each command, and outlives an eviction after any", async () => {
    const held = ring("history-answers");
    const commands: readonly PoolCommand[] = [
      { kind: "patch-pool", patch: { policy: "first" } },
      {
        kind: "put-backend",
        id: id("c"),
        backend: { url: "https://c.example", weight: 1, via: null, labels: {}, priority: 0 },
      },
      { kind: "drain-backend", id: id("a"), forMs: 60_000 },
      { kind: "pin-backend", id: id("b"), pin: { health: "healthy", reason: "seen", forMs: 60_000 } },
      { kind: "rotate-keys" },
      { kind: "remove-backend", id: id("b") },
      { kind: "delete-pool" },
    ];
    const answers = [await held.put({ a: 1, b: 1 })];
    for (const command of commands) {
      answers.push(await held.do(command));
      await held.evict();
    }
    const { versions } = await held.versions();
    const told = new Map(versions.map((version) => [version.version, version.changes]));
    for (const { version, changes } of answers)
      expect(told.get(version)).toEqual(expect.arrayContaining([...changes]));
    // One of them came by itself: the new keys were spread, as no isolate had to be waited for.
    expect(versions.map(({ version }) => version)).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1]);
    expect(versions.filter(({ command }) => command === null)).toMatchObject([{ actor: "time" }]);
  });

  it("has no version for what changed nothing", async () => {
    const held = ring("history-nothing");
    await held.put({ a: 1 });
    await held.put({ a: 1 });
    expect(accepted(await held.check(weigh(2)))).toMatchObject({ version: 2, changes: [{ after: 2 }] });
    expect(await actors(held)).toEqual(["1 operator tester"]);
    expect((await held.view()).version).toBe(1);
  });

  it("names the time for what it ends: a drain, a pin, an ejection", async () => {
    const held = ring("history-time");
    await held.put({ a: 1, b: 1, c: 1 });
    await held.drain("a", 10_000);
    pass(10_000);
    await held.runAlarm();
    await held.pin("b", { forMs: 20_000 });
    pass(20_000);
    await held.runAlarm();
    const { versions } = await held.versions();
    expect(versions.slice(0, 3)).toMatchObject([
      {
        actor: "time",
        command: null,
        changes: [
          { path: "pins.b", after: null },
          { path: "health.b", after: null },
        ],
      },
      { command: "pin-backend" },
      { actor: "time", command: null, changes: [{ path: "drained.a", before: null, after: true }] },
    ]);
  });

  it("names the verdict for an ejection, and no document changes by it", async () => {
    const held = ring("history-verdict");
    await held.put({ a: 1, b: 1, c: 1 });
    await held.lease({ report: report({ a: { unreachable: 50 }, b: { answered: 50 } }) });
    expect((await held.versions({ limit: 1 })).versions).toMatchObject([
      { version: 2, actor: "verdict", changes: [{ path: "health.a", before: null, after: "unhealthy" }] },
    ]);
    const [first, second] = [accepted(await held.documentAt(1)), accepted(await held.documentAt(2))];
    expect(second.document).toEqual(first.document);
  });

  it("tells each step of a key rotation, and never a key", async () => {
    const held = ring("history-keys");
    await held.put({ a: 1 });
    const before = await held.published();
    await held.do({ kind: "rotate-keys" });
    pass(60_000);
    await held.runAlarm();
    const { versions } = await held.versions();
    expect(versions.slice(0, 2)).toMatchObject([
      { actor: "time" },
      { actor: "operator tester", command: "rotate-keys", changes: [{ path: "tokens.spreading", after: 1 }] },
    ]);
    expect(versions[0]?.changes).toEqual([
      { path: "tokens.spreading", before: 1, after: null },
      { path: "tokens.writing", before: 0, after: 1 },
      { path: "tokens.retired", before: [], after: [0] },
    ]);
    const after = await held.published();
    const stored = await held.inside(({ sql }) => [
      ...sql.exec("SELECT json FROM versions"),
      ...sql.exec("SELECT json FROM parts"),
    ]);
    const secrets = [before.secret, ...after.tokens.configs.flatMap(({ key, macKey }) => [key, macKey])];
    for (const secret of secrets) expect(JSON.stringify([versions, stored])).not.toContain(secret);
  });

  it("goes on over the deletion of the pool, which is part of it", async () => {
    const held = ring("history-deleted");
    await held.put({ a: 1 });
    await held.do({ kind: "delete-pool" });
    await held.evict();
    expect(await actors(held)).toEqual(["2 operator tester", "1 operator tester"]);
    expect(refused(await held.documentAt(2))).toMatchObject({ kind: "not-found" });
    expect(accepted(await held.documentAt(1)).document).toMatchObject({ backends: [{ id: "a" }] });
    await held.put({ b: 1 });
    expect(accepted(await held.difference(1, 3)).changes).toMatchObject([
      { path: "backends.a", after: null },
      { path: "backends.b", before: null },
    ]);
  });

  it("is given in pages, from the newest back", async () => {
    const held = ring("history-pages");
    await held.put({ a: 1 });
    for (const weight of [2, 3, 4, 5]) await held.do(weigh(weight));
    const page = async (before: number | null): Promise<readonly VersionRecord[]> =>
      (await held.versions({ before, limit: 2 })).versions;
    const [first, second, third] = [await page(null), await page(4), await page(2)];
    expect([first, second, third].map((each) => each.map(({ version }) => version))).toEqual([
      [5, 4],
      [3, 2],
      [1],
    ]);
    expect(second.map(({ changes }) => changes[0])).toEqual([
      { path: "backends.a.weight", before: 2, after: 3 },
      { path: "backends.a.weight", before: 1, after: 2 },
    ]);
  });

  it("is none where there never was a pool", async () => {
    const held = ring("history-never");
    expect(refused(await held.tryVersions())).toMatchObject({ kind: "not-found" });
    expect(refused(await held.documentAt(1))).toMatchObject({ kind: "not-found" });
  });

  // A pool as it was stored before there was a history.
  it("begins with what was there when it began", async () => {
    const held = ring("history-upgrade");
    await held.put({ a: 1 });
    await held.do(weigh(2));
    await held.inside(({ sql }) => {
      sql.exec("DELETE FROM versions");
      sql.exec("DELETE FROM parts");
    });
    await held.evict();
    expect(await actors(held)).toEqual(["2 start"]);
    await held.do(weigh(3));
    await held.evict();
    expect((await held.versions()).versions.map(paths)).toEqual([
      ["backends.a.weight"],
      expect.arrayContaining(["policy"]),
    ]);
    expect(refused(await held.documentAt(1))).toEqual({
      kind: "not-found",
      detail: "version 1 is not kept; kept are 2…3",
    });
  });
});

describe("the history of the directory", () => {
  it("tells of routes and of the list of pools, over an eviction, and never its secret", async () => {
    const held = directory("history-directory");
    await held.do({ kind: "add-pool", name: poolName("shop") });
    await held.do({ kind: "put-route", id: routeId("r"), route: route({ pool: poolName("shop") }) });
    await held.evict();
    await held.do({ kind: "remove-route", id: routeId("r") });
    const { versions } = await held.versions();
    expect(versions.map(({ actor, command }) => command ?? actor)).toEqual([
      "remove-route",
      "put-route",
      "add-pool",
      "start",
    ]);
    expect(versions.map(paths)).toEqual([["routes.r"], ["routes.r"], ["pools"], ["pools", "routes"]]);
    expect(accepted(await held.documentAt(3)).document).toMatchObject({
      pools: ["shop"],
      routes: [{ id: "r" }],
    });
    const { secret } = await held.published();
    expect(JSON.stringify(versions)).not.toContain(secret);
  });
});

describe("the routes, all at once", () => {
  it("become exactly those, with pools that are listed along", async () => {
    const held = directory("history-routes");
    await held.do({ kind: "put-route", id: routeId("old"), route: route({ path: "/old" }) });
    const shop = poolName("shop");
    const routes = [{ id: routeId("new"), ...route({ path: "/new", pool: shop }) }];
    const applied = await held.do({ kind: "put-routes", routes, pools: [shop] });
    expect(await held.view()).toMatchObject({ version: applied.version, pools: ["shop"], routes });
    expect(await held.do({ kind: "put-routes", routes, pools: [] })).toMatchObject({ changes: [] });
  });

  it("are refused as one where any of them would be, and nothing changes", async () => {
    const held = directory("history-routes-refused");
    const before = await held.view();
    const [one, two] = [
      { id: routeId("one"), ...route({}) },
      { id: routeId("two"), ...route({}) },
    ];
    const lost = { ...two, path: "/b", pool: poolName("nowhere") };
    const put = async (...routes: (typeof one)[]) =>
      refused(await held.apply({ kind: "put-routes", routes, pools: [] }));
    expect(await put(one, two)).toMatchObject({ kind: "conflict" });
    expect(await put(one, one)).toMatchObject({ kind: "invalid", errors: [{ field: "routes.1.id" }] });
    expect(await put(one, lost)).toMatchObject({ kind: "invalid", errors: [{ field: "routes.1.pool" }] });
    expect(
      refused(await held.apply({ kind: "put-routes", routes: [one], pools: [] }, { ifMatch: [99] })),
    ).toMatchObject({ kind: "stale-version" });
    expect(await held.view()).toEqual(before);
  });
});

describe("lost leases", () => {
  it("are counted where an isolate was never heard to hold the version of its time, and over an eviction", async () => {
    const held = ring("history-lost");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({ isolate: "isolate-idle" });
    await held.lease({ isolate: "isolate-idle", incarnation, haveVersion: 1 });
    await held.lease({ isolate: "isolate-behind" });
    await held.do(weigh(2));
    await held.lease({ isolate: "isolate-idle", incarnation, haveVersion: 2 });
    pass(60_000);
    // Idle was up to date when it went: a later version does not make it a loss.
    await held.do(weigh(3));
    const minute = Date.now() - (Date.now() % 60_000);
    const lost = { atMs: minute, unacknowledged: 1, busy: 0, inFlight: 0 };
    expect(await held.lostLeases()).toEqual({ minutes: [lost] });
    await held.evict();
    expect(await held.lostLeases()).toEqual({ minutes: [lost] });
  });

  it("are counted where work was in flight, by the minute", async () => {
    const held = ring("history-busy");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({ isolate: "isolate-busy" });
    const minutes: number[] = [];
    for (const count of [3, 4]) {
      await held.lease({
        isolate: `isolate-busy-${count}`,
        incarnation,
        haveVersion: 1,
        inFlight: [{ id: "a", count }],
      });
      pass(60_000);
      await held.lostLeases();
      minutes.push(Date.now());
    }
    expect((await held.lostLeases()).minutes).toEqual([
      { atMs: minutes[1], unacknowledged: 0, busy: 1, inFlight: 4 },
      { atMs: minutes[0], unacknowledged: 0, busy: 1, inFlight: 3 },
    ]);
  });
});

describe("100 conflicting writes at once", { timeout: 30_000 }, () => {
  const numbers = Array.from({ length: 100 }, (_, index) => index + 2);

  it("leave one winner under the same If-Match, and every loser a refusal by the version", async () => {
    const held = ring("history-race");
    await held.put({ a: 1 });
    const results = await Promise.all(numbers.map((weight) => held.apply(weigh(weight), { ifMatch: [1] })));
    const [winner, ...others] = results.flatMap((result) => (result.ok ? [result.value] : []));
    expect(others).toEqual([]);
    const losers = results.flatMap((result) => (result.ok ? [] : [result.refusal]));
    expect(losers).toEqual(losers.map(() => ({ kind: "stale-version", expected: "1", actual: "2" })));
    expect(losers).toHaveLength(99);
    await held.evict();
    expect(await chain(held)).toEqual([winner?.changes[0]?.after]);
  });

  it("all come through under If-Match when each loser reads and tries again, evictions in between", async () => {
    const held = ring("history-retries");
    await held.put({ a: 1 });
    let refusals = 0;
    const write = async (weight: number): Promise<number> => {
      for (;;) {
        const { version } = await held.view();
        const result = await held.apply(weigh(weight), { ifMatch: [version] });
        if (result.ok) return result.value.version;
        expect(result.refusal.kind).toBe("stale-version");
        refusals += 1;
      }
    };
    const versions: number[] = [];
    for (let start = 0; start < 100; start += 10) {
      versions.push(...(await Promise.all(numbers.slice(start, start + 10).map(write))));
      await held.evict();
    }
    expect(new Set(versions).size).toBe(100);
    expect(refusals).toBeGreaterThan(0);
    expect(new Set(await chain(held))).toEqual(new Set(numbers));
  });

  it("all succeed without If-Match, evictions in between, each in a version of its own", async () => {
    const held = ring("history-free");
    await held.put({ a: 1 });
    const told = new Map<number, unknown>();
    for (let start = 0; start < 100; start += 25) {
      const applied = await Promise.all(
        numbers
          .slice(start, start + 25)
          .map(async (weight) => [(await held.do(weigh(weight))).version, weight] as const),
      );
      for (const [version, weight] of applied) told.set(version, weight);
      await held.evict();
    }
    expect(told.size).toBe(100);
    expect(await chain(held)).toEqual([...told].toSorted(([a], [b]) => a - b).map(([, weight]) => weight));
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

  it.each(["versions", "parts", "rows"] as const)(
    "leaves neither a version nor its history: %s",
    async (table) => {
      const held = ring("history-broken", table);
      await held.put({ a: 1 });
      const before = [await held.view(), await held.versions()];
      const mend = await held.breakWrites(table);
      await expect(held.do(weigh(2))).rejects.toThrow("failed");
      expect([await held.view(), await held.versions()]).toEqual(before);
      await held.evict();
      expect([await held.view(), await held.versions()]).toEqual(before);
      await mend();
      await held.do(weigh(3));
      expect((await held.versions()).versions[0]).toMatchObject({
        version: 2,
        changes: [{ before: 1, after: 3 }],
      });
    },
  );

  it("of lost leases keeps no isolate from its lease", async () => {
    const held = ring("history-lost-broken");
    await held.put({ a: 1 });
    await held.lease({ isolate: "isolate-gone", inFlight: [{ id: "a", count: 1 }] });
    const mend = await held.breakWrites("lost_leases");
    pass(60_000);
    expect(await held.lease({ isolate: "isolate-another" })).toMatchObject({ version: 1 });
    expect(logged).toHaveBeenCalled();
    await mend();
  });
});

describe("what is kept", { timeout: 30_000 }, () => {
  it("is the newest of what was asked for, whatever comes by itself, and the other way round", async () => {
    await inEmptyLog("history-bounded", (log) => {
      for (let version = 1; version <= 40; version++) log.append(entry(version, "operator alice"), []);
      for (let version = 41; version <= 1_200; version++) log.append(entry(version, "time"), []);
      const kept = log.entries(10_000, 10_000);
      expect(kept.filter(({ command }) => command !== null)).toHaveLength(40);
      const itself = kept.filter(({ command }) => command === null).map(({ version }) => version);
      expect(itself.length).toBeGreaterThanOrEqual(LIMITS.versions);
      expect(itself.length).toBeLessThanOrEqual(LIMITS.versions + 50);
      expect(itself).toEqual(itself.map((_, index) => 1_200 - index));
      expect([log.oldest, log.newest]).toEqual([1, 1_200]);
    });
  });

  it("is bounded by bytes, and what is kept can still be told and read", async () => {
    await inEmptyLog("history-bytes", (log, sql) => {
      const large = "x".repeat(1_000_000);
      for (let version = 1; version <= 30; version++) {
        log.append(entry(version, "operator alice"), [
          { name: "", json: `"${version} ${large}"` },
          { name: `gone-${version}`, json: version % 2 === 0 ? "1" : null },
          { name: "steady", json: version === 1 ? "1" : String(version % 5) },
        ]);
      }
      const { bytes } = sql.exec<{ bytes: number }>("SELECT SUM(LENGTH(json)) AS bytes FROM parts").one();
      expect(bytes).toBeLessThan(LIMITS.historyBytes + 2_000_000);
      expect(log.newest).toBe(30);
      expect(log.oldest).toBeGreaterThan(10);
      // The one before the oldest is there to be compared with.
      const base = log.partsAt(log.oldest - 1);
      expect(base.find(({ name }) => name === "")?.version).toBe(log.oldest - 1);
      expect(log.partsAt(log.oldest).find(({ name }) => name === "")?.version).toBe(log.oldest);
      const tombs = sql.exec<{ count: number }>(
        "SELECT COUNT(*) AS count FROM parts WHERE json IS NULL AND version < ?",
        log.oldest,
      );
      expect(tombs.one().count).toBe(0);
    });
  });

  it("is the last version in any case", async () => {
    await inEmptyLog("history-huge", (log) => {
      const parts = Array.from({ length: 21 }, (_, index) => ({
        name: String(index),
        json: "x".repeat(1_000_000),
      }));
      log.append(entry(1, "operator alice"), parts);
      expect([log.oldest, log.newest, log.partsAt(1).length]).toEqual([1, 1, 21]);
      log.append(entry(2, "operator alice"), []);
      expect([log.oldest, log.newest, log.partsAt(2).length]).toEqual([2, 2, 21]);
    });
  });

  it("is the last minutes of lost leases", async () => {
    await inEmptyLog("history-minutes", (log) => {
      for (let minute = 1; minute <= LIMITS.lostLeaseMinutes + 5; minute++)
        log.addLost({ atMs: epochMs(minute * 60_000), unacknowledged: 1, busy: 0, inFlight: 0 });
      const lost = log.lost();
      expect([lost.length, lost[0]?.atMs]).toEqual([
        LIMITS.lostLeaseMinutes,
        (LIMITS.lostLeaseMinutes + 5) * 60_000,
      ]);
    });
  });
});

/** The weights of `a` that history tells, oldest first, once each version's before proved to be the last one's after. */
async function chain(held: HeldRing): Promise<readonly unknown[]> {
  const pages = [await held.versions({ limit: 60 }), await held.versions({ before: 42, limit: 60 })];
  const newest = (await held.view()).version;
  const versions = pages
    .flatMap((page) => page.versions)
    .filter(({ version }, index, all) => all.findIndex((other) => other.version === version) === index)
    .toSorted((a, b) => a.version - b.version);
  expect(versions.map(({ version }) => version)).toEqual(
    Array.from({ length: newest }, (_, index) => index + 1),
  );
  const changes = versions.slice(1).flatMap((version) => version.changes);
  expect(changes.map(({ path }) => path)).toEqual(changes.map(() => "backends.a.weight"));
  changes.reduce<unknown>((last, { before, after }) => {
    expect(before).toEqual(last);
    return after;
  }, 1);
  return changes.map(({ after }) => after);
}

function entry(version: number, actor: string): HistoryEntry {
  const command = actor === "time" ? null : "put-pool";
  return { version, atMs: epochMs(Date.now()), actor, command, reason: null, changes: [] };
}

/** A log of an object without any history. */
function inEmptyLog(name: string, work: (log: HistoryLog, sql: SqlStorage) => void): Promise<void> {
  return inEmptyStorage(name, (storage) => {
    // Its migrations make the tables.
    new Store<object, object>(storage).read();
    work(new HistoryLog(storage), storage.sql);
  });
}
