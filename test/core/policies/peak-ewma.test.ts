import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendId } from "../../../durable/model/names.ts";
import type { Outcome } from "../../../durable/model/outcome.ts";
import { after, type EpochMs } from "../../../durable/model/time.ts";
import { preparePicker } from "../../../worker/core/policies/by-name.ts";
import type { Picker } from "../../../worker/core/policies/policy.ts";
import { SubChannels } from "../../../worker/core/sub-channels.ts";
import { backendId, candidates, NOON, snapshot } from "../support/build.ts";
import { Dice } from "../support/dice.ts";
import { asking, counted, hash, prepare, type Weights } from "./hashed.ts";

const CHANCE = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

/** What a gauge shows. */
interface Shown {
  readonly inFlight: number;
  readonly latencyMs: number | null;
}

/** Which of two is picked, whatever the chance. */
function better(weights: Weights, shown: Readonly<Record<string, Shown>>, chance = 0.5): BackendId | null {
  const load = (id: string) => shown[id]?.inFlight ?? 0;
  const latencyMs = (id: string) => shown[id]?.latencyMs ?? null;
  return prepare("peak_ewma", weights, { load, latencyMs }).pick(asking({ chance }));
}

describe("of two backends", () => {
  it("the one with less latency × requests for its weight always gets the request", () => {
    const side = fc.record({
      weight: fc.integer({ min: 1, max: 1_000 }),
      inFlight: fc.nat({ max: 100 }),
      latencyMs: fc.integer({ min: 1, max: 30_000 }),
    });
    fc.assert(
      fc.property(side, side, CHANCE, (a, b, chance) => {
        const costs = {
          a: (a.latencyMs * (a.inFlight + 1)) / a.weight,
          b: (b.latencyMs * (b.inFlight + 1)) / b.weight,
        };
        fc.pre(Math.abs(costs.a - costs.b) > 1e-9 * costs.a);
        const picked = better({ a: a.weight, b: b.weight }, { a, b }, chance);
        expect(picked).toBe(costs.a < costs.b ? "a" : "b");
      }),
    );
  });

  it.each([
    // 20 × 4 = 80 against 100 × 1
    ["a", { a: 1, b: 1 }, { a: { inFlight: 3, latencyMs: 20 }, b: { inFlight: 0, latencyMs: 100 } }],
    // 80 against 100 × 1 / 2
    ["b", { a: 1, b: 2 }, { a: { inFlight: 3, latencyMs: 20 }, b: { inFlight: 0, latencyMs: 100 } }],
    // Nobody knows b, and nobody asks it.
    ["b", { a: 9, b: 1 }, { a: { inFlight: 0, latencyMs: 1 }, b: { inFlight: 0, latencyMs: null } }],
    // Nobody knows b, and somebody waits for it.
    ["a", { a: 1, b: 1 }, { a: { inFlight: 0, latencyMs: 9_000 }, b: { inFlight: 1, latencyMs: null } }],
  ] as const)("%s gets it: weights %j, gauges %j", (winner, weights, shown) => {
    expect([0.1, 0.4, 0.9].map((chance) => better(weights, shown, chance))).toEqual([winner, winner, winner]);
  });
});

/** How a backend serves a request that begins at a time: what becomes of it, and after how long. */
type Serve = (laterMs: number) => { readonly tookMs: number; readonly outcome?: Outcome };

/** Backends under the policy, in virtual time. */
class Traffic {
  readonly #channels = new SubChannels();
  readonly #picker: Picker;
  readonly #serve: Readonly<Record<string, Serve>>;
  readonly #dice = new Dice(7);
  #nowMs: EpochMs = NOON;
  #open: readonly { readonly endsMs: EpochMs; readonly end: () => void }[] = [];

