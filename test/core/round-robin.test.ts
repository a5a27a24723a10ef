import * as fc from "fast-check";
import { expect, it } from "vitest";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import type { PickContext } from "../../worker/core/policies/policy.ts";
import { RoundRobin } from "../../worker/core/policies/round-robin.ts";
import { backendId, candidates, NOON } from "./support/build.ts";

type Weights = Readonly<Record<string, number>>;

const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");

/** A request that may go anywhere. */
const FREE: PickContext = { exclude: new Set(), isRetry: false, key: null, chance: 0, nowMs: NOON };

function prepare(weights: Weights, previous: RoundRobin | null = null, chance = 0): RoundRobin {
  return RoundRobin.prepare({ candidates: candidates(weights), previous, hash, chance });
}

/** So many picks in a row. */
function take(picker: RoundRobin, picks: number): readonly (string | null)[] {
  return Array.from({ length: picks }, () => picker.pick(FREE));
}

function sum(weights: Weights): number {
  return Object.values(weights).reduce((total, weight) => total + weight, 0);
}

function counted(picks: readonly (string | null)[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const id of picks) counts[String(id)] = (counts[String(id)] ?? 0) + 1;
  return counts;
}

/** Pools of one to eight backends, of weights small or large. */
function weightsUpTo(max: number): fc.Arbitrary<Weights> {
  return fc
    .array(fc.integer({ min: 1, max }), { minLength: 1, maxLength: 8 })
    .map((weights) => Object.fromEntries(weights.map((weight, index) => [`b${index}`, weight])));
}

const WEIGHTS = weightsUpTo(12);
const CHANCE = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

it.each([
  [{ a: 5, b: 1, c: 1 }, "aabacaa"],
  [{ a: 3, b: 2, c: 1 }, "abacba"],
  [{ a: 1, b: 1, c: 1 }, "abc"],
  [{ a: 500, b: 100, c: 100 }, "aabacaa"],
])("spreads the turns of %j as nginx does: %s", (weights, cycle) => {
  expect(take(prepare(weights), 3 * cycle.length).join("")).toBe(cycle.repeat(3));
});

it("gives every backend exactly its weight's share in any window of one cycle, from any phase", () => {
  fc.assert(
    fc.property(WEIGHTS, CHANCE, fc.nat({ max: 100 }), (weights, chance, skipped) => {
      const picker = prepare(weights, null, chance);
      take(picker, skipped);
      expect(counted(take(picker, sum(weights)))).toEqual(weights);
    }),
  );
});

it("keeps the turns at a sum of zero after every pick", () => {
  fc.assert(
    fc.property(weightsUpTo(1_000), CHANCE, (weights, chance) => {
      const picker = prepare(weights, null, chance);
      for (let pick = 0; pick < 50; pick++) {
        take(picker, 1);
        expect([...picker.turns().values()].reduce((total, turn) => total + turn, 0)).toBe(0);
      }
    }),
  );
});

it("is never more than two picks away from a backend's share, in any stretch", () => {
  fc.assert(
    fc.property(weightsUpTo(1_000), CHANCE, fc.nat({ max: 300 }), (weights, chance, picks) => {
      const picker = prepare(weights, null, chance);
      take(picker, picks);
      expect(distance(weights, take(picker, picks))).toBeLessThan(2);
    }),
  );
});

/** By how many picks a stretch gives any backend too much or too little. */
function distance(weights: Weights, picks: readonly (string | null)[]): number {
  const counts = counted(picks);
  const total = sum(weights);
  return Math.max(
    ...Object.entries(weights).map(([id, weight]) =>
      Math.abs((counts[id] ?? 0) - (picks.length * weight) / total),
    ),
  );
}

it("works with a thousand backends of a thousand each", () => {
  const weights = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`b${index}`, 1_000]));
  const counts = counted(take(prepare(weights, null, 0.5), 2_000));
  expect(Object.values(counts)).toEqual(Array(1_000).fill(2));
});

it("begins at different places in different isolates, each as likely as its weight", () => {
  const weights = { a: 5, b: 3, c: 2 };
  const first = Array.from(
    { length: 1_000 },
    (_, index) => take(prepare(weights, null, index / 1_000), 1)[0] ?? null,
  );
  expect(counted(first)).toEqual({ a: 500, b: 300, c: 200 });
});

it("goes on where it was when a snapshot changes nothing", () => {
  fc.assert(
    fc.property(WEIGHTS, CHANCE, fc.nat({ max: 30 }), (weights, chance, picks) => {
      const [one, other] = [prepare(weights, null, chance), prepare(weights, null, chance)];
      take(one, picks);
      take(other, picks);
      expect(take(prepare(weights, one), 30)).toEqual(take(other, 30));
    }),
  );
});

