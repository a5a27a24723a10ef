import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { LeaseLedger, leaseEndMs } from "../../durable/state/lease-ledger.ts";
import { lookForReceipts } from "../../durable/state/receipt.ts";
import type { LiveRing } from "../../durable/state/ring-state.ts";
import type { Work } from "../../durable/state/work-in-flight.ts";
import { quietMs } from "../../worker/core/quiet.ts";
import { backendId } from "./support/build.ts";
import type { Clock } from "./support/lease-world.ts";
import {
  type ReceiptStep,
  ReceiptWorld,
  type ReceiptWorldOptions,
  SETTLE_MS,
} from "./support/receipt-world.ts";

const b = backendId("b");

const PAUSE_MS = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 400 }) },
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 5_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 45_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 700_000 }) },
);
const CLOCK: fc.Arbitrary<Clock> = fc.record({
  rate: fc.oneof(fc.constantFrom(0.99, 1, 1.01), fc.double({ min: 0.99, max: 1.01, noNaN: true })),
  offsetMs: fc.integer({ min: -10_000_000, max: 10_000_000 }),
});
const CLOCKS = fc.array(CLOCK, { minLength: 1, maxLength: 4 });
const ISOLATE = fc.nat({ max: 3 });

const REQUEST: fc.Arbitrary<ReceiptStep> = fc
  .record({
    isolate: ISOLATE,
    answerMs: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 2_500 }), fc.nat({ max: 40_000 })),
    bodyMs: fc.oneof(fc.constant(SETTLE_MS), fc.nat({ max: SETTLE_MS })),
    longMs: fc.option(fc.oneof(fc.nat({ max: 30_000 }), fc.nat({ max: 120_000 }))),
  })
  .map(({ isolate, answerMs, bodyMs, longMs }) => ({
    kind: "request",
    isolate,
    answerMs,
    bodyMs: longMs ?? bodyMs,
    isFollowed: longMs !== null,
  }));
const WEATHER: fc.Arbitrary<ReceiptStep> = fc.record({
  kind: fc.constant("weather"),
  isolate: ISOLATE,
  weather: fc.record({
    requestMs: fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 1_900 }), fc.nat({ max: 20_000 })),
    replyMs: fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 4_000 })),
    fates: fc.oneof(
      { weight: 2, arbitrary: fc.constant(["arrives"] as const) },
      {
        weight: 2,
        arbitrary: fc.array(fc.constantFrom("arrives", "arrives", "request lost", "reply lost"), {
          minLength: 1,
          maxLength: 5,
        }),
      },
      // Cut off, until the weather changes.
      { weight: 1, arbitrary: fc.constantFrom(["request lost"] as const, ["reply lost"] as const) },
    ),
    standstillMs: fc.constantFrom(0, 0, 500, 1_000),
  }),
});
const COMMAND: fc.Arbitrary<ReceiptStep> = fc
  .oneof(
    fc.constantFrom<PoolCommand>(
      { kind: "drain-backend", id: b, forMs: 0 },
      { kind: "drain-backend", id: b, forMs: 3_000 },
      { kind: "drain-backend", id: b, forMs: 20_000 },
      { kind: "disable-backend", id: b },
      { kind: "remove-backend", id: b },
    ),
    fc.constantFrom<PoolCommand>(
      { kind: "undrain-backend", id: b },
      { kind: "enable-backend", id: b },
      {
        kind: "put-backend",
        id: b,
        backend: { url: "https://b.example", weight: 1, via: null, labels: {}, priority: 0 },
      },
      { kind: "rotate-keys" },
    ),
    fc
      .record({
        leaseMs: fc.constantFrom(2_000, 5_000, 30_000, 120_000),
        refreshMs: fc.constantFrom(500, 1_000),
        maxStaleMs: fc.constantFrom(0, 10_000, 600_000),
      })
      .map((sync): PoolCommand => ({ kind: "patch-pool", patch: { sync } })),
  )
  .map((command) => ({ kind: "command", command }));

