import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { accepted, freezeTime, id, pass, refused, ring } from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

/** From the last acknowledgement until it is safe, by the defaults. */
const SETTLED_MS = 2_100 + 5_000;

/** From the publication on: the longest lease stored and an hour past it, by a clock that is 1 % slow and stands still. */
const CERTAIN_MS = Math.ceil((32_000 + 3_600_000) / 0.99) + 1_100;

/** How long after an eviction there may be isolates that nobody has heard of. */
const UNHEARD_MS = Math.ceil(32_000 / 0.99) + 1_100;

const X = { labels: { zone: "x" } };
const Y = { labels: { zone: "y" } };
const AT_B = [{ id: "b", count: 2 }];

describe("a receipt", () => {
  it("goes from active over draining and expired to safe", async () => {
    const held = ring("receipt-life");
    await held.put({ a: 1, b: 1 });
    const { incarnation } = await held.lease();
    expect(await held.receipt("b")).toEqual({
      id: "b",
      state: "active",
      version: 1,
      safe: false,
      safeAtMs: null,
      certainAtMs: null,
      drainsUntilMs: null,
      inFlight: 0,
      estimatedSessions: { count: 0, sinceMs: expect.any(Number) },
      outstandingIsolates: 0,
      unheardUntilMs: null,
    });
    await held.drain("b", 20_000);
    const deadlineMs = Date.now() + 20_000;
    await held.lease({ incarnation, haveVersion: 2, inFlight: AT_B });
    expect(await held.receipt("b")).toMatchObject({
      state: "draining",
      version: 2,
      drainsUntilMs: deadlineMs,
      inFlight: 2,
      safeAtMs: deadlineMs + UNHEARD_MS + SETTLED_MS,
      certainAtMs: deadlineMs + CERTAIN_MS + SETTLED_MS,
    });
    pass(20_000);
    expect(await held.receipt("b")).toMatchObject({
      state: "expired",
      version: 3,
      safe: false,
      safeAtMs: null,
      inFlight: 2,
      outstandingIsolates: 1,
      certainAtMs: deadlineMs + CERTAIN_MS + SETTLED_MS,
    });
    await held.lease({ incarnation, haveVersion: 2 });
    await held.lease({ incarnation, haveVersion: 3 });
    const safeAtMs = Date.now() + SETTLED_MS;
    expect(await held.receipt("b")).toMatchObject({ state: "expired", safe: false, safeAtMs });
    pass(SETTLED_MS - 1);
    expect(await held.receipt("b")).toMatchObject({ state: "expired", safe: false });
    pass(1);
    expect(await held.receipt("b")).toMatchObject({ state: "safe", safe: true, safeAtMs, inFlight: 0 });
    pass(1_000_000);
    expect(await held.receipt("b")).toMatchObject({ state: "safe", safeAtMs });
    await held.do({ kind: "undrain-backend", id: id("b") });
    expect(await held.receipt("b")).toMatchObject({ state: "active", safe: false, certainAtMs: null });
  });

  it("is never safe while an isolate tells of requests, and says how many", async () => {
    const held = ring("receipt-busy");
    await held.put({ a: 1, b: 1 });
    const { incarnation } = await held.lease({ inFlight: AT_B });
    await held.drain("b", 0);
    for (let turn = 0; turn < 10; turn++) {
      await held.lease({ incarnation, haveVersion: 2, inFlight: AT_B });
      pass(10_000);
      expect(await held.receipt("b")).toMatchObject({
        state: "expired",
        safe: false,
        inFlight: 2,
        safeAtMs: null,
      });
    }
    await held.lease({ incarnation, haveVersion: 2 });
    expect(await held.receipt("b")).toMatchObject({ safe: false, inFlight: 0, safeAtMs: Date.now() + 5_000 });
  });

  it("counts what was in flight in an isolate that fell silent until it is certain", async () => {
    const held = ring("receipt-silent");
    await held.put({ a: 1, b: 1 });
    await held.lease({ inFlight: AT_B });
    pass(60_000);
    await held.drain("b", 0);
    const endMs = Date.now() + CERTAIN_MS;
    pass(CERTAIN_MS - 1);
    await held.lease({ isolate: "another-one", incarnation: null });
    expect(await held.receipt("b")).toMatchObject({
      safe: false,
      inFlight: 2,
      outstandingIsolates: 0,
      certainAtMs: endMs + SETTLED_MS,
    });
    // The status says what is known of the present.
    expect((await held.status()).backends).toMatchObject([{ id: "a" }, { id: "b", inFlight: 0 }]);
    pass(1 + 5_000);
    expect(await held.receipt("b")).toMatchObject({
      state: "safe",
      inFlight: 0,
      safeAtMs: endMs + 5_000,
    });
  });

  it("is safe from its closing on, and not before, where no isolate was left to use it", async () => {
    const held = ring("receipt-idle");
    await held.put({ a: 1, b: 1 });
    pass(100_000);
    await held.drain("b", 60_000);
    const deadlineMs = Date.now() + 60_000;
    pass(60_000);
    expect(await held.receipt("b")).toMatchObject({ state: "safe", safe: true, safeAtMs: deadlineMs });
  });

  it("knows nothing for the longest lease after an eviction, but when it was closed", async () => {
    const held = ring("receipt-evicted");
    await held.put({ a: 1, b: 1 });
    const { incarnation } = await held.lease({ inFlight: AT_B });
    await held.drain("b", 0);
    await held.lease({ incarnation, haveVersion: 2 });
    const certainAtMs = Date.now() + CERTAIN_MS + SETTLED_MS;
    pass(SETTLED_MS);
    expect(await held.receipt("b")).toMatchObject({ state: "safe", version: 2, certainAtMs });
    await held.evict();
    const unheardUntilMs = Date.now() + UNHEARD_MS;
    expect(await held.receipt("b")).toMatchObject({
      state: "expired",
      version: 2,
      safe: false,
      certainAtMs,
      unheardUntilMs,
      safeAtMs: unheardUntilMs + SETTLED_MS,
    });
    await held.lease({ isolate: "unheard-one", inFlight: AT_B });
    pass(UNHEARD_MS);
    expect(await held.receipt("b")).toMatchObject({ safe: false, inFlight: 2, unheardUntilMs: null });
    await held.lease({ isolate: "unheard-one", incarnation, haveVersion: 2 });
    pass(SETTLED_MS);
    expect(await held.receipt("b")).toMatchObject({ state: "safe", safe: true });
  });

  it("is there for a disabled backend, and for a removed one, also after an eviction", async () => {
    const held = ring("receipt-removed");
    await held.put({ a: 1, b: 1, c: 1 });
    const { incarnation } = await held.lease();
    await held.do({ kind: "disable-backend", id: id("b") });
    expect(await held.receipt("b")).toMatchObject({ state: "disabled", version: 2, outstandingIsolates: 1 });
    await held.do({ kind: "remove-backend", id: id("b") });
    await held.do({ kind: "remove-backend", id: id("c") });
    await held.evict();
    expect(await held.receipt("b")).toMatchObject({ state: "removed", version: 2, safe: false });
    await held.lease({ incarnation, haveVersion: 4, inFlight: [{ id: "c", count: 1 }] });
    pass(UNHEARD_MS + SETTLED_MS);
    expect(await held.receipt("b")).toMatchObject({ state: "safe" });
    expect(await held.receipt("c")).toMatchObject({ state: "removed", version: 4, safe: false, inFlight: 1 });
    expect(refused(await held.receipts({ id: id("never") }))).toEqual({
      kind: "not-found",
      detail: "pool receipt-removed has no backend never, and none was removed lately",
    });
  });

  it("is not safe for an ejected backend, which comes back by itself", async () => {
    const held = ring("receipt-ejected");
    await held.put({ a: 1, b: 1, c: 1 });
    await held.pin("b");
    pass(10_000_000);
    await held.pin("b");
    expect(await held.receipt("b")).toMatchObject({ state: "ejected", safe: false, safeAtMs: null });
  });

  it("of a pool that was stored before there were receipts counts from when that was noticed", async () => {
    const held = ring("receipt-upgraded");
    await held.put({ a: 1, b: { admin: { kind: "disabled" } } });
    await held.lease();
    await held.inside(({ sql }) => void sql.exec("UPDATE head SET json = json_remove(json, '$.stops')"));
    await held.evict();
    pass(1_000);
    expect(await held.receipt("b")).toMatchObject({ state: "disabled", version: 2, safe: false });
    await held.evict();
    expect(await held.receipt("b")).toMatchObject({ version: 2 });
  });

  it("is not of a version that could not be written", async () => {
    const held = ring("receipt-broken");
    await held.put({ a: 1, b: 1 });
    const mend = await held.breakWrites("head");
    await expect(held.drain("b", 0)).rejects.toThrow("apply of receipt-broken failed");
    await mend();
    expect(await held.receipt("b")).toMatchObject({ state: "active", version: 1 });
  });
});