// With {a, b, c} of 1 each and the turn at c, a newcomer d does not send the turn back to a:
//
//   a b | c d a b c d …      not   a b | a b c d …
it("keeps the place of those that stay, and begins nowhere anew", () => {
  const picker = prepare({ a: 1, b: 1, c: 1 });
  expect(take(picker, 2).join("")).toBe("ab");
  expect(take(prepare({ a: 1, b: 1, c: 1, d: 1 }, picker), 8).join("")).toBe("cdabcdab");
});

it("goes on with those that stay when one leaves", () => {
  const picker = prepare({ a: 1, b: 1, c: 1, d: 1 });
  expect(take(picker, 2).join("")).toBe("ab");
  expect(take(prepare({ a: 1, b: 1, c: 1 }, picker), 6).join("")).toBe("cabcab");
});

// What happened: turns are in units of weights, and were carried over as they stood. Weights of 500, 300 and 200 made 5,
// 3 and 2 left one backend a turn worth fifty cycles, and it got the next hundred requests.
it("keeps what each is owed, not more, when all weights change their scale", () => {
  const picker = prepare({ a: 500, b: 300, c: 200 });
  take(picker, 3);
  expect(take(prepare({ a: 5, b: 3, c: 2 }, picker), 20).join("")).toBe("aabacbaabcaabacbaabc");
});

/** A change of membership: who stays or comes at which weight, the weight of a newcomer, and picks made before it. */
const CHANGE = fc
  .record({
    weights: fc.dictionary(
      fc.constantFrom("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"),
      fc.integer({ min: 1, max: 1_000 }),
    ),
    newcomer: fc.integer({ min: 1, max: 1_000 }),
    scale: fc.constantFrom(1, 10, 1_000),
    picks: fc.nat({ max: 20 }),
  })
  .map(({ weights, newcomer, scale, picks }) => {
    const scaled = Object.entries(weights).map(([id, weight]) => [id, Math.ceil(weight / scale)] as const);
    return { weights: Object.fromEntries(scaled), newcomer: Math.ceil(newcomer / scale), picks };
  });
const CHANGES = fc.array(CHANGE, { minLength: 1, maxLength: 6 });

/** A picker after some changes, the last of which brought `newcomer`, and the weights it has now. */
function changed(
  first: Weights,
  chance: number,
  changes: readonly { readonly weights: Weights; readonly newcomer: number; readonly picks: number }[],
) {
  let picker = prepare(first, null, chance);
  let weights = first;
  for (const change of changes) {
    take(picker, change.picks);
    picker = prepare(change.weights, picker);
    weights = { ...change.weights, newcomer: change.newcomer };
  }
  return { weights, picker: prepare(weights, picker) };
}

/** Bound requests, each by the index of its backend, before every one of some changes. */
const BOUND = fc.array(fc.array(fc.nat({ max: 7 }), { maxLength: 400 }), { minLength: 6, maxLength: 6 });

// What happened: {a, b} of 1 each with 32 requests bound to b, and c came. What a was owed, 16 rounds, it took before c had
// its first turn, at the 17th pick: after more than five cycles of three.
it("serves a newcomer within two cycles, whatever changed or was charged before", () => {
  fc.assert(
    fc.property(WEIGHTS, CHANCE, CHANGES, BOUND, (first, chance, changes, bound) => {
      let picker = prepare(first, null, chance);
      let among = candidates(first);
      let weights = first;
      changes.forEach((change, index) => {
        take(picker, change.picks);
        for (const to of bound[index] ?? []) {
          const charged = among[to % among.length];
          if (charged !== undefined) picker.charge(charged.id, 16);
        }
        const isLast = index === changes.length - 1;
        weights = isLast ? { ...change.weights, newcomer: change.newcomer } : change.weights;
        among = candidates(weights);
        picker = prepare(weights, picker);
      });
      expect(take(picker, 2 * cycleOf(weights))).toContain("newcomer");
    }),
    {
      numRuns: 500,
      examples: [
        [
          { a: 1, b: 1 },
          0,
          [{ weights: { a: 1, b: 1 }, newcomer: 1, picks: 0 }],
          [Array<number>(32).fill(1), [], [], [], [], []],
        ],
      ],
    },
  );
});

