import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { EpochMs } from "../../durable/model/time.ts";
import { after, epochMs, later } from "../../durable/model/time.ts";
import { type Heard, LeaseLedger } from "../../durable/state/lease-ledger.ts";
import {
  type Clock,
  LeaseWorld,
  PROMPT_SYNC,
  type Step,
  type TimedStep,
  type WorldOptions,
} from "./support/lease-world.ts";

const DELAY_MS = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 40 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 4_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 60_000 }) },
);
const PAUSE_MS = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 3_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 40_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 700_000 }) },
);
const CLOCK: fc.Arbitrary<Clock> = fc.record({
  rate: fc.oneof(fc.constantFrom(0.99, 1, 1.01), fc.double({ min: 0.99, max: 1.01, noNaN: true })),
  offsetMs: fc.integer({ min: -10_000_000, max: 10_000_000 }),
});
const CLOCKS = fc.array(CLOCK, { minLength: 1, maxLength: 4 });
const ISOLATE = fc.nat({ max: 3 });
/** Three of ten. */
const IS_LOST = fc.nat({ max: 9 }).map((roll) => roll >= 7);
const SYNC: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant("sync"),
  isolate: ISOLATE,
  standstillMs: fc.constantFrom(0, 0, 0, 500, 1_000),
  requestMs: DELAY_MS,
  replyMs: DELAY_MS,
  isRequestLost: IS_LOST,
  isReplyLost: IS_LOST,
  chance: fc.double({ min: 0, max: 1, noNaN: true }),
});
const LEASE: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant("lease"),
  leaseMs: fc.constantFrom(1_000, 2_000, 5_000, 30_000, 600_000),
  maxPerSecond: fc.constantFrom(1, 100),
});
const BURST: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant("burst"),
  isolate: ISOLATE,
  changes: fc.integer({ min: 1, max: 12 }),
});
const EVICT: fc.Arbitrary<Step> = fc.record({ kind: fc.constant("evict"), isolate: ISOLATE });

