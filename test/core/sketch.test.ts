import * as fc from "fast-check";
import { expect, it } from "vitest";
import { markOf, Sketch } from "../../durable/model/sketch.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";

const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");

const STANDARD_ERROR = 1.04 / Math.sqrt(512);

/** A sketch of the things of these names. */
function sketchOf(things: Iterable<string | number>): Sketch {
  const sketch = new Sketch();
  for (const thing of things) sketch.note(markOf(hash(String(thing))));
  return sketch;
}

function copy(sketch: Sketch): Sketch {
  return new Sketch().merge(sketch);
}

/** `count` names that begin so. */
function* names(count: number, prefix = ""): Iterable<string> {
  for (let index = 0; index < count; index++) yield `${prefix}${index}`;
}

const HIGHEST = digitsOf(511, 56);

/** One register as a text has it. */
function digitsOf(index: number, rank: number): string {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return [index >>> 6, index & 63, rank].map((value) => digits.charAt(value)).join("");
}

const sketches = fc.oneof(
  fc.uniqueArray(fc.nat(), { maxLength: 40 }).map(sketchOf),
  fc
    .tuple(fc.nat({ max: 3_000 }), fc.string({ maxLength: 4 }))
    .map(([count, prefix]) => sketchOf(names(count, prefix))),
);

it.each([
  [0x00000000, 0x00000000, "AA4"],
  [0x00000000, 0x00000001, "AA3"],
  [0x00000000, 0x80000000, "AAY"],
  [0x00000001, 0x00000000, "AAX"],
  [0x00400000, 0x00000000, "AAB"],
  [0x00800000, 0x00000000, "AB4"],
  [0xffffffff, 0xffffffff, "H_B"],
])(
  "takes the register from the first nine bits of %i, %i and the rank from the zeros after them",
  (high, low, text) => {
    const sketch = new Sketch();
    sketch.note(markOf({ high, low }));
    expect(sketch.toText()).toBe(text);
  },
);

it("is exact for none, one and two, and near it for ten", () => {
  expect(new Sketch().estimate()).toBe(0);
  for (let round = 0; round < 200; round++) {
    expect(sketchOf([round]).estimate()).toBe(1);
    expect(sketchOf(names(10, `${round} `)).estimate()).toBeGreaterThanOrEqual(8);
    expect(sketchOf(names(10, `${round} `)).estimate()).toBeLessThanOrEqual(10);
  }
  expect(sketchOf(["one", "other"]).estimate()).toBe(2);
});

it.each([100, 500, 1_000, 1_300, 2_000, 5_000, 20_000])(
  "is right on the average about %i, with a standard error of 4.6 percent",
  (count) => {
    const rounds = 40;
    const errors = Array.from(
      { length: rounds },
      (_, round) => sketchOf(names(count, `${round} `)).estimate() / count - 1,
    );
    const mean = errors.reduce((sum, error) => sum + error, 0) / rounds;
    const meanSquare = errors.reduce((sum, error) => sum + error ** 2, 0) / rounds;
    expect(Math.abs(mean)).toBeLessThan((3 * STANDARD_ERROR) / Math.sqrt(rounds));
    // Of so many samples it is itself known to within 11 %.
    expect(Math.sqrt(meanSquare)).toBeLessThan(1.33 * STANDARD_ERROR);
    expect(Math.max(...errors.map(Math.abs))).toBeLessThan(4 * STANDARD_ERROR);
  },
  30_000,
);

it.each([100_000, 1_000_000])(
  "is within three standard errors of %i",
  (count) => {
    expect(Math.abs(sketchOf(names(count)).estimate() / count - 1)).toBeLessThan(3 * STANDARD_ERROR);
  },
  30_000,
);

it("counts once what is noted twice", () => {
  const once = sketchOf(names(700));
  expect(sketchOf([...names(700), ...names(700)]).toText()).toBe(once.toText());
});

it("merges to the sketch of all, in any order, in any grouping, and however often", () => {
  fc.assert(
    fc.property(sketches, sketches, sketches, (a, b, c) => {
      const ab = copy(a).merge(b);
      expect(ab.toText()).toBe(copy(b).merge(a).toText());
      expect(copy(ab).merge(c).toText()).toBe(copy(a).merge(copy(b).merge(c)).toText());
      expect(copy(ab).merge(b).merge(a).merge(ab).toText()).toBe(ab.toText());
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.nat()), fc.array(fc.nat()), (some, others) => {
      expect(sketchOf(some).merge(sketchOf(others)).toText()).toBe(sketchOf([...some, ...others]).toText());
    }),
  );
});

it("reads its own text, which has three characters per register while they are few, and 512 at most", () => {
  fc.assert(
    fc.property(sketches, (sketch) => {
      const text = sketch.toText();
      expect(Sketch.parse(text)?.toText()).toBe(text);
      expect(Sketch.parse(text)?.estimate()).toBe(sketch.estimate());
      expect(text).toMatch(/^[A-Za-z0-9_-]{0,512}$/);
    }),
  );
  expect(new Sketch().toText()).toBe("");
  expect(sketchOf(["one"]).toText()).toHaveLength(3);
  const few = Array.from({ length: 170 }, (_, index) => digitsOf(index, 1)).join("");
  expect(Sketch.parse(few)?.toText()).toBe(few);
  const more = Sketch.parse(few)?.merge(Sketch.parse(HIGHEST) ?? new Sketch());
  expect(more?.toText()).toBe(`${"B".repeat(170)}${"A".repeat(341)}4`);
});

it("has a number for whatever can be told", () => {
  expect(Sketch.parse("4".repeat(512))?.estimate()).toBe(Number.MAX_SAFE_INTEGER);
  expect(Sketch.parse(HIGHEST)?.estimate()).toBe(1);
});

it.each([
  ["a register that is not whole", "AA"],
  ["what is not base64url", "AA+"],
  ["a character outside of the plane", "AA😀"],
  ["a register that is not there", digitsOf(512, 1)],
  ["a rank of none", digitsOf(0, 0)],
  ["a rank that no hash has", digitsOf(0, 57)],
  ["a register told twice", digitsOf(3, 1) + digitsOf(3, 2)],
  ["registers out of order", digitsOf(4, 1) + digitsOf(3, 1)],
  ["a rank that no hash has, among all of them", "A".repeat(511) + "5"],
  ["what is not base64url, among all of them", "A".repeat(511) + "="],
  ["more registers than there are", "B".repeat(513)],
])("does not read %s", (_, text) => {
  expect(Sketch.parse(text)).toBeNull();
});

it("reads any text without throwing, and writes what it has read as it came or shorter", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 520 }), (text) => {
      const read = Sketch.parse(text);
      expect(read === null || read.toText().length <= text.length).toBe(true);
    }),
  );
});
