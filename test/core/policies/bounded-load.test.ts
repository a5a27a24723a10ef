import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendId } from "../../../durable/model/names.ts";
import { backendId } from "../support/build.ts";
import { asking, hash, placed, prepare, type Weights } from "./hashed.ts";

const WEIGHTS: fc.Arbitrary<Weights> = fc
  .array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 })
  .map((weights) => Object.fromEntries(weights.map((weight, index) => [`b${index}`, weight])));
const FACTOR = fc.integer({ min: 100, max: 300 });

/** Requests: which few keys, so that they crowd, and how many of those in flight end before each. */
const REQUESTS = fc.array(fc.record({ key: fc.nat({ max: 3 }), ended: fc.nat({ max: 1 }) }), {
  minLength: 1,
  maxLength: 120,
  size: "max",
});

/** One is full, and all others are idle. */
function fiftyAtB0(id: string): number {
  return id === "b0" ? 50 : 0;
}

/** The least at c, then b. */
function thirtyAtB(id: string): number {
  return { a: 40, b: 30, c: 0 }[id] ?? 0;
}

/** What a backend may have in flight when so many are, all together. */
function boundOf(weights: Weights, id: string, factor: number, inFlight: number): number {
  const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
  const slots = Math.floor((inFlight * factor + 99) / 100);
  return Math.max(1, Math.ceil((slots * (weights[id] ?? 0)) / sum));
}

describe.each(["rendezvous", "maglev", "ring_hash"] as const)("%s", (name) => {
  it("never gives a backend a request that takes it past its bound, however keys crowd", () => {
    fc.assert(
      fc.property(WEIGHTS, FACTOR, REQUESTS, (weights, hashBalanceFactor, requests) => {
        const open: BackendId[] = [];
        const load = (id: BackendId) => open.filter((one) => one === id).length;
        const picker = prepare(name, weights, { hashBalanceFactor, load });
        for (const { key, ended } of requests) {
          open.splice(0, ended);
          const picked = picker.pick(asking({ key: hash(`key ${key}`) }));
          open.push(backendId(String(picked)));
          const bound = boundOf(weights, String(picked), hashBalanceFactor, open.length);
          expect(load(backendId(String(picked)))).toBeLessThanOrEqual(bound);
        }
      }),
      { numRuns: name === "maglev" ? 30 : 100 },
    );
  });

  it("leaves every key where it belongs while there is room", () => {
    const weights = { a: 2, b: 1, c: 1 };
    const keys = Array.from({ length: 500 }, (_, index) => hash(`key ${index}`));
    const bounded = prepare(name, weights, { hashBalanceFactor: 150, load: () => 0 });
    expect(placed(bounded, keys)).toEqual(placed(prepare(name, weights), keys));
  });

  it("walks a key of a full backend the same way every time, and different keys different ways", () => {
    const weights = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`b${index}`, 1]));
    const keys = Array.from({ length: 400 }, (_, index) => hash(`key ${index}`));
    const homes = placed(prepare(name, weights), keys);
    const crowd = keys.filter((_, index) => homes[index] === "b0");
    const walked = placed(prepare(name, weights, { hashBalanceFactor: 120, load: fiftyAtB0 }), crowd);
    expect(placed(prepare(name, weights, { hashBalanceFactor: 120, load: fiftyAtB0 }), crowd)).toEqual(
      walked,
    );
    expect(walked).not.toContain("b0");
    expect(new Set(walked).size).toBe(7);
  });

  it("takes the fullest by least when those with room are excluded", () => {
    const picker = prepare(name, { a: 1, b: 1, c: 1 }, { hashBalanceFactor: 100, load: thirtyAtB });
    const exclude = new Set([backendId("c")]);
    for (let index = 0; index < 20; index++)
      expect(picker.pick(asking({ exclude, key: hash(`key ${index}`) }))).toBe("b");
  });
});