  constructor(weights: Weights, serve: Readonly<Record<string, Serve>>) {
    this.#channels.adopt(snapshot(weights));
    this.#serve = serve;
    this.#picker = preparePicker("peak_ewma", {
      candidates: candidates(weights),
      previous: null,
      hash,
      chance: 0,
      gauge: (id) => this.#channels.find(id),
      ringPoints: 160,
    });
  }

  /** Sends a request every so often until a time after noon; answers with the share of each backend. */
  sharesUntil(untilMs: number, everyMs: number): (id: string) => number {
    const picks: (BackendId | null)[] = [];
    for (; this.#nowMs < NOON + untilMs; this.#nowMs = after(this.#nowMs, everyMs)) {
      this.#settle();
      const picked = this.#picker.pick(asking({ chance: this.#dice.next(), nowMs: this.#nowMs }));
      picks.push(picked);
      if (picked !== null) this.#send(picked);
    }
    const counts = counted(picks);
    return (id) => (counts.get(id) ?? 0) / picks.length;
  }

  #send(id: BackendId): void {
    const channel = this.#channels.find(id);
    const served = this.#serve[id]?.(this.#nowMs - NOON);
    if (channel === null || served === undefined) throw new Error(`there is no backend ${id}`);
    const { tookMs, outcome = "answered" } = served;
    const endsMs = after(this.#nowMs, tookMs);
    channel.begin(this.#nowMs);
    const end = (): void => {
      channel.count(outcome, { waitedMs: tookMs, timeoutMs: 15_000, isUnhindered: true, nowMs: endsMs });
      channel.end();
    };
    this.#open = [...this.#open, { endsMs, end }];
  }

  #settle(): void {
    const due = this.#open.filter(({ endsMs }) => endsMs <= this.#nowMs);
    this.#open = this.#open.filter(({ endsMs }) => endsMs > this.#nowMs);
    for (const { end } of due.toSorted((one, other) => one.endsMs - other.endsMs)) end();
  }
}

const MINUTE_MS = 60_000;
const THREE = { a: 1, b: 1, c: 1 };
const quick: Serve = () => ({ tookMs: 20 });

describe("under traffic", () => {
  it("a slow backend gets little, and its share again after it has recovered", () => {
    const slowAtFirst: Serve = (laterMs) => ({ tookMs: laterMs < MINUTE_MS ? 500 : 20 });
    const traffic = new Traffic(THREE, { a: quick, b: quick, c: slowAtFirst });
    expect(traffic.sharesUntil(MINUTE_MS, 10)("c")).toBeLessThan(0.01);
    traffic.sharesUntil(2 * MINUTE_MS, 10);
    expect(traffic.sharesUntil(3 * MINUTE_MS, 10)("c")).toBeGreaterThan(0.25);
  });

  it("a backend that becomes slow loses its share", () => {
    const slowLater: Serve = (laterMs) => ({ tookMs: laterMs < MINUTE_MS ? 20 : 500 });
    const traffic = new Traffic(THREE, { a: quick, b: quick, c: slowLater });
    expect(traffic.sharesUntil(MINUTE_MS, 10)("c")).toBeGreaterThan(0.25);
    expect(traffic.sharesUntil(2 * MINUTE_MS, 10)("c")).toBeLessThan(0.01);
  });

  it.each([
    ["server_error", 600],
    ["unreachable", 20],
  ] as const)("a backend that fails at once attracts nearly nothing: %s", (outcome, most) => {
    const traffic = new Traffic(THREE, { a: quick, b: quick, c: () => ({ tookMs: 1, outcome }) });
    const share = traffic.sharesUntil(10 * MINUTE_MS, 10)("c");
    // It is tried again every minute or so: a share of nothing would never see it recover.
    expect(share).toBeGreaterThanOrEqual(5 / 60_000);
    expect(share).toBeLessThan(most / 60_000);
  });

  it("a backend that failed gets its share again after it has recovered", () => {
    const failingAtFirst: Serve = (laterMs) =>
      laterMs < MINUTE_MS ? { tookMs: 1, outcome: "unreachable" } : { tookMs: 20 };
    const traffic = new Traffic(THREE, { a: quick, b: quick, c: failingAtFirst });
    traffic.sharesUntil(4 * MINUTE_MS, 10);
    expect(traffic.sharesUntil(5 * MINUTE_MS, 10)("c")).toBeGreaterThan(0.25);
  });

  it("weights are honoured where latencies are equal and enough is in flight", () => {
    const shares = new Traffic({ a: 5, b: 2, c: 1 }, { a: quick, b: quick, c: quick }).sharesUntil(
      MINUTE_MS,
      0.25,
    );
    for (const [id, share] of Object.entries({ a: 5 / 8, b: 2 / 8, c: 1 / 8 }))
      expect(Math.abs(shares(id) - share)).toBeLessThan(0.01);
  });

  it("a retry goes to the better of the others", () => {
    const latencies: Weights = { a: 20, b: 500, c: 30 };
    const latencyMs = (id: string) => latencies[id] ?? null;
    const picker = prepare("peak_ewma", THREE, { latencyMs });
    const exclude = new Set([backendId("a")]);
    expect([0, 0.3, 0.6, 0.9].map((chance) => picker.pick(asking({ exclude, chance })))).toEqual([
      "c",
      "c",
      "c",
      "c",
    ]);
  });
});
