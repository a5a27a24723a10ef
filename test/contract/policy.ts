import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendId } from "../../durable/model/names.ts";
import type { PolicyName } from "../../durable/model/pool.ts";
import { epochMs } from "../../durable/model/time.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import { BoundedLoad } from "../../worker/core/policies/bounded-load.ts";
import { preparePicker } from "../../worker/core/policies/by-name.ts";
import type { Candidate, GaugeOf, PickContext, Picker } from "../../worker/core/policies/policy.ts";
import { backendId, candidates, NOON } from "../core/support/build.ts";
import { gaugesOf } from "../core/support/gauges.ts";

const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");
const NOTHING: ReadonlySet<BackendId> = new Set();

const CANDIDATES: fc.Arbitrary<readonly Candidate[]> = fc
  .array(fc.integer({ min: 1, max: 1_000 }), { maxLength: 9 })
  .map((weights) => weights.map((weight, index) => ({ id: backendId(`b${index}`), weight })));
const CHANCE = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

/** What a pick is given. Some of what it excludes is no candidate. */
const CONTEXT: fc.Arbitrary<PickContext> = fc.record({
  exclude: fc
    .subarray(["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "gone"].map(backendId))
    .map((ids) => new Set(ids)),
  isRetry: fc.boolean(),
  key: fc.option(fc.string().map((text) => hash(text))),
  chance: CHANCE,
  nowMs: fc.nat({ max: 100_000 }).map((laterMs) => epochMs(NOON + laterMs)),
});
const CONTEXTS = fc.array(CONTEXT, { maxLength: 30 });

const PICKS = 20_000;

/** The golden ratio: its multiples, less their whole parts, fill 0…1 evenly and in no plain order. */
const GOLDEN = 0.618_033_988_749_895;

/** The request of a connection of that number. */
function request(index: number, isKeyed = true): PickContext {
  const key = isKeyed ? hash(`connection ${index}`) : null;
  return { exclude: NOTHING, isRetry: false, key, chance: (index * GOLDEN) % 1, nowMs: NOON };
}

/** Requests that are in flight at any time while shares are counted: enough for weights of 1000 to 1 to show in them. */
const IN_FLIGHT = 5_000;

/** Every backend at some load, some of unknown latency; the same whenever they are read. */
const someGauge: GaugeOf = gaugesOf(
  (id) => lastCode(id) % 5,
  (id) => (lastCode(id) % 4 === 0 ? null : 10 * lastCode(id)),
);

function lastCode(id: BackendId): number {
  return id.charCodeAt(id.length - 1);
}

/** What a policy is contracted for: a bound on its load, and the shares that are not its matter, with the reason. */
export interface Terms {
  readonly hashBalanceFactor?: number;
  readonly withoutShares?: { readonly of: "all requests" | "keyed requests"; readonly because: string };
}

/** What every policy keeps, under the name by which a pool asks for it. */
export function describePolicy(name: PolicyName, { hashBalanceFactor, withoutShares }: Terms = {}): void {
  function prepare(
    among: readonly Candidate[],
    chance = 0,
    previous: Picker | null = null,
    gauge: GaugeOf = someGauge,
  ): Picker {
    const picker = preparePicker(name, { candidates: among, previous, hash, chance, gauge, ringPoints: 160 });
    return hashBalanceFactor === undefined
      ? picker
      : BoundedLoad.prepare(picker, { candidates: among, gauge, hashBalanceFactor });
  }

  const excuse =
    withoutShares === undefined
      ? ""
      : `, without shares of ${withoutShares.of}, since ${withoutShares.because}`;
  const bound = hashBalanceFactor === undefined ? "" : ` bounded to ${hashBalanceFactor} %`;

  describe(`the policy ${name}${bound}${excuse}`, () => {
    it("picks a candidate that is not excluded, and none only when all are", () => {
      fc.assert(
        fc.property(CANDIDATES, CHANCE, CONTEXTS, (among, chance, contexts) => {
          const picker = prepare(among, chance);
          for (const context of contexts) {
            const left = among.map(({ id }) => id).filter((id) => !context.exclude.has(id));
            expect(left.length === 0 ? [null] : left).toContain(picker.pick(context));
          }
        }),
      );
    });

    it("depends on nothing but its arguments and counters", () => {
      fc.assert(
        fc.property(CANDIDATES, CHANCE, CONTEXTS, (among, chance, contexts) => {
          const [one, other] = [prepare(among, chance), prepare(among, chance)];
          expect(contexts.map((context) => one.pick(context))).toEqual(
            contexts.map((context) => other.pick(context)),
          );
        }),
      );
    });

    it("picks for others as if a retry had not been", () => {
      fc.assert(
        fc.property(CANDIDATES, CHANCE, CONTEXTS, (among, chance, contexts) => {
          const [one, other] = [prepare(among, chance), prepare(among, chance)];
          for (const context of contexts) {
            other.pick({ ...context, isRetry: true });
            const first = { ...context, isRetry: false };
            expect(other.pick(first)).toBe(one.pick(first));
          }
        }),
      );
    });

    it("goes on as if nothing had happened when a snapshot brings the same candidates", () => {
      fc.assert(
        fc.property(CANDIDATES, CHANCE, CHANCE, CONTEXTS, (among, chance, laterChance, contexts) => {
          const one = prepare(among, chance);
          const before = prepare(among, chance);
          for (const context of contexts) expect(before.pick(context)).toBe(one.pick(context));
          const after = prepare([...among], laterChance, before);
          for (const context of contexts) expect(after.pick(context)).toBe(one.pick(context));
        }),
      );
    });

    it("takes the place of any other policy", () => {
      const previous: Picker = { pick: () => null };
      expect(prepare(candidates({ a: 1 }), 0, previous).pick(request(0))).toBe("a");
    });

    // A case that a policy cannot meet is left out, and its reason stands in the name of the suite.
    const counted = [
      { kind: "keyed requests", isKeyed: true },
      { kind: "requests without key", isKeyed: false },
    ].filter(({ kind }) => withoutShares?.of !== kind && withoutShares?.of !== "all requests");

    describe.each(counted)("with $kind", ({ isKeyed }) => {
      it.each([
        { weights: { a: 5, b: 1, c: 1 }, left: "all" },
        { weights: { a: 1_000, b: 1 }, left: "all" },
        { weights: { a: 3 }, left: "all" },
        { weights: { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1 }, left: "all" },
        { weights: { a: 5, b: 1, c: 1 }, left: "those left", out: { e: 5, f: 1 } },
        { weights: { a: 1, b: 1, c: 1, d: 1 }, left: "those left", out: { e: 1, f: 1, g: 1 } },
      ])(
        "gives $left of $weights and $out its share, within four standard deviations of independent draws",
        ({ weights, out = {} }) => {
          const inFlight = new Map<BackendId | null, number>();
          const add = (id: BackendId | null, by: number) => inFlight.set(id, (inFlight.get(id) ?? 0) + by);
          const among = candidates({ ...out, ...weights });
          const picker = prepare(
            among,
            0.3,
            null,
            gaugesOf(
              (id) => inFlight.get(id) ?? 0,
              () => 20,
            ),
          );
          const exclude = new Set(candidates(out).map(({ id }) => id));
          const picks: (BackendId | null)[] = [];
          for (let index = 0; index < PICKS; index++) {
            const picked = picker.pick({ ...request(index, isKeyed), exclude });
            picks.push(picked);
            add(picked, 1);
            if (index >= IN_FLIGHT) add(picks[index - IN_FLIGHT] ?? null, -1);
          }
          const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
          for (const [id, weight] of Object.entries(weights)) {
            const share = weight / sum;
            const allowed = 4 * Math.sqrt(PICKS * share * (1 - share)) + 1;
            const count = picks.filter((picked) => picked === id).length;
            expect(Math.abs(count - PICKS * share)).toBeLessThan(allowed);
          }
        },
      );
    });
  });
}
