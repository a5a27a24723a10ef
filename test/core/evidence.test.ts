import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PassiveState } from "../../durable/model/health.ts";
import { OUTCOMES } from "../../durable/model/outcome.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import type { Report } from "../../durable/model/sync.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { Counters } from "../../durable/state/counters.ts";
import { Evidence } from "../../durable/state/evidence.ts";
import { type Batch, RecentAttempts } from "../../durable/state/recent-attempts.ts";
import type { LiveRing } from "../../durable/state/ring-state.ts";
import { backendId, NOON, pool } from "./support/build.ts";
import { report } from "./support/reports.ts";

const { health } = DEFAULT_POOL_CONFIG;
const WINDOW_MS = 30_000;
/** A thirtieth of the window: so much earlier, at most, something is forgotten. */
const SLOT_MS = 1_000;

const A = backendId("a");

/** When of what was said at noon only the last word counts. */
const LATER = after(NOON, 10_000);

function evidence(ring: LiveRing = pool({ a: 1 })): Evidence {
  const seen = new Evidence();
  seen.adopt(ring);
  return seen;
}

/** All that can be asked about a backend. */
function findings(seen: Evidence, nowMs: EpochMs) {
  return {
    counts: seen.counts(A, nowMs),
    inRow: seen.successesInRow(A),
    run: seen.gatewayRun(A, nowMs),
    breaker: seen.breaker(A, health.breaker, nowMs),
    said: seen.said(A, nowMs),
    skips: [0, 6_000].map((laterMs) => seen.skips(A, 5_000, after(nowMs, laterMs))),
  };
}

const REPORT: fc.Arbitrary<Report> = fc
  .record({
    ageMs: fc.nat({ max: 40_000 }),
    answered: fc.nat({ max: 200 }),
    deliberate_error: fc.nat({ max: 3 }),
    timed_out: fc.nat({ max: 60 }),
    client_gone: fc.nat({ max: 60 }),
    latencyMs: fc.record({ success: fc.nat({ max: 9_000 }), failure: fc.nat({ max: 9_000 }) }),
    gatewayRun: fc.record({ length: fc.nat({ max: 60 }), isWhole: fc.boolean() }),
    announced: fc.option(fc.constantFrom("healthy", "degraded", "draining"), { nil: undefined }),
    announcedAfterMs: fc.nat({ max: 5 }),
    skipping: fc.boolean(),
  })
  .map(({ ageMs, announced, ...told }) =>
    report({ a: announced === undefined ? told : { ...told, announced } }, { ageMs }),
  );

describe("reports", () => {
  it("count alike in whatever order they come within one moment", () => {
    const shuffled = fc
      .array(REPORT, { maxLength: 12 })
      .chain((reports) =>
        fc.tuple(
          fc.constant(reports),
          fc.shuffledSubarray(reports, { minLength: reports.length, maxLength: reports.length }),
        ),
      );
    fc.assert(
      fc.property(shuffled, ([reports, others]) => {
        const [one, other] = [evidence(), evidence()];
        for (const each of reports) one.add(each, NOON);
        for (const each of others) other.add(each, NOON);
        expect(findings(one, NOON)).toEqual(findings(other, NOON));
      }),
    );
  });

  it("count once however often they are sent, however old they are by then", () => {
    const sent = fc.array(fc.tuple(REPORT, fc.nat({ max: 3 }), fc.nat({ max: 60_000 })), { maxLength: 8 });
    fc.assert(
      fc.property(sent, (reports) => {
        const [one, other] = [evidence(), evidence()];
        const counters = new Counters();
        reports.forEach(([each, repeats, laterMs], batch) => {
          one.add(each, NOON);
          for (let sending = 0; sending <= repeats; sending++) {
            const again = { ...each, batch, ageMs: each.ageMs + (sending === 0 ? 0 : laterMs) };
            if (counters.add("an-isolate", again)) other.add(again, NOON);
          }
        });
        expect(findings(one, NOON)).toEqual(findings(other, NOON));
      }),
    );
  });

  it("blame nobody for clients that left, and no backend for what it answers on purpose", () => {
    const seen = evidence();
    seen.add(
      report({ a: Object.fromEntries(OUTCOMES.map((outcome, index) => [outcome, 10 ** index])) }),
      NOON,
    );
    // answered 1, deliberate_error 10; server_error 100, gateway_error 1000, unreachable 10000, timed_out 100000, cut 10^7.
    expect(seen.counts(A, NOON)).toEqual({ successes: 11, failures: 100_111_100 });
  });

  it("of backends that the pool does not have, or has no longer, count nothing", () => {
    const seen = evidence(pool({ a: 1, b: 1 }));
    seen.add(
      report({ gone: { timed_out: 9, announced: "draining" }, b: { timed_out: 9, announced: "draining" } }),
      NOON,
    );
    seen.adopt(pool({ a: 1 }));
    seen.adopt(pool({ a: 1, b: 1, gone: 1 }));
    for (const id of ["b", "gone"].map(backendId)) {
      expect(seen.counts(id, NOON)).toMatchObject({ successes: 0, failures: 0 });
      expect(seen.said(id, NOON)).toBeNull();
    }
  });
});