describe("receipts by label", () => {
  it("are safe when all of them are", async () => {
    const held = ring("receipts-label");
    await held.put({ a: X, b: Y, c: Y });
    const { incarnation } = await held.lease();
    const y = { label: "zone", value: "y" };
    expect(await held.do({ kind: "drain-labelled", ...y, forMs: 0 })).toMatchObject({ version: 2 });
    await held.lease({ incarnation, haveVersion: 2, inFlight: [{ id: "c", count: 1 }] });
    pass(SETTLED_MS);
    expect(accepted(await held.receipts(y))).toMatchObject({
      version: 2,
      safe: false,
      safeAtMs: null,
      inFlight: 1,
      receipts: [
        { id: "b", state: "safe" },
        { id: "c", state: "expired", inFlight: 1 },
      ],
    });
    await held.lease({ incarnation, haveVersion: 2 });
    pass(5_000);
    expect(accepted(await held.receipts(y))).toMatchObject({ safe: true, safeAtMs: Date.now(), inFlight: 0 });
    expect(refused(await held.receipts({ label: "zone", value: "z" }))).toMatchObject({
      kind: "not-found",
      detail: "pool receipts-label has no backend whose label zone is z",
    });
  });

  // Whoever waits for a zone to be safe must not be told so because one of it is not in the pool, or in the zone, any more.
  it("are of removed backends too, and of those whose label was changed when they drained, also after an eviction", async () => {
    const held = ring("receipts-label-gone");
    await held.put({ a: X, b: Y, c: Y, d: Y });
    const { incarnation } = await held.lease();
    const y = { label: "zone", value: "y" };
    await held.do({ kind: "drain-labelled", ...y, forMs: 20_000 });
    await held.do({ kind: "patch-backend", id: id("b"), patch: X });
    await held.do({ kind: "remove-backend", id: id("c") });
    const busy = [{ id: "c", count: 1 }];
    await held.lease({ incarnation, haveVersion: 4, inFlight: busy });
    pass(20_000);
    await held.status();
    await held.do({ kind: "remove-backend", id: id("d") });
    await held.evict();
    await held.lease({ incarnation, haveVersion: 6, inFlight: busy });
    pass(UNHEARD_MS + SETTLED_MS);
    await held.lease({ incarnation, haveVersion: 6, inFlight: busy });
    expect(accepted(await held.receipts(y))).toMatchObject({
      safe: false,
      inFlight: 1,
      receipts: expect.arrayContaining([
        expect.objectContaining({ id: "b", state: "safe" }),
        expect.objectContaining({ id: "c", state: "removed", inFlight: 1 }),
        expect.objectContaining({ id: "d", state: "safe" }),
      ]),
    });
    await held.lease({ incarnation, haveVersion: 6 });
    pass(5_000);
    expect(accepted(await held.receipts(y))).toMatchObject({ safe: true });
  });

  it("keep the labels of a thousand removed backends, however long", async () => {
    const held = ring("receipts-label-many");
    const labels = Object.fromEntries(
      Array.from({ length: 10 }, (_, at) => [`label-${at}`, "v".repeat(250)]),
    );
    const ids = Array.from({ length: 999 }, (_, at) => `b${at}`);
    await held.put({ a: 1, ...Object.fromEntries(ids.map((each) => [each, { labels }])) });
    await held.put({ a: 1 });
    await held.evict();
    const all = accepted(await held.receipts({ label: "label-0", value: "v".repeat(250) }));
    expect(all.receipts).toHaveLength(999);
  });
});

