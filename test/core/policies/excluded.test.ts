import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendId } from "../../../durable/model/names.ts";
import { Stretches } from "../../../worker/core/policies/stretches.ts";
import { backendId, candidates } from "../support/build.ts";
import { Dice } from "../support/dice.ts";
import { asking, counted, prepare, type Weights } from "./hashed.ts";

const DRAWS = 100_000;

/** Backends of unequal weights. */
function backends(count: number): Weights {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`b${index}`, 1 + ((index * 7) % 10)]),
  );
}

/** A chance with all of its 53 bits. */
function drawnBy(dice: Dice): number {
  return (Math.floor(dice.next() * 2 ** 21) * 2 ** 32 + dice.next() * 2 ** 32) / 2 ** 53;
}

/** Counts how often it is asked. */
class Watched extends Set<BackendId> {
  asked = 0;

  override has(id: BackendId): boolean {
    this.asked++;
    return super.has(id);
  }
}

describe.each(["random", "least_request", "peak_ewma"] as const)("%s", (name) => {
  it.each([5, 40, 1_000])("gives each of %d that is left its share while three are excluded", (count) => {
    const weights = backends(count);
    // One that is excluded is no candidate.
    const exclude = new Set(["b1", `b${count - 1}`, `b${count >> 1}`, "gone"].map(backendId));
    const left = candidates(weights).filter(({ id }) => !exclude.has(id));
    // What is in flight is as everybody's weight says, so that the first of two drawn is picked.
    const picker = prepare(name, weights, { load: (id) => (weights[id] ?? 0) - 1, latencyMs: () => 20 });
    const dice = new Dice(count);
    const counts = counted(
      Array.from({ length: DRAWS }, () => picker.pick(asking({ exclude, chance: drawnBy(dice) }))),
    );
    const sum = left.reduce((total, { weight }) => total + weight, 0);
    for (const { id, weight } of left) {
      const share = weight / sum;
      const allowed = 5 * Math.sqrt(DRAWS * share * (1 - share));
      expect(Math.abs((counts.get(id) ?? 0) - DRAWS * share)).toBeLessThan(allowed);
    }
    expect([...counts.keys()].filter((id) => id === null || exclude.has(backendId(id)))).toEqual([]);
  });

  // What happened: while one was full, everybody was looked at for every pick, and by those that choose of two a table was
  // made of who was left: 176 µs among a thousand.
  it("does not look at everybody while one of a thousand is excluded", () => {
    const picker = prepare(name, backends(1_000));
    const exclude = new Watched([backendId("b500"), backendId("gone")]);
    const dice = new Dice(1);
    for (let pick = 0; pick < 1_000; pick++) picker.pick(asking({ exclude, chance: drawnBy(dice) }));
    expect(exclude.asked).toBeLessThanOrEqual(2 * 1_000);
  });
});

// 3 + 1 by 1 against 5 + 1 by 1, and by 3.
it.each([
  [{ a: 1, b: 1, c: 1, d: 1 }, "b"],
  [{ a: 1_000, b: 1, c: 3, d: 1_000 }, "c"],
])("chooses by load between those two of %j that are left: %s", (weights, better) => {
  const inFlight: Weights = { a: 0, b: 3, c: 5, d: 0 };
  const picker = prepare("least_request", weights, { load: (id) => inFlight[id] ?? 0 });
  const exclude = new Set(["a", "d"].map(backendId));
  const dice = new Dice(2);
  const picks = Array.from({ length: 1_000 }, () => picker.pick(asking({ exclude, chance: drawnBy(dice) })));
  expect([...new Set(picks)]).toEqual([better]);
});

/** Weights, and which of them are out. */
const LINE = fc.array(fc.record({ weight: fc.integer({ min: 1, max: 1_000 }), isOut: fc.boolean() }), {
  minLength: 1,
  maxLength: 40,
});

it("gives each that is left its stretch of chance, and leaves of the chance what is as even", () => {
  fc.assert(
    fc.property(LINE, (line) => {
      const among = candidates(Object.fromEntries(line.map(({ weight }, index) => [`b${index}`, weight])));
      const stretches = new Stretches(among);
      const exclude = new Set(among.filter((_, index) => line[index]?.isOut).map(({ id }) => id));
      const sum = line.reduce((total, { weight, isOut }) => total + (isOut ? 0 : weight), 0);
      const draws = sum === 0 ? [] : Array.from({ length: 2_000 }, (_, draw) => (draw + 0.5) / 2_000);
      const drawn = draws.map((chance) => stretches.draw(chance, exclude));
      expect(stretches.draw(0.5, exclude) === null).toBe(sum === 0);
      line.forEach(({ weight, isOut }, index) => {
        const rests = drawn.filter((one) => one?.index === index).map((one) => one?.rest ?? -1);
        expect(Math.abs(rests.length - (isOut ? 0 : (2_000 * weight) / sum))).toBeLessThanOrEqual(1);
        // Evenly from 0 to 1, in the order of the chances.
        rests.forEach((rest, at) => expect(Math.abs(rest * rests.length - at)).toBeLessThan(2));
        for (const rest of rests) expect(rest).toBeLessThan(1);
      });
    }),
  );
});

it("never draws one that is out, even where rounding leads past all", () => {
  const chance = fc.oneof(
    fc.constantFrom(0, 1 - 2 ** -53),
    fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  );
  fc.assert(
    fc.property(LINE, chance, fc.nat({ max: 39 }), (line, number, but) => {
      const among = candidates(Object.fromEntries(line.map(({ weight }, index) => [`b${index}`, weight])));
      const out = new Set(line.flatMap(({ isOut }, index) => (isOut && index !== but ? [index] : [])));
      const exclude = new Set(among.filter((_, index) => out.has(index)).map(({ id }) => id));
      const drawn = new Stretches(among).draw(number, exclude, but < line.length ? but : -1);
      const left = line.map((_, index) => index).filter((index) => index !== but && !out.has(index));
      expect(left.length === 0 ? [undefined] : left).toContain(drawn?.index);
    }),
  );
});