describe("evidence that is older than its window", () => {
  it("of one backend takes none of another with it", () => {
    const seen = evidence(pool({ a: 1, b: 1 }));
    const told = { a: { timed_out: 1, ageMs: 40_000 }, b: { server_error: 60, ageMs: 2_000 } };
    seen.add(report(told, { ageMs: 40_000 }), NOON);
    expect(seen.counts(A, NOON)).toEqual({ successes: 0, failures: 0 });
    expect(seen.counts(backendId("b"), NOON)).toEqual({ successes: 0, failures: 60 });
    expect(seen.counts(backendId("b"), after(NOON, 29_001)).failures).toBe(0);
  });

  it("is so old as its report where that says no more", () => {
    const seen = evidence();
    seen.add(report({ a: { server_error: 60 } }, { ageMs: 30_001 }), NOON);
    expect(seen.counts(A, NOON).failures).toBe(0);
  });

  it("never counts, however late its report comes, and counts until it is, but for a slot", () => {
    fc.assert(
      fc.property(fc.nat({ max: 90_000 }), fc.nat({ max: 90_000 }), (ageMs, laterMs) => {
        const seen = evidence();
        const gatewayRun = { length: 7, isWhole: true };
        seen.add(report({ a: { timed_out: 7, gatewayRun } }, { ageMs }), NOON);
        const nowMs = after(NOON, laterMs);
        const { failures } = seen.counts(A, nowMs);
        const isOld = ageMs + laterMs > WINDOW_MS;
        const isRecent = ageMs + laterMs <= WINDOW_MS - SLOT_MS;
        expect(isOld ? failures : 0).toBe(0);
        expect(isRecent ? failures : 7).toBe(7);
        expect(seen.gatewayRun(A, nowMs)).toBe(failures);
      }),
    );
  });

  it("tells the breaker nothing", () => {
    const seen = evidence();
    const told = { answered: 900, timed_out: 900 };
    seen.add(report({ a: told }, { ageMs: WINDOW_MS + 1 }), NOON);
    expect(seen.breaker(A, health.breaker, NOON).isTripped).toBe(false);
    seen.add(report({ a: told }, { ageMs: WINDOW_MS }), NOON);
    expect(seen.breaker(A, health.breaker, NOON).isTripped).toBe(true);
    // What nobody could act on at the time is no news later.
    expect(seen.breaker(A, health.breaker, after(NOON, 1_000)).isTripped).toBe(false);
  });

  it("of before a backend came back, or of while it was out, does not count", () => {
    const terms = { times: 1, isolationMs: 0 };
    const back: PassiveState = { kind: "in", ...terms, sinceMs: NOON };
    const out: PassiveState = {
      kind: "ejected",
      ...terms,
      cause: "breaker",
      sinceMs: NOON,
      untilMs: after(NOON, 9_000),
    };
    const ring = pool({ a: 1 });
    const probe = { verdict: null, isStopping: false, streak: 0, sinceMs: NOON };
    const withPassive = (passive: PassiveState): LiveRing => ({
      ...ring,
      backends: pool({ a: { observed: { probe, passive, announced: null } } }).backends,
    });
    const seen = evidence();
    seen.add(report({ a: { timed_out: 9 } }), NOON);
    seen.adopt(withPassive(out));
    expect(seen.counts(A, NOON)).toEqual({ successes: 0, failures: 0 });
    seen.add(report({ a: { timed_out: 9 } }), NOON);
    expect(seen.counts(A, NOON)).toEqual({ successes: 0, failures: 0 });
    const later = after(NOON, 5_000);
    seen.adopt(withPassive(back));
    seen.add(report({ a: { timed_out: 9 } }, { ageMs: 5_001 }), later);
    expect(seen.counts(A, later)).toEqual({ successes: 0, failures: 0 });
    seen.add(report({ a: { timed_out: 9 } }, { ageMs: 5_000 }), later);
    expect(seen.counts(A, later)).toEqual({ successes: 0, failures: 9 });
  });

  it("of a window of another length does not count", () => {
    const seen = evidence();
    seen.add(report({ a: { timed_out: 9 } }), NOON);
    const failurePercentage = { ...health.failurePercentage, windowMs: 60_000 };
    seen.adopt(pool({ a: 1 }, { health: { ...health, failurePercentage } }));
    expect(seen.counts(A, NOON)).toEqual({ successes: 0, failures: 0 });
  });
});

function toBatch(told: Partial<Batch>): Batch {
  return {
    beganMs: NOON,
    heardMs: NOON,
    successes: 0,
    failures: 0,
    gatewayRun: { length: 0, isWhole: true },
    ...told,
  };
}

