import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { accepted, freezeTime, id, pass, refused, report, ring } from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

describe("what an isolate gets", () => {
  it("is the whole snapshot at first", async () => {
    const held = ring("sync-first");
    await held.put({ a: 5, b: { weight: 1, labels: { region: "west" }, admin: { kind: "disabled" } } });
    const { document: config } = await held.view();
    const reply = await held.lease();
    expect(reply).toEqual({
      kind: "leased",
      incarnation: reply.document?.incarnation,
      version: 1,
      leaseMs: 30_000,
      nextSyncMs: expect.any(Number),
      document: {
        pool: "sync-first",
        incarnation: expect.stringMatching(/^[0-9a-f-]{36}$/),
        version: 1,
        secret: expect.stringMatching(/^[0-9a-f]{32}$/),
        config: expect.objectContaining({ policy: config.policy, sync: config.sync }),
        tokens: {
          writeId: 0,
          configs: [
            {
              id: 0,
              generator: "encrypted",
              serverIdBytes: 4,
              nonceBytes: 12,
              key: expect.stringMatching(/^[0-9a-f]{32}$/),
              macKey: expect.stringMatching(/^[0-9a-f]{32}$/),
            },
          ],
          removed: [],
        },
        tiers: [{ priority: 0, isDegraded: false, sharePercent: 100, isPanicking: false }],
        backends: [
          {
            id: "a",
            url: "https://a.example",
            weight: 5,
            via: null,
            admits: "new",
            tier: 0,
            servingSinceMs: expect.any(Number),
            isEjected: false,
            isLastResort: false,
            labels: {},
            addedMs: expect.any(Number),
            serverId: 0,
            region: null,
          },
          {
            id: "b",
            url: "https://b.example",
            weight: 1,
            via: null,
            admits: "none",
            tier: 0,
            servingSinceMs: expect.any(Number),
            isEjected: false,
            isLastResort: false,
            labels: { region: "west" },
            addedMs: expect.any(Number),
            serverId: 1,
            region: "west",
          },
        ],
      },
    });
    expect(reply.nextSyncMs).toBeGreaterThanOrEqual(4_500);
    expect(reply.nextSyncMs).toBeLessThanOrEqual(5_000);
  });

  it("is a new lease and no snapshot when it holds the present one", async () => {
    const held = ring("sync-unchanged");
    await held.put({ a: 1 });
    const { incarnation, version } = await held.lease();
    expect(await held.lease({ incarnation, haveVersion: version })).toMatchObject({
      version,
      document: null,
    });
  });

  it("is the snapshot when it holds an older one", async () => {
    const held = ring("sync-older");
    await held.put({ a: 1 });
    const { incarnation, version } = await held.lease();
    await held.put({ a: 2 });
    const reply = await held.lease({ incarnation, haveVersion: version });
    expect(reply.document).toMatchObject({ version: 2, backends: [{ id: "a", weight: 2 }] });
  });

  it("is the snapshot when what it holds is of another incarnation, whatever the version", async () => {
    const held = ring("sync-incarnation");
    await held.put({ a: 1 });
    const reply = await held.lease({ incarnation: "of-another-life", haveVersion: 1 });
    expect(reply.document).toMatchObject({ version: 1 });
  });

  it("is the same snapshot, secret and incarnation after an eviction", async () => {
    const held = ring("sync-evicted");
    await held.put({ a: 1 });
    const before = await held.published();
    await held.evict();
    expect(await held.published()).toEqual(before);
  });

  it("is word that its call was late when a later one was answered, and no lease", async () => {
    const held = ring("sync-late");
    await held.put({ a: 1 });
    await held.lease({ seq: 7 });
    expect(accepted(await held.sync({ seq: 6 }))).toEqual({ kind: "late" });
    expect(accepted(await held.sync({ seq: 7 }))).toEqual({ kind: "late" });
    expect(await held.lease({ seq: 8 })).toMatchObject({ kind: "leased" });
    expect(await held.lease({ seq: 6, isolate: "isolate-2" })).toMatchObject({ kind: "leased" });
  });

  it("is word that there is no such pool", async () => {
    expect(accepted(await ring("sync-absent").sync())).toEqual({ kind: "absent" });
  });

  it("is a refusal that names what is wrong with its call", async () => {
    const held = ring("sync-invalid");
    await held.put({ a: 1 });
    expect(refused(await held.sync({ isolate: "short", haveVersion: -1 }))).toMatchObject({
      kind: "invalid",
      errors: [{ field: "isolate" }, { field: "haveVersion", value: -1 }],
    });
  });
});