/** Picks in which everybody comes as often as its weight says. */
function cycleOf(weights: Weights): number {
  return sum(weights) / Object.values(weights).reduce(greatestCommonDivisor, 0);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

// a is owed 16 rounds for what was bound to b: with c they share what b gives up, and b is passed by for no longer than it
// would have been.
it("keeps what one owes for bound traffic when another comes, and lets the newcomer share in it", () => {
  const picker = prepare({ a: 1, b: 1 });
  const [, b] = candidates({ a: 1, b: 1 });
  if (b === undefined) throw new Error("b is a candidate");
  for (let request = 0; request < 100; request++) picker.charge(b.id, 16);
  const picks = take(prepare({ a: 1, b: 1, c: 1 }, picker), 100);
  const until = picks.indexOf("b");
  expect(until).toBeGreaterThan(16);
  expect(until).toBeLessThanOrEqual(17 * 3);
  const { a = 0, c = 0 } = counted(picks.slice(0, until));
  expect(Math.abs(a - c)).toBeLessThanOrEqual(2);
});

it("is never more than three picks away from a backend's share in the time after a change", () => {
  fc.assert(
    fc.property(WEIGHTS, CHANCE, CHANGES, fc.nat({ max: 300 }), (first, chance, changes, picks) => {
      const { weights, picker } = changed(first, chance, changes);
      expect(distance(weights, take(picker, picks))).toBeLessThan(3);
    }),
    { numRuns: 1_000 },
  );
});

it("keeps the turns at a sum of zero through changes", () => {
  fc.assert(
    fc.property(WEIGHTS, CHANCE, CHANGES, (first, chance, changes) => {
      const { picker } = changed(first, chance, changes);
      take(picker, 50);
      expect([...picker.turns().values()].reduce((total, turn) => total + turn, 0)).toBe(0);
    }),
  );
});

it("gives exact cycles again from the second one after a change", () => {
  fc.assert(
    fc.property(
      weightsUpTo(9),
      CHANCE,
      weightsUpTo(9),
      fc.nat({ max: 50 }),
      (before, chance, after, picks) => {
        const old = prepare(before, null, chance);
        take(old, picks);
        const picker = prepare(after, old);
        take(picker, sum(after));
        for (let cycle = 2; cycle <= 10; cycle++) expect(counted(take(picker, sum(after)))).toEqual(after);
      },
    ),
    { numRuns: 500 },
  );
});

// As in slow start, where weights are a hundred times as fine and grow once a second, however few picks there are in one.
it("neither restarts nor stalls while weights change every few picks", () => {
  const growing = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(growing, CHANCE, fc.integer({ min: 1, max: 3 }), (full, chance, picksBetween) => {
      let picker: RoundRobin | null = null;
      const ahead = Array<number>(full.length).fill(0);
      for (let second = 1; second <= 200; second++) {
        const weights = full.map((weight) => Math.ceil((weight * second) / 200));
        const total = weights.reduce((all, weight) => all + weight, 0);
        picker = prepare(
          Object.fromEntries(weights.map((weight, index) => [`b${index}`, weight])),
          picker,
          chance,
        );
        for (const picked of take(picker, picksBetween)) {
          weights.forEach((weight, index) => {
            ahead[index] = (ahead[index] ?? 0) + Number(picked === `b${index}`) - weight / total;
          });
          for (const picks of ahead) expect(Math.abs(picks)).toBeLessThan(3);
        }
      }
    }),
  );
});

it("gives those that are left exact cycles while one can take nothing", () => {
  fc.assert(
    fc.property(WEIGHTS, CHANCE, fc.nat({ max: 50 }), (left, chance, picks) => {
      const picker = prepare({ out: 7, ...left }, null, chance);
      take(picker, picks);
      const exclude = new Set([backendId("out")]);
      const cycle = () => Array.from({ length: sum(left) }, () => picker.pick({ ...FREE, exclude }));
      cycle();
      for (let count = 2; count <= 5; count++) expect(counted(cycle())).toEqual(left);
    }),
  );
});

// With {a: 98, b: 1, c: 1}, being owed one turn of 100 must not become fifty turns in a row while only b and c are left.
it("lets those that are left take turns at once, however heavy the one that can take nothing", () => {
  fc.assert(
    fc.property(
      WEIGHTS,
      CHANCE,
      fc.integer({ min: 1, max: 1_000 }),
      fc.nat({ max: 50 }),
      (left, chance, out, picks) => {
        const picker = prepare({ out, ...left }, null, chance);
        const exclude = new Set([backendId("out")]);
        expect(
          distance(
            left,
            Array.from({ length: picks }, () => picker.pick({ ...FREE, exclude })),
          ),
        ).toBeLessThan(3);
      },
    ),
  );
});

it("gives one that could take nothing for a while no more than its turns afterwards", () => {
  fc.assert(
    fc.property(
      WEIGHTS,
      CHANCE,
      fc.nat({ max: 100 }),
      fc.nat({ max: 100 }),
      (left, chance, without, picks) => {
        const weights = { out: 7, ...left };
        const picker = prepare(weights, null, chance);
        const exclude = new Set([backendId("out")]);
        for (let pick = 0; pick < without; pick++) picker.pick({ ...FREE, exclude });
        expect(distance(weights, take(picker, picks))).toBeLessThan(2);
      },
    ),
  );
});

it("moves nobody's turn when nobody can take anything", () => {
  const picker = prepare({ a: 2, b: 1 });
  expect(picker.pick({ ...FREE, exclude: new Set(["a", "b"].map(backendId)) })).toBeNull();
  expect(take(picker, 3).join("")).toBe("aba");
});