const at = (seconds: number): EpochMs => after(NOON, 1_000 * seconds);

const whole = (length: number) => ({ gatewayRun: { length, isWhole: true } });

const broken = (length: number) => ({ gatewayRun: { length, isWhole: false } });

const merged = (batches: readonly Batch[]): RecentAttempts =>
  batches.reduce((sum, each) => sum.merge(RecentAttempts.of(each, WINDOW_MS)), new RecentAttempts(WINDOW_MS));
const facts = (recent: RecentAttempts) =>
  [0, 10, 25, 33, 40, 58, 70].map((seconds) => [recent.counts(at(seconds)), recent.gatewayRun(at(seconds))]);

/** The run that some batches make, by default as of 20 s after noon. */
function run(batches: readonly Partial<Batch>[], nowMs = after(NOON, 20_000)): number {
  const recent = new RecentAttempts(WINDOW_MS);
  for (const told of batches) recent.merge(RecentAttempts.of(toBatch(told), WINDOW_MS));
  return recent.gatewayRun(nowMs);
}

describe("gateway failures in a row over isolates", () => {
  it("are those of all batches of nothing else, where nothing else was seen", () => {
    expect(run([{ ...whole(2) }, { ...whole(3), beganMs: at(3), heardMs: at(4) }])).toBe(5);
  });

  it("begin anew with what a batch ends with after anything else", () => {
    expect(run([whole(9), { ...broken(2), heardMs: at(5) }])).toBe(2);
    expect(
      run([
        { ...broken(2), heardMs: at(5) },
        { ...whole(3), beganMs: at(6), heardMs: at(9) },
      ]),
    ).toBe(5);
  });

  it("are not those of a batch that overlaps one with a success, which may have come last", () => {
    expect(
      run([
        { ...broken(2), heardMs: at(5) },
        { ...whole(3), beganMs: at(4), heardMs: at(9) },
      ]),
    ).toBe(2);
    expect(
      run([
        { ...whole(3), beganMs: at(4), heardMs: at(9) },
        { ...broken(2), heardMs: at(5) },
      ]),
    ).toBe(2);
  });

  it("are not those at the end of a batch that began before the window", () => {
    const heardMs = at(5);
    const batches = [
      { ...broken(2), beganMs: at(0), heardMs },
      { ...broken(2), beganMs: at(4), heardMs },
    ];
    for (const order of [batches, batches.toReversed()]) {
      expect(run(order, at(30))).toBe(2);
      expect(run(order, after(at(30), 1))).toBe(0);
    }
  });

  it("are merged associatively and commutatively, with all that is counted", () => {
    const BATCH = fc
      .record({
        beganS: fc.integer({ min: 0, max: 50 }),
        tookS: fc.nat({ max: 5 }),
        successes: fc.nat({ max: 9 }),
      })
      .chain(({ beganS, tookS, successes }) =>
        fc.record({
          beganMs: fc.constant(at(beganS / 2)),
          heardMs: fc.constant(at(beganS / 2 + tookS)),
          successes: fc.constant(successes),
          failures: fc.nat({ max: 9 }),
          gatewayRun: fc.record({ length: fc.nat({ max: 9 }), isWhole: fc.boolean() }),
        }),
      );
    const some = fc.array(BATCH, { maxLength: 5 });
    fc.assert(
      fc.property(some, some, some, (a, b, c) => {
        const left = facts(merged(a).merge(merged(b)).merge(merged(c)));
        expect(facts(merged(a).merge(merged(b).merge(merged(c))))).toEqual(left);
        expect(facts(merged(c).merge(merged(a)).merge(merged(b)))).toEqual(left);
        expect(facts(merged([...c, ...b, ...a].toReversed()))).toEqual(left);
      }),
    );
  });
});

describe("what a backend says of itself", () => {
  it("is what it said last, though the isolate that heard it came earlier with its report", () => {
    const seen = evidence();
    seen.add(report({ a: { announced: "draining", announcedAfterMs: 4_000 } }, { ageMs: 5_000 }), NOON);
    seen.add(report({ a: { announced: "healthy", announcedAfterMs: 1_000 } }, { ageMs: 3_000 }), NOON);
    expect(seen.said(A, LATER)).toEqual({ word: "draining", saidMs: after(NOON, -1_000) });
    seen.add(report({ a: { announced: "healthy" } }, { ageMs: 500 }), NOON);
    expect(seen.said(A, LATER)).toEqual({ word: "healthy", saidMs: after(NOON, -500) });
  });

  it("of two words of the same moment, is the one that asks for less traffic", () => {
    const seen = evidence();
    for (const announced of ["degraded", "draining", "healthy"] as const)
      seen.add(report({ a: { announced } }), NOON);
    expect(seen.said(A, NOON)?.word).toBe("draining");
  });
});
