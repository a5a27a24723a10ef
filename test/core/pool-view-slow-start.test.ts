import { expect, it } from "vitest";
import type { PolicyName } from "../../durable/model/pool.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { after } from "../../durable/model/time.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { NOON, snapshot } from "./support/build.ts";
import { connection, placeOf, poolConfig, visit } from "./support/visit.ts";

const MINUTE_MS = 60_000;
const CONFIG = poolConfig({ slowStart: { windowMs: MINUTE_MS } });

/** Two that have served for ever, and from noon on a third. */
function withNewcomer(): Snapshot {
  return snapshot({ a: 1, b: 1, c: { servingSinceMs: NOON } }, { config: CONFIG });
}

/** How often each backend is chosen, at one moment. */
function countsOf(view: PoolView, afterMs: number, requests: number, policy: PolicyName = "round_robin") {
  const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
  for (let step = 0; step < requests; step++) {
    const chance = (step + 0.5) / requests;
    const id = placeOf(view, visit({ policy, chance, nowMs: after(NOON, afterMs) }));
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

/** By how much counts are off at most. */
function deviation(counts: Readonly<Record<string, number>>, due: Readonly<Record<string, number>>): number {
  return Math.max(...Object.entries(due).map(([id, count]) => Math.abs((counts[id] ?? 0) - count)));
}

it("gives a new backend by round robin what the curve says: at first, half way, and at the end", () => {
  const view = new PoolView(withNewcomer(), NOON, 0);
  expect(deviation(countsOf(view, 0, 2_100), { a: 1_000, b: 1_000, c: 100 })).toBeLessThanOrEqual(2);
  expect(deviation(countsOf(view, MINUTE_MS / 2, 2_500), { a: 1_000, b: 1_000, c: 500 })).toBeLessThanOrEqual(
    2,
  );
  expect(deviation(countsOf(view, MINUTE_MS, 3_000), { a: 1_000, b: 1_000, c: 1_000 })).toBeLessThanOrEqual(
    2,
  );
});

it("never gives it less as time goes by, without any new snapshot", () => {
  const view = new PoolView(withNewcomer(), NOON, 0);
  const shares = Array.from({ length: 13 }, (_, step) => countsOf(view, 5_000 * step, 3_000)["c"] ?? 0);
  expect(shares.map((share, index) => Math.max(0, (shares[index - 1] ?? 0) - share - 3))).toEqual(
    shares.map(() => 0),
  );
  expect(shares.at(0)).toBeLessThan(160);
  expect(Math.abs((shares.at(-1) ?? 0) - 1_000)).toBeLessThanOrEqual(3);
});

it("lets the others take their turns as before while the newcomer's weight grows", () => {
  const view = new PoolView(withNewcomer(), NOON, 0);
  let order = "";
  for (let step = 0; step < 600; step++) order += placeOf(view, visit({ nowMs: after(NOON, 100 * step) }));
  const survivors = order.replaceAll("c", "");
  expect(survivors).toMatch(/^(?:ab)*a?$|^(?:ba)*b?$/);
  expect(order).toContain("c");
});

it("holds it back by chance too", () => {
  const view = new PoolView(withNewcomer(), NOON, 0);
  expect(deviation(countsOf(view, 0, 2_100, "random"), { a: 1_000, b: 1_000, c: 100 })).toBeLessThanOrEqual(
    2,
  );
  expect(
    deviation(countsOf(view, MINUTE_MS, 3_000, "random"), { a: 1_000, b: 1_000, c: 1_000 }),
  ).toBeLessThanOrEqual(2);
});

/** What the new backend has of all that is in flight, as part of what an old one has. */
function partAfter(afterMs: number): number {
  const view = new PoolView(withNewcomer(), NOON, 0);
  for (let step = 0; step < 2_100; step++) {
    // Chances that are spread evenly, and neighbours far apart: the golden section.
    const chance = (0.5 + step * 0.618_033_988_7) % 1;
    view.choose(visit({ policy: "least_request", chance, nowMs: after(NOON, afterMs) }));
  }
  const [a, , c] = view.channels().map(({ inFlight }) => inFlight);
  return (c ?? 0) / (a ?? 1);
}

it("gives it, by least_request, its part of what is in flight", () => {
  expect(partAfter(0)).toBeCloseTo(0.1, 1);
  expect(partAfter(MINUTE_MS / 2)).toBeCloseTo(0.5, 1);
  expect(partAfter(MINUTE_MS)).toBeCloseTo(1, 1);
});

it.each(["rendezvous", "maglev", "ring_hash"] as const)(
  "does not touch %s: a key has one backend",
  (policy) => {
    const names = Array.from({ length: 300 }, (_, index) => `tls ${index}`);
    const placed = (view: PoolView, afterMs: number) =>
      names.map((name) =>
        placeOf(view, visit({ policy, connection: connection(name), nowMs: after(NOON, afterMs) })),
      );
    const settled = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
    const view = new PoolView(withNewcomer(), NOON, 0);
    for (const afterMs of [0, MINUTE_MS / 2, MINUTE_MS]) {
      expect(placed(view, afterMs)).toEqual(placed(settled, afterMs));
    }
  },
);

function bound(view: PoolView): readonly string[] {
  return Array.from({ length: 200 }, (_, index) =>
    placeOf(view, visit({ affinity: [{ by: "connection" }], connection: connection(`tls ${index}`) })),
  );
}

it("does not touch `first`, nor where connections are bound", () => {
  const late = snapshot({ c: { servingSinceMs: NOON }, a: 1 }, { config: CONFIG });
  expect(placeOf(new PoolView(late, NOON, 0), visit({ policy: "first" }))).toBe("c");
  expect(bound(new PoolView(withNewcomer(), NOON, 0))).toEqual(
    bound(new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0)),
  );
});

// Of three that had failed the first was well again, and got a twentieth of the traffic: the others were not new.
it("holds nobody back in a tier that panics", () => {
  const tiers = [{ priority: 0, isDegraded: false, sharePercent: 100, isPanicking: true }];
  const view = new PoolView({ ...withNewcomer(), tiers }, NOON, 0);
  expect(countsOf(view, 0, 300)).toEqual({ a: 100, b: 100, c: 100 });
});

it("goes by how long a backend has served, not by when an isolate hears of it", () => {
  const view = new PoolView(withNewcomer(), after(NOON, MINUTE_MS), 0);
  expect(countsOf(view, MINUTE_MS, 300)).toEqual({ a: 100, b: 100, c: 100 });
});