const STEPS: readonly fc.WeightedArbitrary<Step>[] = [
  { weight: 12, arbitrary: SYNC },
  { weight: 4, arbitrary: fc.constant({ kind: "change" }) },
  { weight: 2, arbitrary: LEASE },
  { weight: 1, arbitrary: BURST },
  { weight: 1, arbitrary: fc.constant({ kind: "re-create" }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" }) },
  { weight: 1, arbitrary: EVICT },
];
const DELETE_OR_CREATE: fc.WeightedArbitrary<Step> = {
  weight: 2,
  arbitrary: fc.constant({ kind: "delete-or-create" }),
};

function schedule(steps: readonly fc.WeightedArbitrary<Step>[]): fc.Arbitrary<readonly TimedStep[]> {
  const timed = fc.record({ afterMs: PAUSE_MS, step: fc.oneof(...steps) });
  return fc.array(timed, { maxLength: 60, size: "max" });
}

it("never says that a version governs while any isolate may use an older one, whatever is lost, late or restarted", () => {
  fc.assert(
    fc.property(CLOCKS, schedule(STEPS), (clocks, steps) => {
      expect(new LeaseWorld({ clocks }).run(steps).broken).toEqual([]);
    }),
    { numRuns: 10_000 },
  );
});

it("never says so either when pools are deleted and made again, with isolates asking one by one as the edge does", () => {
  fc.assert(
    fc.property(CLOCKS, schedule([...STEPS, DELETE_OR_CREATE]), (clocks, steps) => {
      expect(new LeaseWorld({ clocks, isOneByOne: true }).run(steps).broken).toEqual([]);
    }),
    { numRuns: 10_000 },
  );
});

/** As if isolates' clocks never stood still. */
class WithoutSlack extends LeaseLedger {
  override governsAtMs(version: number, nowMs: EpochMs): EpochMs {
    return later(nowMs, after(super.governsAtMs(version, nowMs), -1_100));
  }
}

/** As if all clocks went at one rate: what it counts ends 1 % too soon. */
class WithoutDrift extends LeaseLedger {
  override grant(isolate: string, version: number, leaseMs: number, nowMs: EpochMs): void {
    super.grant(isolate, version, Math.floor(leaseMs * 0.99), nowMs);
  }
}

/** As if whatever was sent had arrived. */
class TakesSentForHeld extends LeaseLedger {
  readonly #seqs = new Map<string, number>();

  override hear(heard: Heard, nowMs: EpochMs): boolean {
    this.#seqs.set(heard.isolate, heard.seq);
    return super.hear(heard, nowMs);
  }

  override grant(isolate: string, version: number, leaseMs: number, nowMs: EpochMs): void {
    super.grant(isolate, version, leaseMs, nowMs);
    super.hear(
      { isolate, seq: (this.#seqs.get(isolate) ?? 0) + 0.5, haveVersion: version, inFlight: [] },
      nowMs,
    );
  }
}

const BROKEN: readonly (readonly [string, Omit<WorldOptions, "clocks">])[] = [
  ["a ledger without slack", { createLedger: (storedMs, nowMs) => new WithoutSlack(storedMs, nowMs) }],
  ["a ledger without drift", { createLedger: (storedMs, nowMs) => new WithoutDrift(storedMs, nowMs) }],
  [
    "a ledger that takes a reply sent for a document held",
    { createLedger: (storedMs, nowMs) => new TakesSentForHeld(storedMs, nowMs) },
  ],
  [
    "a ledger that counts on nobody after a restart",
    { createLedger: (_, nowMs) => new LeaseLedger(0, nowMs) },
  ],
  [
    "isolates that install whatever comes",
    {
      install: (held, { document, leaseMs, nextSyncMs }, seq, sentMs) =>
        document === null
          ? held
          : { document, seq, leaseEndsMs: after(sentMs, leaseMs), refreshAtMs: after(sentMs, nextSyncMs) },
    },
  ],
];

it.each(BROKEN)("would notice %s", (_, options) => {
  const property = fc.property(
    CLOCKS,
    schedule(STEPS),
    (clocks, steps) => new LeaseWorld({ clocks, ...options }).run(steps).broken.length === 0,
  );
  expect(fc.check(property, { numRuns: 10_000, endOnFailure: true }).failed).toBe(true);
});

/** Longest time, by the ring's clock, in which an isolate asks again; its refresh interval is 500 ms. */
const REFRESH_MS = Math.ceil(500 / 0.99) + 1;

it("is in use by every active isolate within one refresh and a round trip, and known to be within one refresh more", () => {
  fc.assert(
    fc.property(
      CLOCKS,
      fc.integer({ min: 1, max: 200 }),
      fc.nat({ max: 3_000 }),
      (clocks, onTheWayMs, untilMs) => {
        const world = new LeaseWorld({ clocks })
          .syncAll(2_000 + untilMs, onTheWayMs)
          .take({ kind: "change" });
        world.syncAll(REFRESH_MS + 2 * onTheWayMs, onTheWayMs);
        expect(world.versionsInUse()).toEqual(clocks.map(() => 2));
        world.syncAll(REFRESH_MS, onTheWayMs);
        expect(world.ledger.governs(2, world.nowMs)).toBe(true);
      },
    ),
  );
});

it("governs once the lease of an isolate that fell silent must have ended, not before", () => {
  const world = new LeaseWorld({ clocks: [{ rate: 1, offsetMs: 0 }] });
  world.take(PROMPT_SYNC).advance(10).take({ kind: "change" });
  // Granted 1 ms after it was asked for; 30 s at 0.99, and the second in which a clock may stand still.
  const endMs = 1_000_001 + 30_304 + 1_100;
  expect(world.ledger.governsAtMs(2, world.nowMs)).toBe(endMs);
  expect(world.ledger.governs(2, epochMs(endMs - 1))).toBe(false);
  expect(world.ledger.governs(2, epochMs(endMs))).toBe(true);
});