it("leaves the rotation alone for a retry, whatever it excludes", () => {
  const picker = prepare({ a: 1, b: 1, c: 1 });
  const retry = (...tried: readonly string[]) =>
    picker.pick({ ...FREE, exclude: new Set(tried.map(backendId)), isRetry: true });
  expect([retry(), retry("a"), retry("a", "b"), retry("a", "b", "c")]).toEqual(["a", "b", "c", null]);
  expect(take(picker, 10).join("")).toBe("abcabcabca");
  expect([retry(), retry("b"), retry("b", "c")]).toEqual(["b", "c", "a"]);
  expect(take(picker, 3).join("")).toBe("bca");
});

/** Bound requests by these weights and free ones, in a fixed irregular order; how often each backend served either. */
function mixed(weights: Weights, bound: Weights, boundShare: number, requests: number): Weights {
  const picker = prepare(weights);
  const served: Record<string, number> = {};
  for (let index = 0; index < requests; index++) {
    const [which, who] = [(index * GOLDEN) % 1, (index * SILVER) % 1];
    const free = which < boundShare ? null : picker.pick(FREE);
    const id = free ?? at(bound, who);
    if (free === null) for (const { id: named } of candidates({ [id]: 1 })) picker.charge(named, 16);
    served[id] = (served[id] ?? 0) + 1;
  }
  return served;
}

/** Multiples of these, less their whole parts, fill 0…1 evenly and independently of each other. */
const GOLDEN = 0.618_033_988_749_895;
const SILVER = 0.414_213_562_373_095;

/** Where a number of 0…1 falls among weights. */
function at(weights: Weights, point: number): string {
  let rest = point * sum(weights);
  for (const [id, weight] of Object.entries(weights)) {
    if (rest < weight) return id;
    rest -= weight;
  }
  throw new Error(`${point} is beyond ${JSON.stringify(weights)}`);
}

it.each([
  [{ a: 5, b: 3, c: 2 }, { a: 1, b: 0, c: 0 }, 0.4],
  [{ a: 5, b: 3, c: 2 }, { a: 4, b: 4, c: 2 }, 0.5],
  [{ a: 1, b: 1, c: 1, d: 1 }, { a: 1, b: 1, c: 0, d: 0 }, 0.5],
  [{ a: 100, b: 1 }, { a: 9, b: 0 }, 0.9],
] as const)(
  "makes up for bound traffic: of %j all get their shares within 0.5 %%, with %j bound to them as %d of all",
  (weights, bound, boundShare) => {
    const requests = 100_000;
    const served = mixed(weights, bound, boundShare, requests);
    for (const [id, weight] of Object.entries(weights)) {
      expect(Math.abs((served[id] ?? 0) / requests - weight / sum(weights))).toBeLessThan(0.005);
    }
  },
);

it.each([1, 16])(
  "passes a backend by for %d rounds at most once its bound traffic has ended",
  (maxRounds) => {
    const weights = { a: 1, b: 1, c: 2 };
    const picker = prepare(weights);
    const [a] = candidates({ a: 1 });
    if (a === undefined) throw new Error("a is a candidate");
    for (let request = 0; request < 1_000; request++) picker.charge(a.id, maxRounds);
    const picks = take(picker, 1_000);
    expect(picks.indexOf("a")).toBeLessThanOrEqual((maxRounds + 1) * sum(weights));
    expect(picks.indexOf("a")).toBeGreaterThan((maxRounds - 1) * sum(weights));
  },
);

it("charges nobody for a backend that takes no turns", () => {
  const weights = { a: 5, b: 1, c: 1 };
  const picker = prepare(weights);
  const [gone] = candidates({ gone: 1 });
  if (gone === undefined) throw new Error("it has an id");
  for (let request = 0; request < 20; request++) {
    picker.charge(gone.id, 16);
    expect(picker.pick(FREE)).toBe(take(prepare(weights), request + 1).at(-1));
  }
});

it("owes nobody anything in sum, whatever is charged", () => {
  fc.assert(
    fc.property(WEIGHTS, fc.array(fc.nat({ max: 9 }), { maxLength: 200 }), (weights, steps) => {
      const picker = prepare(weights);
      const among = candidates(weights);
      for (const step of steps) {
        const bound = among[step];
        if (bound === undefined) take(picker, 1);
        else picker.charge(bound.id, 3);
      }
      const turns = [...picker.turns().values()];
      expect(Math.abs(turns.reduce((total, turn) => total + turn, 0))).toBeLessThan(1e-6);
      for (const [index, turn] of turns.entries())
        expect(turn).toBeGreaterThanOrEqual(-4 * sum(weights) - (among[index]?.weight ?? 0));
    }),
  );
});
