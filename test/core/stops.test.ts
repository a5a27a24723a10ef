import * as fc from "fast-check";
import { expect, it } from "vitest";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { type LiveRing, NO_RING, type RingState } from "../../durable/state/ring-state.ts";
import { stampStops } from "../../durable/state/stops.ts";
import { backendId, NOON, pool } from "./support/build.ts";

const DISABLED = { admin: { kind: "disabled" } } as const;
const ZONE = backendId("zone");
const SYNC = pool().config.sync;

/** A version published so long after noon, with everything that was leased before leased for 32 s. */
function publish(before: RingState, next: LiveRing, atMs = 0): LiveRing {
  const version = before.version + 1;
  const stops = before.kind === "live" ? before.stops : next.stops;
  const moment = { nowMs: after(NOON, atMs), longestLeaseMs: 32_000 };
  const stamped = stampStops(before, { ...next, version, stops }, moment);
  if (stamped.kind !== "live") throw new Error("it is gone");
  return stamped;
}

/** The lease and an hour of service past it, by a clock that is 1 % slow and stands still for a second. */
function certainMs(atMs: number, staleMs = 3_600_000): EpochMs {
  return after(NOON, atMs + Math.ceil((32_000 + staleMs) / 0.99) + 1_100);
}

it("notes the version in which a backend is closed, and when nobody can hold an older one", () => {
  const active = publish(NO_RING, pool({ a: 1, b: 1 }));
  expect(active.stops.closed).toEqual([]);
  const closed = publish(active, pool({ a: 1, b: DISABLED }), 1_000);
  const stop = { id: "b", version: 2, atMs: after(NOON, 1_000), certainAtMs: certainMs(1_000) };
  expect(closed.stops.closed).toEqual([stop]);
  // A later version of the pool, its removal included, leaves that as it is.
  const later = publish(closed, pool({ a: 9, b: DISABLED }), 2_000);
  expect(later.stops.closed).toEqual([stop]);
  expect(publish(later, pool({ a: 9 }), 3_000).stops.closed).toEqual([stop]);
});

it("notes a removal too, and forgets it when the backend is back", () => {
  const removed = publish(publish(NO_RING, pool({ a: 1, b: 1 })), pool({ a: 1 }), 1_000);
  expect(removed.stops.closed).toMatchObject([{ id: "b", version: 2 }]);
  expect(publish(removed, pool({ a: 1, b: 1 }), 2_000).stops.closed).toEqual([]);
});

it("begins anew where a backend served meanwhile", () => {
  const disabled = publish(publish(NO_RING, pool({ a: 1, b: 1 })), pool({ a: 1, b: DISABLED }));
  const enabled = publish(disabled, pool({ a: 1, b: 1 }));
  expect(publish(enabled, pool({ a: 1, b: DISABLED }), 5_000).stops.closed).toMatchObject([
    { version: 4, atMs: after(NOON, 5_000) },
  ]);
});

it("closes no drain before its deadline has passed", () => {
  const draining = { admin: { kind: "draining", untilMs: after(NOON, 9_000) } } as const;
  const begun = publish(publish(NO_RING, pool({ a: 1, b: 1 })), pool({ a: 1, b: draining }));
  expect(begun.stops.closed).toEqual([]);
  const over = publish(begun, pool({ a: 1, b: { ...draining, isDrained: true } }), 9_000);
  expect(over.stops.closed).toMatchObject([{ id: "b", version: 3, atMs: after(NOON, 9_000) }]);
});

it("counts on isolates that still go by a longer maxStaleMs than the present one", () => {
  const day = { sync: { ...SYNC, maxStaleMs: 86_400_000 } };
  const none = { sync: { ...SYNC, maxStaleMs: 0 } };
  const long = publish(NO_RING, pool({ a: 1, b: 1 }, day));
  const short = publish(long, pool({ a: 1, b: 1 }, none), 1_000);
  const [stop] = publish(short, pool({ a: 1, b: DISABLED }, none), 2_000).stops.closed;
  expect(stop?.certainAtMs).toBe(certainMs(1_000, 86_400_000));
  const [together] = publish(long, pool({ a: 1, b: DISABLED }, none), 3_000).stops.closed;
  expect(together?.certainAtMs).toBe(certainMs(3_000, 86_400_000));
});

it("remembers removed backends for a day at least, and no more than a thousand", () => {
  const removed = publish(publish(NO_RING, pool({ a: 1, b: 1 })), pool({ a: 1 }));
  expect(publish(removed, pool({ a: 2 }), 86_399_999).stops.closed).toHaveLength(1);
  expect(publish(removed, pool({ a: 2 }), 86_400_000).stops.closed).toEqual([]);
  const closed = Array.from({ length: 1_500 }, (_, index) => ({
    id: backendId(`old-${index}`),
    version: 1,
    atMs: after(NOON, index),
    certainAtMs: after(NOON, 9_000_000),
  }));
  const many = { ...removed, stops: { ...removed.stops, closed } };
  const kept = publish(many, pool({ a: 3 }), 5_000).stops.closed;
  expect(kept).toHaveLength(1_000);
  expect(kept[0]?.id).toBe("old-500");
});

/** A pool with a backend of this zone. */
function labelled(zone: string, more = {}): LiveRing {
  return pool({ a: 1, b: { labels: { [ZONE]: zone }, ...more } });
}

it("remembers the labels that a backend on its way out had before that, and those it has had last", () => {
  const draining = { admin: { kind: "draining", untilMs: after(NOON, 9_000) } } as const;
  const active = publish(NO_RING, labelled("x"));
  expect(active.stops.leaving).toEqual([]);
  const begun = publish(active, labelled("y", draining));
  expect(begun.stops.leaving).toEqual([{ id: "b", labels: { zone: "x" }, lastLabels: { zone: "y" } }]);
  const leaving = [{ id: "b", labels: { zone: "x" }, lastLabels: { zone: "z" } }];
  const changed = publish(begun, labelled("z", draining));
  expect(changed.stops.leaving).toEqual(leaving);
  const closed = publish(changed, labelled("z", { ...draining, isDrained: true }), 9_000);
  expect(closed.stops.leaving).toEqual(leaving);
  const removed = publish(closed, pool({ a: 1 }), 10_000);
  expect(removed.stops.leaving).toEqual(leaving);
  expect(publish(removed, pool({ a: 1 }), 100_000_000).stops.leaving).toEqual([]);
  expect(publish(changed, labelled("z")).stops.leaving).toEqual([]);
});

it("says of every backend that is closed, and of none that is not, whatever came before", () => {
  const told = fc.constantFrom(1, 0, DISABLED, null);
  const version = fc.record({ a: told, b: told, c: told });
  fc.assert(
    fc.property(fc.array(version, { minLength: 1, maxLength: 8 }), (versions) => {
      let state: RingState = NO_RING;
      for (const backends of versions) {
        const present = Object.entries(backends).flatMap(([id, each]) =>
          each === null ? [] : [[id, each] as const],
        );
        state = publish(state, pool(Object.fromEntries(present)));
        const stopped = new Set<string>(state.stops.closed.map(({ id }) => id));
        for (const { id, admin } of state.backends) expect(stopped.has(id)).toBe(admin.kind === "disabled");
      }
    }),
  );
});
