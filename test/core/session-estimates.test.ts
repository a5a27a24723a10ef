import * as fc from "fast-check";
import { expect, it } from "vitest";
import { markOf, Sketch } from "../../durable/model/sketch.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { SessionEstimates } from "../../durable/state/session-estimates.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import { backendId, NOON, pool } from "./support/build.ts";
import { report } from "./support/reports.ts";
import { poolConfig } from "./support/visit.ts";

const A = backendId("a");
const MINUTE_MS = 60_000;
const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");

/** An isolate's report that these sessions came to backends: `seen({ a: ["one", "two"] })`. */
function seen(backends: Readonly<Record<string, readonly string[]>>) {
  return report(
    Object.fromEntries(
      Object.entries(backends).map(([id, sessions]) => {
        const sketch = new Sketch();
        for (const session of sessions) sketch.note(markOf(hash(session)));
        return [id, { answered: sessions.length, sessionSketch: sketch.toText() }];
      }),
    ),
  );
}

/** Of a pool of these backends, whose tokens live so long, since noon. Noon begins a slice. */
function estimates(lifetimeMs = 24 * 60 * MINUTE_MS, ids = ["a", "b"]): SessionEstimates {
  const created = new SessionEstimates();
  created.adopt(poolOf(ids, lifetimeMs), NOON);
  return created;
}

function poolOf(ids: readonly string[], lifetimeMs = 24 * 60 * MINUTE_MS) {
  return pool(Object.fromEntries(ids.map((id) => [id, 1])), poolConfig({ tokens: { lifetimeMs } }));
}

function at(minutes: number): EpochMs {
  return after(NOON, minutes * MINUTE_MS);
}

it("has none before any report, and for a backend that is not there", () => {
  expect(estimates().of(A, at(5))).toEqual({ count: 0, sinceMs: NOON });
  expect(estimates().of(backendId("nobody"), at(5)).count).toBe(0);
});

it("counts a session once, however many isolates report it, and for every backend that it came to", () => {
  const told = estimates();
  told.add(seen({ a: ["one", "two"] }), at(0));
  told.add(seen({ a: ["two", "three"], b: ["two"] }), at(1));
  expect(told.of(A, at(1)).count).toBe(3);
  expect(told.of(backendId("b"), at(1)).count).toBe(1);
});

it("forgets what did not come for an hour, in steps of ten minutes, and says since when it counts", () => {
  const told = estimates();
  told.add(seen({ a: ["early", "steady"] }), at(0));
  told.add(seen({ a: ["steady"] }), at(35));
  expect(told.of(A, at(59))).toEqual({ count: 2, sinceMs: NOON });
  expect(told.of(A, at(60))).toEqual({ count: 1, sinceMs: at(10) });
  expect(told.of(A, at(89))).toEqual({ count: 1, sinceMs: at(30) });
  expect(told.of(A, at(90))).toEqual({ count: 0, sinceMs: at(40) });
});

it("forgets earlier what is gone earlier: tokens that live for 6 minutes", () => {
  const told = estimates(6 * MINUTE_MS);
  told.add(seen({ a: ["one"] }), at(0));
  expect(told.of(A, at(5.9))).toEqual({ count: 1, sinceMs: NOON });
  expect(told.of(A, at(6))).toEqual({ count: 0, sinceMs: at(1) });
});

it("keeps what it knows through changes, and begins anew with a backend, a pool or another window", () => {
  const told = estimates();
  const again = (ids: readonly string[], lifetimeMs?: number) => {
    told.add(seen({ a: ["one"], b: ["two"] }), at(1));
    told.adopt(poolOf(ids, lifetimeMs), at(2));
    return [A, backendId("b")].map((id) => told.of(id, at(3)));
  };
  const one = { count: 1, sinceMs: NOON };
  expect(again(["a", "b"], 48 * 60 * MINUTE_MS)).toEqual([one, one]);
  expect(again(["a"])).toEqual([one, { count: 0, sinceMs: NOON }]);
  told.adopt(poolOf(["a", "b"]), at(2));
  expect(told.of(backendId("b"), at(3)).count).toBe(0);
  expect(again(["a", "b"], 30 * MINUTE_MS)).toEqual([
    { count: 0, sinceMs: at(2) },
    { count: 0, sinceMs: at(2) },
  ]);
  told.add(seen({ a: ["one"] }), at(2));
  told.adopt(null, at(4));
  told.adopt(poolOf(["a"], 30 * MINUTE_MS), at(5));
  expect(told.of(A, at(6))).toEqual({ count: 0, sinceMs: at(5) });
});

it("takes no harm from a text that is no sketch, nor from backends that are not there", () => {
  const told = estimates();
  told.add(report({ a: { sessionSketch: "no sketch" }, gone: { sessionSketch: "AAB" } }), at(0));
  expect(told.of(A, at(0)).count).toBe(0);
});

it("estimates the same, in whatever order reports come, alone or several times", () => {
  const arrivals = fc.array(
    fc.tuple(fc.nat({ max: 89 }), fc.array(fc.nat({ max: 30 }).map(String), { maxLength: 5 })),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(arrivals, fc.infiniteStream(fc.nat()), (batches, dice) => {
      const [ordered, shuffled] = [estimates(), estimates()];
      const byMinute = batches.toSorted(([one], [other]) => one - other);
      for (const [minute, sessions] of byMinute) ordered.add(seen({ a: sessions }), at(minute));
      // Within one slice: the ring's own clock does not go back.
      const bySlice = [...byMinute, ...byMinute]
        .map((batch) => ({ batch, drawn: dice.next().value ?? 0 }))
        .toSorted(
          (one, other) =>
            Math.floor(one.batch[0] / 10) - Math.floor(other.batch[0] / 10) || one.drawn - other.drawn,
        );
      for (const { batch } of bySlice) shuffled.add(seen({ a: batch[1] }), at(batch[0]));
      expect(shuffled.of(A, at(89))).toEqual(ordered.of(A, at(89)));
      const within = byMinute.filter(([minute]) => minute >= 30).flatMap(([, sessions]) => sessions);
      const { count } = ordered.of(A, at(89));
      // Of the 31 that there are, a few share a register.
      expect(Math.abs(count - new Set(within).size)).toBeLessThanOrEqual(2);
    }),
  );
});