describe("how far a change has come", () => {
  it("waits for every isolate that holds an older version, until it says that it holds the new one", async () => {
    const held = ring("sync-converges");
    await held.put({ a: 1 });
    const { incarnation } = await held.lease({ isolate: "isolate-1" });
    await held.lease({ isolate: "isolate-2" });
    await held.put({ a: 2 });
    expect((await held.status()).convergence).toMatchObject({ isolates: 2, outstandingIsolates: 2 });
    // A reply sent proves nothing.
    await held.lease({ isolate: "isolate-1", incarnation, haveVersion: 1 });
    expect((await held.status()).convergence).toMatchObject({ outstandingIsolates: 2 });
    await held.lease({ isolate: "isolate-1", incarnation, haveVersion: 2 });
    expect((await held.status()).convergence).toMatchObject({ outstandingIsolates: 1 });
    await held.lease({ isolate: "isolate-2", incarnation, haveVersion: 2 });
    expect((await held.status()).convergence).toMatchObject({ outstandingIsolates: 0, governsAtMs: null });
  });

  it("waits no longer than the lease of an isolate that fell silent", async () => {
    const held = ring("sync-silent");
    await held.put({ a: 1 });
    await held.lease();
    await held.put({ a: 2 });
    const { governsAtMs } = (await held.status()).convergence;
    expect(governsAtMs).toBe(Date.now() + carefulMs(30_000));
    pass(carefulMs(30_000) - 1);
    expect((await held.status()).convergence).toMatchObject({ governsAtMs, outstandingIsolates: 1 });
    pass(1);
    expect((await held.status()).convergence).toMatchObject({ governsAtMs: null, outstandingIsolates: 0 });
  });

  it("counts on unknown isolates after an eviction, until the longest lease stored has passed", async () => {
    const held = ring("sync-evicted-lease");
    await held.put({ a: 1 }, { sync: { leaseMs: 64_000 } });
    await held.lease();
    await held.put({ a: 1 }, { sync: { leaseMs: 30_000 } });
    await held.evict();
    const { convergence } = await held.status();
    expect(convergence).toEqual({
      isolates: 0,
      acknowledgedIsolates: 0,
      outstandingIsolates: 0,
      oldestVersion: null,
      worstAgeMs: null,
      longestLeaseMs: 64_000,
      governsAtMs: Date.now() + carefulMs(64_000),
    });
    // A lease granted by then changes nothing: others may hold what the object forgot.
    const { incarnation } = await held.lease();
    await held.lease({ incarnation, haveVersion: 2 });
    pass(carefulMs(64_000) - 1);
    expect((await held.status()).convergence.governsAtMs).toBe(convergence.governsAtMs);
    pass(1);
    expect((await held.status()).convergence.governsAtMs).toBeNull();
  });

  it("counts on nobody after an eviction when no lease was ever granted", async () => {
    const held = ring("sync-evicted-no-lease");
    await held.put({ a: 1 });
    await held.evict();
    expect((await held.status()).convergence).toMatchObject({ governsAtMs: null, longestLeaseMs: 0 });
  });

  it("grants no lease that could not be stored", async () => {
    const logged: MockInstance<Console["error"]> = vi.spyOn(console, "error").mockReturnValue();
    const held = ring("sync-lease-unstored");
    await held.put({ a: 1 });
    const mend = await held.breakWrites("longest_lease");
    await expect(held.sync()).rejects.toThrow("sync of sync-lease-unstored failed");
    expect((await held.status()).convergence).toMatchObject({ isolates: 0, longestLeaseMs: 0 });
    await mend();
    expect(await held.lease()).toMatchObject({ leaseMs: 30_000 });
    expect((await held.status()).convergence).toMatchObject({ isolates: 1, longestLeaseMs: 32_000 });
    logged.mockRestore();
  });
});