const STEPS = fc.array(
  fc.record({
    afterMs: PAUSE_MS,
    step: fc.oneof(
      { weight: 10, arbitrary: REQUEST },
      { weight: 3, arbitrary: WEATHER },
      { weight: 4, arbitrary: COMMAND },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("pause" as const),
          isolate: ISOLATE,
          forMs: fc.nat({ max: 60_000 }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("evict" as const), isolate: ISOLATE }),
      },
      { weight: 1, arbitrary: fc.constant<ReceiptStep>({ kind: "restart" }) },
    ),
  }),
  { maxLength: 50, size: "max" },
);

it("is never safe too early for isolates that reach the ring in time, and never certain too early for any", () => {
  const seen = { safe: 0, sent: 0, stray: 0 };
  fc.assert(
    fc.property(CLOCKS, STEPS, (clocks, steps) => {
      const world = new ReceiptWorld({ clocks }).run(steps);
      expect(world.broken).toEqual([]);
      seen.safe += world.seen.safe;
      seen.sent += world.seen.sent;
      seen.stray += world.seen.stray;
    }),
    { numRuns: 1_500 },
  );
  // Or all of this would say nothing.
  expect(seen.safe).toBeGreaterThan(100);
  expect(seen.sent).toBeGreaterThan(1_000);
  expect(seen.stray).toBeGreaterThan(10);
});

/** As if a version governed some seconds sooner. */
class TooSoon extends LeaseLedger {
  override governsSinceMs(version: number): EpochMs {
    return after(super.governsSinceMs(version), -15_000);
  }
}

/** As if who falls silent had nothing in flight. */
class ForgetsTheSilent extends LeaseLedger {
  override workAt(...[backend, closing, nowMs]: Parameters<LeaseLedger["workAt"]>): Work {
    return { ...super.workAt(backend, closing, nowMs), count: this.inFlight(backend, nowMs) };
  }
}

/** As if what was told of ended with its headers. */
class ForgetsBodies extends LeaseLedger {
  override workAt(...[backend, closing, nowMs]: Parameters<LeaseLedger["workAt"]>): Work {
    return { ...super.workAt(backend, closing, nowMs), lastMs: null };
  }
}

/** The receipts of a pool whose fields are others. */
function lookWith(changed: Partial<LiveRing["config"]>): typeof lookForReceipts {
  return (books, of) =>
    lookForReceipts({ ...books, ring: { ...books.ring, config: { ...books.ring.config, ...changed } } }, of);
}

const BROKEN: readonly (readonly [string, Omit<ReceiptWorldOptions, "clocks">])[] = [
  [
    "versions that govern seconds too soon",
    { createLedger: (storedMs, nowMs) => new TooSoon(storedMs, nowMs) },
  ],
  [
    "a ledger that counts on nobody after a restart",
    { createLedger: (_, nowMs) => new LeaseLedger(0, nowMs) },
  ],
  [
    "work that is forgotten with its lease",
    { createLedger: (storedMs, nowMs) => new ForgetsTheSilent(storedMs, nowMs) },
  ],
  ["bodies that nobody waits for", { createLedger: (storedMs, nowMs) => new ForgetsBodies(storedMs, nowMs) }],
  ["responses that count as over with their headers", { look: lookWith({ settleMs: 0 }) }],
  [
    "certainty that counts on no isolate being cut off",
    {
      look: (books, of) => {
        const closed = books.ring.stops.closed.map((stop) => ({
          ...stop,
          certainAtMs: after(stop.atMs, books.ledger.longestLeaseMs),
        }));
        return lookForReceipts(
          { ...books, ring: { ...books.ring, stops: { ...books.ring.stops, closed } } },
          of,
        );
      },
    },
  ],
];

it.each(BROKEN)("would notice %s", (_, options) => {
  const property = fc.property(
    CLOCKS,
    STEPS,
    (clocks, steps) => new ReceiptWorld({ clocks, ...options }).run(steps).broken.length === 0,
  );
  expect(fc.check(property, { numRuns: 5_000, seed: 3, endOnFailure: true }).failed).toBe(true);
});

const QUIET: readonly Clock[] = [
  { rate: 1, offsetMs: 0 },
  { rate: 1, offsetMs: 5_000 },
];
const GET: ReceiptStep = { kind: "request", isolate: 0, answerMs: 10, bodyMs: 10, isFollowed: false };
const DRAIN: ReceiptStep = { kind: "command", command: { kind: "drain-backend", id: b, forMs: 0 } };

