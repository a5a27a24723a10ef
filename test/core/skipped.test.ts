import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { HealthCheckSchema } from "../../durable/model/health-check.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { pace } from "../../durable/state/pacing.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import type { SubChannel } from "../../worker/core/sub-channel.ts";
import { SubChannels } from "../../worker/core/sub-channels.ts";
import { Tally } from "../../worker/core/tally.ts";
import { NOON, pool } from "./support/build.ts";
import { Court } from "./support/court.ts";
import { Dice } from "./support/dice.ts";
import { report } from "./support/reports.ts";

const REFRESH_MS = 5_000;
const A_FAILS = { unreachable: 3, gatewayRun: { length: 3, isWhole: true } };

function court(
  changed: v.InferInput<typeof HealthCheckSchema> = {},
  ids: readonly string[] = ["a", "b", "c"],
) {
  return new Court(
    pool(Object.fromEntries(ids.map((id) => [id, 1])), { health: v.parse(HealthCheckSchema, changed) }),
  );
}

/** One isolate: it picks among the backends it does not skip, and tells the ring what came of it. */
class Isolate {
  readonly #name: string;
  readonly #held: Court;
  readonly #chance: () => number;
  readonly #channels = new SubChannels();
  readonly #tally = new Tally();
  #nextSyncMs: EpochMs;
  #admitted: readonly SubChannel[] = [];

  constructor(name: string, held: Court, chance: () => number) {
    this.#name = name;
    this.#held = held;
    this.#chance = chance;
    this.#nextSyncMs = after(NOON, REFRESH_MS * chance());
    this.#adopt();
  }

  /** Whether it sends anything to a backend. */
  sendsTo(id: string): boolean {
    return this.#admitted.some((channel) => channel.id === id);
  }

