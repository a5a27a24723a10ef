import * as fc from "fast-check";
import { expect, it } from "vitest";
import { counted, hash, KEYS, placed, prepare, type Weights } from "./hashed.ts";

/** The servers that libmemcached tests its weighted ketama with. */
const KETAMA: Weights = {
  "10.0.1.1": 600,
  "10.0.1.2": 300,
  "10.0.1.3": 200,
  "10.0.1.4": 350,
  "10.0.1.5": 1_000,
  "10.0.1.6": 800,
  "10.0.1.7": 950,
  "10.0.1.8": 100,
};

// Of libmemcached's `ketama_test_cases`: the hash of a key, the point that it belongs to, and whose that is.
it.each([
  [443_691_461, 445_379_617, "10.0.1.7"],
  [1_422_915_503, 1_428_303_028, "10.0.1.1"],
  [1_473_165_754, 1_480_075_959, "10.0.1.2"],
  [2_148_406_511, 2_168_579_133, "10.0.1.7"],
  [2_882_686_667, 2_885_206_587, "10.0.1.5"],
  [3_716_288_206, 3_727_224_240, "10.0.1.5"],
  [1_989_324_036, 1_994_028_240, "10.0.1.8"],
  [2_117_036_136, 2_117_124_014, "10.0.1.3"],
  [3_548_879_868, 3_550_704_865, "10.0.1.3"],
  [1_558_531_507, 1_559_308_507, "10.0.1.4"],
  [3_972_869_246, 3_974_773_167, "10.0.1.6"],
  [2_835_605_783, 2_847_870_057, "10.0.1.8"],
  [4_223_431_086, 4_230_156_966, "10.0.1.2"],
  [977_096_483, 977_319_837, "10.0.1.4"],
  [71_954_686, 72_034_069, "10.0.1.6"],
  [137_446_045, 146_633_907, "10.0.1.8"],
])("leads the key %i to its point %i, of %s, as ketama does", (key, point, server) => {
  const picker = prepare("ring_hash", KETAMA);
  const keys = [key, point].map((high) => ({ high, low: 0 }));
  expect(placed(picker, keys)).toEqual([server, server]);
});

it("leads a key after the last point to the first", () => {
  const picker = prepare("ring_hash", KETAMA);
  const [past, first] = placed(
    picker,
    [0xfffc_d1b5, 0].map((high) => ({ high, low: 0 })),
  );
  expect(past).toBe(first);
});

it("moves only a backend's own keys when one of equals is taken out", () => {
  const count = fc.integer({ min: 2, max: 12 });
  const keys = fc.array(
    fc.string().map((text) => hash(text)),
    { minLength: 1 },
  );
  fc.assert(
    fc.property(count, keys, fc.nat(), (backends, some, index) => {
      const weights = Object.fromEntries(Array.from({ length: backends }, (_, at) => [`b${at}`, 3]));
      const gone = `b${index % backends}`;
      const { [gone]: _gone, ...rest } = weights;
      const before = placed(prepare("ring_hash", weights), some);
      const after = placed(prepare("ring_hash", rest), some);
      expect(after.map((place, at) => (before[at] === gone ? gone : place))).toEqual(before);
    }),
  );
});

// A share by 1000 points has a standard deviation of about 3 %.
it("gives weights their shares of 60,000 keys within 15 %, with 1000 points", () => {
  const weights: Weights = { a: 5, b: 3, c: 2 };
  const counts = counted(placed(prepare("ring_hash", weights, { ringPoints: 1_000 })));
  for (const [id, weight] of Object.entries(weights)) {
    const mean = (KEYS.length * weight) / 10;
    expect(Math.abs((counts.get(id) ?? 0) - mean)).toBeLessThan(0.15 * mean);
  }
});

it("leaves nobody without points, however light", () => {
  expect(counted(placed(prepare("ring_hash", { a: 1_000, b: 1_000, c: 1 }))).get("c")).toBeGreaterThan(0);
});