describe("what an isolate reports", () => {
  it("is added up over all isolates", async () => {
    const held = ring("sync-report");
    await held.put({ a: 1, b: 1 });
    const more = { protocols: { "HTTP/3": 3 }, incidents: { degraded: 1 }, sessions: { kept: 2 } };
    await held.lease({
      isolate: "isolate-1",
      report: report({ a: { answered: 2 }, b: { timed_out: 1 } }, more),
    });
    await held.lease({ isolate: "isolate-2", report: report({ a: { answered: 3, unreachable: 1 } }, more) });
    expect(await held.status()).toMatchObject({
      backends: [
        { id: "a", outcomes: { answered: 5, unreachable: 1, timed_out: 0 } },
        { id: "b", outcomes: { answered: 0, timed_out: 1 } },
      ],
      protocols: { "HTTP/3": 6, "HTTP/2": 0 },
      incidents: { degraded: 2, no_backend: 0 },
      sessions: { kept: 4, removed: 0 },
    });
  });

  it("counts once when the same batch is sent again", async () => {
    const held = ring("sync-report-again");
    await held.put({ a: 1 });
    await held.lease({ report: report({ a: { answered: 2 } }, { batch: 4 }) });
    await held.lease({ report: report({ a: { answered: 2 } }, { batch: 4 }) });
    await held.lease({ report: report({ a: { answered: 5 } }, { batch: 5 }) });
    expect((await held.status()).backends).toMatchObject([{ outcomes: { answered: 7 } }]);
  });

  it("counts even when the call that brought it was late", async () => {
    const held = ring("sync-report-late");
    await held.put({ a: 1 });
    await held.lease({ seq: 9 });
    expect(accepted(await held.sync({ seq: 8, report: report({ a: { answered: 2 } }) }))).toEqual({
      kind: "late",
    });
    expect((await held.status()).backends).toMatchObject([{ outcomes: { answered: 2 } }]);
  });

  it("is ignored where it is about backends that are not in the pool", async () => {
    const held = ring("sync-report-unknown");
    await held.put({ a: 1 });
    await held.lease({
      report: report({ gone: { answered: 9 }, a: { answered: 1 } }),
      inFlight: [
        { id: "gone", count: 4 },
        { id: "a", count: 2 },
      ],
    });
    expect((await held.status()).backends).toMatchObject([
      { id: "a", inFlight: 2, outcomes: { answered: 1 } },
    ]);
    expect((await held.status()).backends).toHaveLength(1);
  });

  it("is kept for a backend whose weight changes, and begins anew for one that was taken out in between", async () => {
    const held = ring("sync-report-kept");
    await held.put({ a: 1, b: 1 });
    await held.lease({ report: report({ a: { answered: 1 }, b: { answered: 1 } }) });
    await held.do({ kind: "remove-backend", id: id("b") });
    await held.put({ a: 9, b: 1 });
    expect((await held.status()).backends).toMatchObject([
      { id: "a", outcomes: { answered: 1 } },
      { id: "b", outcomes: { answered: 0 } },
    ]);
  });

  it("adds up what is in flight, as each isolate told last", async () => {
    const held = ring("sync-in-flight");
    await held.put({ a: 1 });
    await held.lease({ isolate: "isolate-1", inFlight: [{ id: "a", count: 5 }] });
    await held.lease({ isolate: "isolate-2", inFlight: [{ id: "a", count: 2 }] });
    expect((await held.status()).backends).toMatchObject([{ inFlight: 7 }]);
    await held.lease({ isolate: "isolate-1", inFlight: [] });
    expect((await held.status()).backends).toMatchObject([{ inFlight: 2 }]);
  });

  it("is no longer in flight when the isolate that told it holds no lease any more", async () => {
    const held = ring("sync-in-flight-gone");
    await held.put({ a: 1 });
    await held.lease({ inFlight: [{ id: "a", count: 5 }] });
    pass(carefulMs(30_000));
    expect(await held.status()).toMatchObject({ convergence: { isolates: 0 }, backends: [{ inFlight: 0 }] });
  });

  it("begins anew with the object, which says since when it counts", async () => {
    const held = ring("sync-report-evicted");
    await held.put({ a: 1 });
    await held.lease({ report: report({ a: { answered: 2 } }) });
    await held.evict();
    pass(5_000);
    expect(await held.status()).toMatchObject({
      backends: [{ inFlight: 0, outcomes: { answered: 0 } }],
      sinceMs: Date.now(),
    });
  });
});

/** How long the ring counts on a lease: 1 % for clocks that differ, and a second for those that stand still. */
function carefulMs(leaseMs: number): number {
  return Math.ceil(leaseMs / 0.99) + 1_100;
}