it("is safe a settling time after the last isolate has acknowledged, and says so before", () => {
  const world = new ReceiptWorld({ clocks: QUIET })
    .take(GET)
    .take({ ...GET, isolate: 1 })
    .advance(6_000);
  world
    .take(DRAIN)
    .take(GET)
    .take({ ...GET, isolate: 1 })
    .advance(6_000);
  expect(world.receipt).toMatchObject({ state: "expired", safe: false, outstandingIsolates: 2 });
  // Each asks by a request, and tells what it got by the next.
  world
    .take(GET)
    .take({ ...GET, isolate: 1 })
    .advance(100);
  const acknowledgedMs = world.nowMs - 80;
  expect(world.receipt).toMatchObject({
    state: "expired",
    outstandingIsolates: 0,
    inFlight: 0,
    safeAtMs: acknowledgedMs + 2_100 + SETTLE_MS,
  });
  world.advance(2_100 + SETTLE_MS - 81);
  expect(world.receipt).toMatchObject({ state: "expired", safe: false });
  world.advance(1);
  expect(world.receipt).toMatchObject({ state: "safe", safe: true, safeAtMs: world.nowMs });
});

// An isolate that could not reach the ring leaves it alone for a while, which may be longer than the leases of its pool.
it("waits after a restart until every isolate must have told what it has in flight, however short leases are", () => {
  const sync = { leaseMs: 2_000, refreshMs: 500 };
  const world = new ReceiptWorld({ clocks: QUIET })
    .take({ kind: "command", command: { kind: "patch-pool", patch: { sync } } })
    .take(GET)
    .take(DRAIN)
    .advance(20_000);
  expect(world.receipt).toMatchObject({ state: "safe", unheardUntilMs: null });
  const quietestMs = quietMs({ failure: "overloaded", failures: 99, canServe: true }, 0);
  const unheardUntilMs = leaseEndMs(world.nowMs, 6_000 + quietestMs);
  world.take({ kind: "restart" });
  const safeAtMs = after(unheardUntilMs, 2_100 + SETTLE_MS);
  expect(world.receipt).toMatchObject({ state: "expired", unheardUntilMs, safeAtMs });
  world.advance(safeAtMs - world.nowMs - 1);
  expect(world.receipt).toMatchObject({ state: "expired", safe: false });
  world.advance(1);
  expect(world.receipt).toMatchObject({ state: "safe" });
});

it("waits for what is followed to its end, however long that takes", () => {
  const long: ReceiptStep = { ...GET, bodyMs: 300_000, isFollowed: true };
  const world = new ReceiptWorld({ clocks: QUIET })
    .take(GET)
    .advance(100)
    .take(long)
    .advance(2_000)
    .take(DRAIN);
  world.advance(290_000);
  expect(world.receipt).toMatchObject({ state: "expired", safe: false, inFlight: 1, safeAtMs: null });
  world.advance(20_000);
  expect(world.receipt).toMatchObject({ state: "safe", inFlight: 0 });
});

it("counts on an isolate that fell silent with work in flight until it is certain that it serves no more", () => {
  const long: ReceiptStep = { ...GET, bodyMs: 5_000_000, isFollowed: true };
  const world = new ReceiptWorld({ clocks: QUIET }).take(GET).advance(100).take(long).advance(2_000);
  world.take({ kind: "evict", isolate: 0 }).take(DRAIN).advance(60_000);
  expect(world.receipt).toMatchObject({ state: "expired", outstandingIsolates: 0, inFlight: 1, safe: false });
  const certainAtMs = (world.receipt?.certainAtMs ?? 0) - 2_100 - SETTLE_MS;
  world.advance(certainAtMs - world.nowMs - 1);
  expect(world.receipt).toMatchObject({ inFlight: 1 });
  world.advance(1 + SETTLE_MS);
  expect(world.receipt).toMatchObject({ state: "safe", inFlight: 0, safeAtMs: certainAtMs + SETTLE_MS });
});
