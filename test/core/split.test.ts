import * as fc from "fast-check";
import { expect, it } from "vitest";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import { Split } from "../../worker/core/split.ts";
import { poolName, routeId } from "./support/build.ts";

type Weights = Readonly<Record<string, number>>;

const SECRET = "000102030405060708090a0b0c0d0e0f";
const CLIENTS = Array.from({ length: 40_000 }, (_, index) => `tls ${index}`);

/** A split by weight, as one isolate makes it ready. */
function split(weights: Weights, route = "front", secret = SECRET): Split {
  const sides = Object.entries(weights).map(([pool, weight]) => ({ pool: poolName(pool), weight }));
  return new Split(routeId(route), sides, createKeyedHash(secret));
}

/** The side of every client. */
function sided(of: Split, clients: readonly string[] = CLIENTS): readonly (string | null)[] {
  return clients.map((client) => of.choose(client, 0));
}

/** The share of clients on each side. */
function shares(sides: readonly (string | null)[]): Readonly<Record<string, number>> {
  const counts = Object.entries(Object.groupBy(sides, String));
  return Object.fromEntries(counts.map(([side, members]) => [side, (members?.length ?? 0) / sides.length]));
}

/** Who changes sides when weights change: from where, to where. */
function moved(
  before: Weights,
  after: Weights,
): readonly (readonly [from: string | null, to: string | null])[] {
  const to = sided(split(after));
  return sided(split(before)).flatMap((from, index) =>
    from === to[index] ? [] : [[from, to[index] ?? null] as const],
  );
}

// The key is fixed, so this is one draw of 40,000 and always the same.
it.each<[Weights]>([
  [{ stable: 1, canary: 1 }],
  [{ stable: 99, canary: 1 }],
  [{ stable: 900, canary: 100 }],
  [{ a: 5, b: 3, c: 2 }],
])("gives %j their shares of 40,000 clients, within four standard deviations", (weights) => {
  const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
  const found = shares(sided(split(weights)));
  for (const [pool, weight] of Object.entries(weights)) {
    const share = weight / sum;
    const deviation = Math.sqrt((share * (1 - share)) / CLIENTS.length);
    expect(Math.abs((found[pool] ?? 0) - share)).toBeLessThan(4 * deviation);
  }
});

it("moves only the share by which a side grows, all of it to that side", () => {
  const moves = moved({ stable: 90, canary: 10 }, { stable: 80, canary: 20 });
  expect(new Set(moves.map(String))).toEqual(new Set(["stable,canary"]));
  expect(moves.length / CLIENTS.length).toBeCloseTo(0.1, 2);
});

it("moves no client between the sides whose weights stay", () => {
  const weights = fc.record({
    a: fc.integer({ min: 1, max: 100 }),
    b: fc.integer({ min: 1, max: 100 }),
    c: fc.integer({ min: 0, max: 100 }),
  });
  const clients = CLIENTS.slice(0, 200);
  fc.assert(
    fc.property(weights, fc.nat({ max: 100 }), (before, c) => {
      const was = sided(split(before), clients);
      const is = sided(split({ ...before, c }), clients);
      const isGrown = c > before.c;
      is.forEach((side, index) => {
        expect(side === was[index] || (isGrown ? side : was[index]) === "c").toBe(true);
      });
    }),
    { numRuns: 200 },
  );
});

it("gives nobody new to a side of weight 0, and moves everybody else nowhere", () => {
  const before = { stable: 50, canary: 25, old: 25 };
  expect(shares(sided(split({ ...before, canary: 0 })))["canary"]).toBeUndefined();
  const moves = moved(before, { ...before, canary: 0 });
  expect(new Set(moves.map(([from]) => from))).toEqual(new Set(["canary"]));
});

it("gives nobody to any side where all weigh nothing, and everybody to the only one", () => {
  expect(split({ stable: 0, canary: 0 }).choose("tls 1", 0)).toBeNull();
  expect(split({}).choose("tls 1", 0)).toBeNull();
  expect(shares(sided(split({ stable: 1, canary: 0 })))).toEqual({ stable: 1 });
});

it("gives a client the same side in every isolate, whatever chance has it, in whatever order sides stand", () => {
  const clients = fc.array(fc.string({ unit: "binary" }), { minLength: 1 });
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(clients, chance, chance, (names, one, other) => {
      const here = split({ stable: 3, canary: 2, old: 1 });
      const there = split({ old: 1, canary: 2, stable: 3 });
      for (const name of names) expect(there.choose(name, other)).toBe(here.choose(name, one));
    }),
  );
});

it("splits in another way under another secret, and on another route", () => {
  const weights = { stable: 1, canary: 1 };
  const first = sided(split(weights));
  for (const other of [split(weights, "other"), split(weights, "front", "f".repeat(32))]) {
    const alike = sided(other).filter((side, index) => side === first[index]).length;
    expect(alike / CLIENTS.length).toBeCloseTo(0.5, 1);
  }
});

it("leaves it to chance where nothing names the client, by the same weights", () => {
  const of = split({ stable: 3, canary: 1 });
  const sides = CLIENTS.map((_, index) => of.choose(null, index / CLIENTS.length));
  expect(shares(sides)["canary"]).toBeCloseTo(0.25, 1);
  expect(of.choose(null, 0.5)).toBe(of.choose(null, 0.5));
});
