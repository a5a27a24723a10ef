import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { directory, freezeTime, pass, poolName, ring, route, routeId } from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

/** Lets what was called get as far as it gets by itself. */
async function settle(held: ReturnType<typeof ring>): Promise<void> {
  await held.tryView();
  await held.tryView();
}

describe("how far a change has come", () => {
  it("is told by who acknowledged it, the oldest version in use and the longest silence", async () => {
    const held = ring("convergence-told");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({ isolate: "isolate-a" });
    await held.lease({ isolate: "isolate-b" });
    await held.do({ kind: "rotate-keys" });
    pass(4_000);
    await held.lease({ isolate: "isolate-a" });
    pass(1_000);
    await held.lease({ isolate: "isolate-a", incarnation, haveVersion: 2 });
    expect(await held.converge()).toEqual({
      version: 2,
      convergence: {
        isolates: 2,
        acknowledgedIsolates: 1,
        outstandingIsolates: 1,
        oldestVersion: 1,
        worstAgeMs: 5_000,
        governsAtMs: Date.now() - 5_000 + 31_404,
        longestLeaseMs: 32_000,
      },
    });
  });

  it("can be asked of an earlier version too", async () => {
    const held = ring("convergence-earlier");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({});
    await held.do({ kind: "rotate-keys" });
    expect((await held.converge({ version: 1 })).convergence.governsAtMs).toBeNull();
    expect((await held.converge({ version: 2 })).convergence.governsAtMs).not.toBeNull();
    await held.lease({ incarnation, haveVersion: 2 });
    expect((await held.converge({ version: 2 })).convergence.governsAtMs).toBeNull();
  });
});

describe("whoever waits for a change", () => {
  it("is answered by the sync that acknowledges it, while the object goes on with all else", async () => {
    const held = ring("wait-sync");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({});
    const { version } = await held.do({ kind: "rotate-keys" });
    let isOver = false;
    const waiting = held.converge({ version, waitMs: 60_000 }).finally(() => {
      isOver = true;
    });
    await settle(held);
    await held.lease({ isolate: "another-one", incarnation, haveVersion: version });
    expect((await held.status()).version).toBe(version);
    expect(isOver).toBe(false);
    await held.lease({ incarnation, haveVersion: version });
    expect((await waiting).convergence).toMatchObject({ governsAtMs: null, outstandingIsolates: 0 });
  });

  it("is told what is outstanding when the wait is over", async () => {
    const held = ring("wait-over");
    await held.put({ a: 1 });
    await held.lease({});
    const { version } = await held.do({ kind: "rotate-keys" });
    const { convergence } = await held.converge({ version, waitMs: 50 });
    expect(convergence).toMatchObject({ outstandingIsolates: 1, governsAtMs: expect.any(Number) });
  });

  it("is not answered by a sync of somebody else's doing, nor by a version of its own", async () => {
    const held = ring("wait-other");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({});
    const { version } = await held.do({ kind: "rotate-keys" });
    const waiting = held.converge({ version, waitMs: 60_000 });
    await settle(held);
    await held.do({ kind: "patch-pool", patch: { drainMs: 1_000 } });
    await held.lease({ incarnation, haveVersion: 1 });
    const isOpen = Symbol("open");
    expect(await Promise.race([waiting, settle(held).then(() => isOpen)])).toBe(isOpen);
    await held.lease({ incarnation, haveVersion: version });
    expect(await waiting).toMatchObject({ version, convergence: { governsAtMs: null } });
  });

  it("makes isolates ask every second, for as long as somebody waits", async () => {
    const held = ring("wait-hurry");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({});
    await held.do({ kind: "patch-pool", patch: { drainMs: 1_000 } });
    expect((await held.lease({})).nextSyncMs).toBeGreaterThanOrEqual(4_500);
    const waiting = held.converge({ waitMs: 60_000 });
    await settle(held);
    expect((await held.lease({})).nextSyncMs).toBeLessThanOrEqual(1_000);
    await held.lease({ incarnation, haveVersion: 2 });
    await waiting;
    expect((await held.lease({ incarnation, haveVersion: 2 })).nextSyncMs).toBeGreaterThanOrEqual(4_500);
  });

  it("is dropped when its caller leaves", async () => {
    const held = ring("wait-left");
    await held.put({ a: 1 });
    await held.lease({});
    await held.do({ kind: "patch-pool", patch: { drainMs: 1_000 } });
    const caller = new AbortController();
    const waiting = held.converge({ waitMs: 60_000 }, caller.signal);
    await settle(held);
    expect((await held.lease({})).nextSyncMs).toBeLessThanOrEqual(1_000);
    caller.abort();
    await expect(waiting).rejects.toThrow("converge of wait-left failed");
    await expect
      .poll(async () => (await held.lease({})).nextSyncMs, { timeout: 4_000 })
      .toBeGreaterThanOrEqual(4_500);
  });

  it("finds after an eviction that nothing is certain for the longest lease", async () => {
    const held = ring("wait-evicted");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({});
    const { version } = await held.do({ kind: "rotate-keys" });
    await held.lease({ incarnation, haveVersion: version });
    expect((await held.converge({ version })).convergence.governsAtMs).toBeNull();
    await held.evict();
    const { convergence } = await held.converge({ version, waitMs: 50 });
    expect(convergence).toMatchObject({ outstandingIsolates: 0, governsAtMs: Date.now() + 33_424 });
    pass(33_424);
    expect((await held.converge({ version })).convergence.governsAtMs).toBeNull();
  });

  it("may wait for a pool's deletion, and for no pool otherwise", async () => {
    const held = ring("wait-deleted");
    await expect(held.converge()).rejects.toThrow("not-found");
    await held.put({ a: 1 });
    await held.lease({});
    const { version } = await held.do({ kind: "delete-pool" });
    expect((await held.converge({ version })).convergence.governsAtMs).toBe(Date.now() + 31_404);
    await expect(held.converge()).rejects.toThrow("not-found");
  });

  it("may wait for routes in the same way", async () => {
    const held = directory("wait-routes");
    await held.do({ kind: "add-pool", name: poolName("shop") });
    const { incarnation } = await held.lease({});
    const { version } = await held.do({
      kind: "put-route",
      id: routeId("r"),
      route: route({ pool: "shop" }),
    });
    const waiting = held.converge({ version, waitMs: 60_000 });
    await held.tryView();
    await held.tryView();
    expect((await held.lease({})).nextSyncMs).toBeLessThanOrEqual(1_000);
    await held.lease({ incarnation, haveVersion: version });
    expect(await waiting).toMatchObject({ version, convergence: { governsAtMs: null } });
  });
});

// By the real clock: that the runtime's timer wakes who waits when a lease has ended is not something a test can do for it.
it("answers whoever waits when the last lease has ended, though nobody calls", async () => {
  vi.useRealTimers();
  const held = ring("wait-lease-end");
  await held.put({ a: 1 }, { sync: { refreshMs: 500, leaseMs: 1_000 } });
  await held.lease({});
  const { version } = await held.do({ kind: "rotate-keys" });
  const { convergence } = await held.converge({ version, waitMs: 10_000 });
  expect(convergence).toMatchObject({ governsAtMs: null, outstandingIsolates: 0 });
});