  request(isDead: (id: string) => boolean): void {
    const { nowMs } = this.#held;
    if (nowMs >= this.#nextSyncMs) this.#sync();
    const usable = this.#admitted.filter((channel) => !channel.isSkipped(nowMs));
    const channel = usable[Math.floor(this.#chance() * usable.length)];
    if (channel === undefined) throw new Error("the pool is empty");
    channel.begin(nowMs);
    const hasTripped = channel.count(isDead(channel.id) ? "unreachable" : "answered", {
      waitedMs: 2,
      timeoutMs: 15_000,
      isUnhindered: true,
      nowMs,
    });
    channel.end();
    if (hasTripped) this.#sync();
  }

  #sync(): void {
    const held = this.#held;
    const taken = this.#tally.take(this.#channels.all(), held.nowMs);
    held.hear(taken, this.#name);
    this.#tally.acknowledge(taken.batch);
    const { nextSyncMs } = pace(held.ring.config.sync, 10, held.isUrgent, this.#chance());
    this.#nextSyncMs = after(held.nowMs, nextSyncMs);
    this.#adopt();
  }

  #adopt(): void {
    const snapshot = projectSnapshot(this.#held.ring);
    this.#channels.adopt(snapshot);
    this.#admitted = snapshot.backends.flatMap(({ id, admits }) => {
      const channel = this.#channels.find(id);
      return channel === null || admits !== "new" ? [] : [channel];
    });
  }
}

describe("a backend that dies under load", () => {
  it.each([
    [1, 30],
    [1, 300],
    [3, 30],
    [3, 300],
    [10, 30],
    [10, 300],
  ])("is out everywhere within about two refreshes, with %i isolates and %i requests/s", (count, rate) => {
    for (let seed = 1; seed <= 5; seed++) {
      const dice = new Dice(seed);
      const chance = (): number => dice.next();
      const held = court();
      const isolates = Array.from({ length: count }, (_, index) => new Isolate(`${index}`, held, chance));
      const serve = (forMs: number, isDead: (id: string) => boolean): void => {
        for (let sent = 0; sent < (forMs * rate) / 1_000; sent++) {
          held.wait(1_000 / rate);
          isolates[Math.floor(chance() * count)]?.request(isDead);
        }
      };
      serve(60_000, () => false);
      expect(held.occurrences).toEqual([]);
      serve(2.5 * REFRESH_MS, (id) => id === "a");
      expect(isolates.filter((isolate) => isolate.sendsTo("a"))).toEqual([]);
      expect(held.passive("a")).toMatchObject({ kind: "ejected" });
      expect(held.passive("b")).toMatchObject({ kind: "in" });
    }
  });
});

describe("a backend that one isolate skips", () => {
  it("is ejected when nobody says within 1.2 refreshes that it serves", () => {
    const held = court();
    expect(held.hear(report({ a: { ...A_FAILS, skipping: true } }), "one")).toEqual([]);
    expect(held.isUrgent).toBe(true);
    held.wait(5_999);
    expect(held.hear(report({ a: { skipping: true } }, { batch: 1 }), "one")).toEqual([]);
    held.wait(1);
    expect(held.hear(report({ a: { skipping: true } }, { batch: 2 }), "one")).toMatchObject([
      {
        kind: "ejected",
        cause: "skipped",
        evidence: { failures: 3, attempts: 3, skippedForMs: 6_000, times: 1, forMs: 30_000 },
      },
    ]);
  });

  it("stays while another one is served, and that is told", () => {
    const held = court();
    const told: unknown[] = [];
    for (let batch = 0; batch < 6; batch++) {
      told.push(...held.hear(report({ a: { ...A_FAILS, skipping: true } }, { batch }), "one"));
      held.wait(4_750);
      told.push(...held.hear(report({ a: { answered: 5 } }, { batch }), "two"));
    }
    expect(told).toMatchObject([{ backend: "a", kind: "suspected", cause: "skipped" }]);
    expect(held.passive("a")).toMatchObject({ kind: "in" });
  });

  it("is not out because of an isolate that lately got nothing to try it with", () => {
    const held = court();
    held.hear(report({ a: { ...A_FAILS, skipping: true } }), "one");
    held.hear(report({ a: { answered: 5 } }), "two");
    for (let batch = 1; batch < 10; batch++) {
      held.wait(5_000);
      held.hear(report({ a: { skipping: true } }, { batch }), "one");
    }
    expect(held.kinds("a")).toEqual(["suspected"]);
  });

  it("is not ejected again without another failure", () => {
    const held = court();
    held.hear(report({ a: { ...A_FAILS, skipping: true } }, { batch: 0 }), "one");
    for (let batch = 1; batch < 20; batch++) {
      held.wait(5_000);
      held.hear(report({ a: { skipping: true } }, { batch }), "one");
    }
    expect(held.kinds("a")).toEqual(["ejected", "returned"]);
  });

  it("is no matter when its failures are older than the window", () => {
    const held = court({ ejection: { maxPercent: 0, minAvailablePercent: 100 } });
    held.hear(report({ a: { ...A_FAILS, skipping: true } }, { batch: 0 }), "one");
    for (let batch = 1; batch < 20; batch++) {
      held.wait(5_000);
      held.hear(report({ a: { skipping: true } }, { batch }), "one");
    }
    expect(held.kinds("a")).toEqual(["spared"]);
  });

  it("is only told of where that is not enforced", () => {
    const held = court({ skipped: { enforce: false } });
    held.hear(report({ a: { ...A_FAILS, skipping: true } }), "one");
    held.wait(6_000);
    expect(held.hear(report({ a: { skipping: true } }, { batch: 1 }), "one")).toMatchObject([
      { kind: "suspected", cause: "skipped" },
    ]);
  });

  it.each([1, 2, 3, 5])("leaves a pool of %i in service", (size) => {
    const ids = Array.from({ length: size }, (_, index) => `b${index}`);
    const held = court({}, ids);
    for (let batch = 0; batch < 60; batch++) {
      held.hear(
        report(Object.fromEntries(ids.map((id) => [id, { ...A_FAILS, skipping: true }])), { batch }),
        "one",
      );
      const serving = projectSnapshot(held.ring).backends.filter(({ admits }) => admits === "new").length;
      expect(serving).toBeGreaterThanOrEqual(Math.max(1, size - 1));
      held.wait(5_000);
    }
  });
});

it("counts reports alike in whatever order they come within one moment", () => {
  const one = report({ a: { ...A_FAILS, skipping: true } });
  const two = report({ a: { answered: 1 } });
  for (const reports of [
    [one, two],
    [two, one],
  ]) {
    const held = court();
    for (const each of reports) held.hear(each);
    held.wait(5_000);
    expect(held.isUrgent).toBe(false);
  }
});