describe("whoever waits for a receipt", () => {
  it("is answered by the sync after which nothing is left, while other calls go on", async () => {
    const held = ring("receipt-wait");
    await held.put({ a: 1, b: 1 });
    const { incarnation } = await held.lease({ inFlight: AT_B });
    await held.drain("b", 0);
    await held.lease({ incarnation, haveVersion: 2, inFlight: AT_B });
    pass(60_000);
    const waiting = held.receipt("b", 60_000);
    await held.view();
    await held.lease({ incarnation, haveVersion: 2, inFlight: AT_B });
    await held.lease({ incarnation, haveVersion: 2 });
    // Somebody calls after the settling time, so the object looks at the clock, which stands still in this test.
    pass(5_000);
    await held.lease({ incarnation, haveVersion: 2 });
    expect(await waiting).toMatchObject({ state: "safe", inFlight: 0 });
  });

  it("is told what is left when the wait is over", async () => {
    const held = ring("receipt-wait-over");
    await held.put({ a: 1, b: 1 });
    await held.lease({ inFlight: AT_B });
    await held.drain("b", 0);
    expect(await held.receipt("b", 50)).toMatchObject({ state: "expired", safe: false, inFlight: 2 });
  });

  it("is answered when the pool is deleted meanwhile", async () => {
    const held = ring("receipt-wait-deleted");
    await held.put({ a: 1, b: 1 });
    const waiting = held.receipts({ id: id("b") }, 60_000);
    await held.view();
    await held.do({ kind: "delete-pool" });
    const detail = "pool receipt-wait-deleted does not exist";
    expect(refused(await waiting)).toEqual({ kind: "not-found", detail });
  });
});

// By the real clock: from the drain's beginning over the alarm at its deadline and the end of the lease to the end of the
// settling time nobody calls.
it("waits through deadline, lease and settling time though nobody calls", async () => {
  vi.useRealTimers();
  const held = ring("receipt-real-clock");
  await held.put({ a: 1, b: 1 }, { settleMs: 0, sync: { refreshMs: 500, leaseMs: 1_000, waitMs: 50 } });
  await held.lease();
  await held.drain("b", 300);
  expect(await held.receipt("b", 20_000)).toMatchObject({ state: "safe", version: 3, inFlight: 0 });
});
