import * as fc from "fast-check";
import { expect, it } from "vitest";
import { Rotation } from "../../../worker/core/policies/rotation.ts";

const NOBODY: ReadonlySet<number> = new Set();

/** Smooth weighted round robin as it is described: everybody's turn is written down, and everybody is looked at. */
class Plain {
  readonly #weights: readonly number[];
  readonly #turns: number[];

  constructor(weights: readonly number[], turns: Float64Array) {
    this.#weights = weights;
    this.#turns = [...turns];
  }

  at(index: number): number {
    return this.#turns[index] ?? 0;
  }

  peek(out: ReadonlySet<number>): number {
    const steps = this.#steps(out);
    const raised = this.#weights.map((weight, index) =>
      out.has(index) ? -Infinity : weight * steps + this.at(index),
    );
    return out.size === raised.length ? -1 : raised.indexOf(Math.max(...raised));
  }

  take(out: ReadonlySet<number>): number {
    const next = this.peek(out);
    if (next !== -1) this.#serve(next, out);
    return next;
  }

  serve(index: number): void {
    this.#serve(index, NOBODY);
  }

  #serve(served: number, out: ReadonlySet<number>): void {
    const steps = this.#steps(out);
    this.#weights.forEach((weight, index) => {
      if (out.has(index)) return;
      this.#turns[index] = this.at(index) + weight * steps;
      this.#turns[served] = this.at(served) - weight * steps;
    });
  }

  /** So many that those left rise by the sum of all weights, in parts of 1024. */
  #steps(out: ReadonlySet<number>): number {
    const left = this.#weights.filter((_, index) => !out.has(index));
    return Math.round((sum(this.#weights) / sum(left)) * 1_024) / 1_024;
  }
}

function sum(weights: readonly number[]): number {
  return weights.reduce((total, weight) => total + weight, 0);
}

/** What may happen, in an order that is as likely to leave long stretches undisturbed as to disturb every pick. */
type Step =
  | { readonly kind: "take"; readonly picks: number }
  | { readonly kind: "serve"; readonly index: number }
  | { readonly kind: "take without" | "peek"; readonly out: ReadonlySet<number> };

const INDEX = fc.nat({ max: 39 });
const STEP: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("take" as const), picks: fc.nat({ max: 300 }) }),
  fc.record({ kind: fc.constant("serve" as const), index: INDEX }),
  fc.record({
    kind: fc.constantFrom("take without" as const, "peek" as const),
    out: fc.array(INDEX, { maxLength: 50 }).map((indexes) => new Set(indexes)),
  }),
);

/** Up to 40 weights, of few kinds or of many. */
const WEIGHTS = fc
  .constantFrom(1, 3, 10, 1_000)
  .chain((max) => fc.array(fc.integer({ min: 1, max }), { minLength: 1, maxLength: 40 }));

/** What one does in a step: who was served, or would be. */
function told(rotation: Rotation | Plain, step: Step, among: number): readonly number[] {
  if (step.kind === "take") return Array.from({ length: step.picks }, () => rotation.take(NOBODY));
  if (step.kind === "serve") {
    rotation.serve(step.index % among);
    return [];
  }
  const out = new Set([...step.out].filter((index) => index < among));
  return [step.kind === "peek" ? rotation.peek(out) : rotation.take(out)];
}

it("serves as the plain algorithm does, whatever is charged, excluded or tried again in between", () => {
  fc.assert(
    fc.property(
      WEIGHTS,
      fc.array(fc.integer({ min: -50, max: 50 })),
      fc.array(STEP),
      (weights, begin, steps) => {
        const turns = Float64Array.from(weights, (_, index) => begin[index] ?? 0);
        const [rotation, plain] = [new Rotation(weights, turns), new Plain(weights, turns)];
        for (const step of steps) {
          expect(told(rotation, step, weights.length)).toEqual(told(plain, step, weights.length));
        }
        weights.forEach((_, index) => expect(rotation.at(index)).toBe(plain.at(index)));
      },
    ),
    { numRuns: 500 },
  );
});

it("has the whole order of a cycle that is too long to be kept", () => {
  const weights = Array.from({ length: 200 }, (_, index) => 801 + index);
  const rotation = new Rotation(weights, new Float64Array(200));
  const served = Array<number>(200).fill(0);
  expect(rotation.cycle).toBeGreaterThan(2 ** 17);
  for (let pick = 0; pick < rotation.cycle; pick++) {
    const index = rotation.take(NOBODY);
    served[index] = (served[index] ?? 0) + 1;
  }
  expect(served).toEqual(weights);
  expect(weights.map((_, index) => rotation.at(index))).toEqual(Array(200).fill(0));
});

it("stays exact over more picks than turns are written down for", () => {
  const weights = [99_991, 99_989, 7];
  const rotation = new Rotation(weights, Float64Array.of(0.25, -0.25, 0));
  const plain = new Plain(weights, Float64Array.of(0.25, -0.25, 0));
  for (let pick = 0; pick < 1_100_000; pick++) {
    if (rotation.take(NOBODY) !== plain.take(NOBODY)) throw new Error(`pick ${pick} differs`);
  }
  expect(rotation.at(0)).toBe(plain.at(0));
});
