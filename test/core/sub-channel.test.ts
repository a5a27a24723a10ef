import * as fc from "fast-check";
import { expect, it } from "vitest";
import { OUTCOMES } from "../../durable/model/outcome.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import { after } from "../../durable/model/time.ts";
import type { SubChannel } from "../../worker/core/sub-channel.ts";
import { NOON, snapshot, subChannel } from "./support/build.ts";

function channel(): SubChannel {
  const [created] = snapshot({ a: 1 }).backends.map((backend) => subChannel(backend));
  if (created === undefined) throw new Error("there is no backend");
  return created;
}

/** An attempt that is told of at noon. */
function waited(waitedMs: number) {
  return { waitedMs, timeoutMs: 15_000, isUnhindered: true, nowMs: NOON };
}

it("knows no latency before the first outcome, and takes the first as it is", () => {
  const fresh = channel();
  expect(fresh.latencyMs(NOON)).toBeNull();
  fresh.count("answered", waited(40));
  expect(fresh.latencyMs(NOON)).toBe(40);
  expect(fresh.latencyMs(after(NOON, 10_000))).toBeCloseTo(40 / Math.E);
});

it.each(["gateway_error", "unreachable", "timed_out"] as const)(
  "is punished for %s, and for more of it up to 30 s",
  (outcome) => {
    const failing = channel();
    failing.count("answered", waited(40));
    failing.count(outcome, waited(5));
    expect(failing.latencyMs(NOON)).toBe(15_000);
    failing.count(outcome, waited(5));
    expect(failing.latencyMs(NOON)).toBe(30_000);
    failing.count(outcome, waited(5));
    expect(failing.latencyMs(NOON)).toBe(30_000);
  },
);

it("learns from a client that left only that it takes longer than was thought", () => {
  const slow = channel();
  slow.count("answered", waited(40));
  slow.count("client_gone", waited(39));
  expect(slow.latencyMs(NOON)).toBe(40);
  slow.count("client_gone", waited(3_000));
  expect(slow.latencyMs(NOON)).toBe(3_000);
});

it("forgets no older estimate over a client that left early", () => {
  const decaying = channel();
  decaying.count("answered", waited(1_000));
  decaying.count("client_gone", { ...waited(10), nowMs: after(NOON, 5_000) });
  expect(decaying.latencyMs(after(NOON, 10_000))).toBeCloseTo(1_000 / Math.E);
});

it("keeps its latency through changes of weight and address", () => {
  const kept = channel();
  kept.count("answered", waited(40));
  kept.adopt({ ...kept.backend, weight: 7, url: "https://elsewhere.example" }, DEFAULT_POOL_CONFIG);
  expect(kept.latencyMs(NOON)).toBe(40);
});

it("is never better off for a failure, nor for a client that left, than without it", () => {
  const attempt = fc.record({
    outcome: fc.constantFrom(...OUTCOMES),
    waitedMs: fc.nat({ max: 20_000 }),
    elapsedMs: fc.nat({ max: 30_000 }),
  });
  const spoilt = fc.record({
    outcome: fc.constantFrom("server_error", "unreachable", "timed_out", "client_gone"),
    waitedMs: fc.nat({ max: 20_000 }),
  });
  fc.assert(
    fc.property(fc.array(attempt), spoilt, fc.nat({ max: 60_000 }), (attempts, last, laterMs) => {
      const [without, spoiled] = [channel(), channel()];
      let nowMs = NOON;
      for (const { outcome, waitedMs, elapsedMs } of attempts) {
        nowMs = after(nowMs, elapsedMs);
        for (const each of [without, spoiled])
          each.count(outcome, { waitedMs, timeoutMs: 15_000, isUnhindered: true, nowMs });
      }
      spoiled.count(last.outcome, { waitedMs: last.waitedMs, timeoutMs: 15_000, isUnhindered: true, nowMs });
      const readMs = after(nowMs, laterMs);
      expect((spoiled.latencyMs(readMs) ?? 0) * (1 + 1e-12)).toBeGreaterThanOrEqual(
        without.latencyMs(readMs) ?? 0,
      );
    }),
  );
});

it("counts an answer that broke off beside its headers, and is punished for it like for a lost connection", () => {
  const failing = channel();
  failing.count("answered", waited(40));
  failing.countCut(after(NOON, -600_000), waited(40));
  expect(failing.latencyMs(NOON)).toBe(15_000);
  expect(failing.takeReport(NOON)?.report).toMatchObject({
    outcomes: { answered: 1, cut: 1 },
    latencyMs: { success: 40, failure: 40 },
    gatewayRun: { length: 1, isWhole: false },
  });
});

it("is withdrawn when an operator wants it to get nothing, and not when it is ejected", () => {
  const [backend] = snapshot({ a: 1 }).backends;
  if (backend === undefined) throw new Error("there is no backend");
  const withdrawn = (told: Partial<typeof backend>): boolean =>
    subChannel({ ...backend, ...told }).isWithdrawn;
  expect(withdrawn({ admits: "none" })).toBe(true);
  expect(withdrawn({ admits: "none", isEjected: true })).toBe(false);
  expect(withdrawn({ admits: "sticky" })).toBe(false);
  const removed = subChannel(backend);
  removed.retire();
  expect(removed.isWithdrawn).toBe(true);
});

it.each<[string, boolean, (silent: SubChannel) => void]>([
  ["another request waits as well", true, (silent) => silent.begin(NOON)],
  ["nobody else waits, as the request itself may take so long", false, () => {}],
  [
    "nobody else waits any more",
    false,
    (silent) => {
      silent.begin(NOON);
      silent.callOff();
    },
  ],
])("one timeout, where %s: is skipped at once, %s", (_, isTripped, meanwhile) => {
  const silent = channel();
  silent.begin(after(NOON, -15_000));
  meanwhile(silent);
  // One was answered long before, and is open still.
  silent.begin(after(NOON, -30_000));
  silent.count("answered", { ...waited(1_000), nowMs: after(NOON, -29_000) });
  expect(silent.count("timed_out", waited(15_000))).toBe(isTripped);
});
