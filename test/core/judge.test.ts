import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { type Announcement, type PassiveState } from "../../durable/model/health.ts";
import { type HealthCheck, HealthCheckSchema } from "../../durable/model/health-check.ts";
import type { Report } from "../../durable/model/sync.ts";
import { after } from "../../durable/model/time.ts";
import { isHurried } from "../../durable/state/agenda.ts";
import { healthOf, isStopping } from "../../durable/state/health.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import { NOON, pool } from "./support/build.ts";
import { Court } from "./support/court.ts";
import { report } from "./support/reports.ts";

type Changed = v.InferInput<typeof HealthCheckSchema>;

/** Rules of a pool that differ from the default in these. */
function rules(changed: Changed): HealthCheck {
  return v.parse(HealthCheckSchema, changed);
}

function court(changed: Changed = {}, ids: readonly string[] = ["a", "b", "c"]): Court {
  return new Court(pool(Object.fromEntries(ids.map((id) => [id, 1])), { health: rules(changed) }));
}

/** A backend's own word, so long ago. */
function said(announced: Announcement, ageMs = 0): Report {
  return report({ a: { announced } }, { ageMs });
}

/** Only gateway failures, so many in a row. */
function gateway(length: number, isWhole = true) {
  return { timed_out: length, gatewayRun: { length, isWhole } };
}

describe("a backend that fails most of what it gets", () => {
  it("is ejected, with what it was decided on", () => {
    const held = court();
    expect(held.hear(report({ a: { answered: 9, server_error: 51 } }))).toEqual([
      {
        atMs: NOON,
        backend: "a",
        kind: "ejected",
        cause: "failure_percentage",
        evidence: {
          attempts: 60,
          failures: 51,
          percent: 85,
          thresholdPercent: 85,
          windowMs: 30_000,
          times: 1,
          forMs: 30_000,
          untilMs: after(NOON, 30_000),
        },
      },
    ]);
    expect(healthOf(held.backend("a"))).toBe("unhealthy");
    expect(held.ring.version).toBe(8);
  });

  it.each([
    ["fails a little less", { answered: 10, server_error: 50 }],
    ["got less than 50", { server_error: 49 }],
    ["got less than 50 that blame anybody", { server_error: 49, client_gone: 100 }],
    ["is asked for what does not exist", { answered: 100 }],
    ["means its 501", { deliberate_error: 100 }],
    ["is left by its clients", { client_gone: 100 }],
  ])("is not when it %s", (_, told) => {
    const held = court();
    const before = held.ring;
    expect(held.hear(report({ a: told }))).toEqual([]);
    expect(held.ring).toBe(before);
  });

  it("is found by what two isolates see too little of", () => {
    const held = court();
    expect(held.hear(report({ a: { server_error: 25 } }), "isolate-1")).toEqual([]);
    held.wait(2_000);
    expect(held.hear(report({ a: { server_error: 25 } }), "isolate-2")).toMatchObject([{ kind: "ejected" }]);
  });

  it("is not found by one that sends the same report twice", () => {
    const held = court();
    held.hear(report({ a: { server_error: 25 } }), "isolate-1");
    expect(held.hear(report({ a: { server_error: 25 } }), "isolate-1")).toEqual([]);
  });

  it("is not found by what is older than the window", () => {
    const held = court();
    held.hear(report({ a: { server_error: 25 } }));
    held.wait(30_001);
    expect(held.hear(report({ a: { server_error: 25 } }))).toEqual([]);
    expect(held.hear(report({ a: { server_error: 90 } }, { ageMs: 30_001 }))).toEqual([]);
  });

  it("is left in and suspected where that is not enforced, told once in the base time", () => {
    const held = court({ failurePercentage: { enforce: false }, breaker: { enforce: false } });
    const ill = report({ a: { server_error: 60 } });
    expect(held.hear(ill)).toMatchObject([{ kind: "suspected", cause: "failure_percentage" }]);
    held.wait(29_999);
    expect(held.hear(ill)).toEqual([]);
    held.wait(1);
    expect(held.hear(ill)).toMatchObject([{ kind: "suspected" }]);
    expect(held.passive("a")).toMatchObject({ kind: "in" });
    expect(held.ring.version).toBe(7);
  });

  it("is spared where too many are out, told once in the base time, until one is back", () => {
    const held = court();
    const ill = report({ a: { server_error: 60 }, b: { server_error: 60 } });
    expect(held.hear(ill)).toMatchObject([
      { backend: "a", kind: "ejected" },
      {
        backend: "b",
        kind: "spared",
        cause: "failure_percentage",
        evidence: { maxPercent: 10, failures: 60 },
      },
    ]);
    held.wait(20_000);
    expect(held.hear(ill)).toEqual([]);
    held.wait(10_000);
    expect(held.hear(ill)).toMatchObject([
      { backend: "a", kind: "ejected", evidence: { times: 2, forMs: 60_000 } },
      { backend: "b", kind: "spared" },
    ]);
  });

  it("is spared where the only other one asks for no new sessions in the same report", () => {
    const held = court({ trustAnnouncements: true }, ["a", "b"]);
    expect(held.hear(report({ a: { server_error: 60 }, b: { announced: "draining" } }))).toMatchObject([
      { backend: "b", kind: "stopping" },
      { backend: "a", kind: "spared" },
    ]);
  });

  it("is not judged while it is pinned, drained, disabled or without weight", () => {
    const pin = { health: "healthy", reason: "it must serve", untilMs: after(NOON, 60_000) } as const;
    for (const changed of [{ pin }, { admin: { kind: "disabled" } } as const, { weight: 0 }]) {
      const held = court();
      held.change("a", changed);
      expect(held.hear(report({ a: { server_error: 600 } }))).toEqual([]);
    }
  });
});

describe("the end of an ejection", () => {
  it("comes by time, in a version of its own, and what was seen before does not count", () => {
    const held = court();
    held.hear(report({ a: { server_error: 60 } }));
    held.hear(report({ a: { server_error: 60 } }));
    expect(held.wait(29_999)).toEqual([]);
    const { version } = held.ring;
    expect(held.wait(1)).toEqual([
      {
        atMs: after(NOON, 30_000),
        backend: "a",
        kind: "returned",
        cause: "time",
        evidence: { ejectedBy: "failure_percentage", outMs: 30_000 },
      },
    ]);
    expect(held.ring.version).toBe(version + 1);
    expect(healthOf(held.backend("a"))).toBe("healthy");
    held.wait(1_000);
    expect(held.hear(report({ a: { server_error: 49 } }))).toEqual([]);
    // Its first failure came while it was out.
    expect(held.hear(report({ a: { server_error: 49 } }, { ageMs: 1_001 }))).toEqual([]);
    expect(held.hear(report({ a: { server_error: 1 } }))).toMatchObject([
      { kind: "ejected", evidence: { times: 2 } },
    ]);
  });

  it("comes though the object was evicted", () => {
    const held = court();
    held.hear(report({ a: { server_error: 60 } }));
    held.evict();
    expect(held.wait(30_000)).toMatchObject([{ backend: "a", kind: "returned" }]);
  });
});

describe("the breaker", () => {
  it("isolates a backend that fails too much of a busy time, for longer each time", () => {
    const held = court();
    const ill = report({
      a: { answered: 1_500, server_error: 300, latencyMs: { success: 15_000, failure: 3_000 } },
    });
    for (const forMs of [100, 200, 400]) {
      expect(held.hear(ill)).toMatchObject([
        { kind: "ejected", cause: "breaker", evidence: { forMs, shortPercent: 10, longPercent: 5 } },
      ]);
      expect(held.wait(forMs)).toMatchObject([{ kind: "returned", evidence: { ejectedBy: "breaker" } }]);
    }
  });

  it("stands a few errors, in whatever batches they come", () => {
    const held = court();
    const well = { answered: 9_800, server_error: 200, latencyMs: { success: 98_000, failure: 2_000 } };
    for (let batch = 0; batch < 20; batch++) expect(held.hear(report({ a: well }))).toEqual([]);
  });

  it("begins without errors after an isolation", () => {
    const held = court();
    held.hear(report({ a: { answered: 800, server_error: 200 } }));
    held.wait(100);
    expect(held.hear(report({ a: { answered: 100, server_error: 100 } }))).toEqual([]);
  });

  it("takes what a clock of milliseconds cannot tell from nothing for half of one", () => {
    const quick = { success: 0, failure: 0 };
    const held = court();
    held.hear(report({ a: { answered: 3_000, latencyMs: quick } }));
    held.wait(1_000);
    // 153 × 0.5 ms is what it stands; without a bound to what a failure costs, one would do.
    expect(held.hear(report({ a: { timed_out: 20, latencyMs: { success: 0, failure: 20_000 } } }))).toEqual(
      [],
    );
    held.wait(1_000);
    expect(held.hear(report({ a: { unreachable: 160, latencyMs: quick } }))).toMatchObject([
      { cause: "breaker" },
    ]);
  });

  it("puts a backend on trial where so many successes in a row are asked for", () => {
    const held = court({ breaker: { halfOpenSuccesses: 10 } });
    const ill = report({ a: { answered: 800, server_error: 200 } });
    held.hear(ill);
    held.wait(100);
    expect(held.passive("a")).toMatchObject({ kind: "half_open", isolationMs: 100 });
    expect(healthOf(held.backend("a"))).toBe("healthy");
    held.hear(report({ a: { answered: 9 } }));
    expect(held.passive("a")).toMatchObject({ kind: "half_open" });
    expect(held.hear(report({ a: { answered: 5, server_error: 1 } }))).toMatchObject([
      { kind: "ejected", cause: "breaker", evidence: { failures: 1, successes: 14, forMs: 200 } },
    ]);
    held.wait(200);
    const { version } = held.ring;
    held.hear(report({ a: { answered: 4 } }));
    held.hear(report({ a: { answered: 6 } }));
    expect(held.passive("a")).toMatchObject({ kind: "in", sinceMs: after(NOON, 300) });
    expect(held.ring.version).toBe(version);
    expect(held.kinds("a")).toEqual(["ejected", "returned", "ejected", "returned"]);
  });

  it("ends a trial after a failure that was spared by as many successes as ever, or forgets it with the window", () => {
    const full = { maxPercent: 0, minAvailablePercent: 100 };
    const held = court({ breaker: { halfOpenSuccesses: 10 } });
    const guard = (ejection: Changed["ejection"]): void => {
      const health = rules({ breaker: { halfOpenSuccesses: 10 }, ejection });
      held.adopt({ ...held.ring, config: { ...held.ring.config, health } });
    };
    held.hear(report({ a: { answered: 800, server_error: 200 } }));
    held.wait(100);
    guard(full);
    expect(held.hear(report({ a: { answered: 5, server_error: 1 } }))).toMatchObject([{ kind: "spared" }]);
    held.wait(30_000);
    guard({});
    expect(held.hear(report({ a: { answered: 9 } }))).toEqual([]);
    expect(held.passive("a")).toMatchObject({ kind: "half_open" });
    guard(full);
    held.wait(1);
    expect(held.hear(report({ a: { server_error: 1 } }))).toMatchObject([{ kind: "spared" }]);
    held.wait(1_000);
    held.hear(report({ a: { answered: 9 } }));
    expect(held.passive("a")).toMatchObject({ kind: "half_open" });
    held.hear(report({ a: { answered: 1 } }));
    expect(held.passive("a")).toMatchObject({ kind: "in" });
  });

  it("ends a trial at once that nobody asks for any more", () => {
    const held = court({ breaker: { halfOpenSuccesses: 10 } });
    held.hear(report({ a: { answered: 800, server_error: 200 } }));
    held.wait(100);
    held.adopt({
      ...held.ring,
      config: { ...held.ring.config, health: rules({ breaker: { enforce: false, halfOpenSuccesses: 10 } }) },
    });
    expect(held.hear(report({ a: { answered: 1, server_error: 1 } }))).toEqual([]);
    expect(held.passive("a")).toMatchObject({ kind: "in" });
  });

  it("makes isolates hurry while a backend is out for less than a refresh, and no longer ejection does", () => {
    const held = court();
    held.hear(report({ a: { answered: 800, server_error: 200 } }));
    expect(isHurried(held.ring)).toBe(true);
    held.wait(100);
    expect(isHurried(held.ring)).toBe(false);
    held.hear(report({ a: { server_error: 200 } }));
    expect(held.passive("a")).toMatchObject({ kind: "ejected", cause: "failure_percentage" });
    expect(isHurried(held.ring)).toBe(false);
  });
});

describe("gateway failures in a row", () => {
  it("are told of, over all isolates, and eject nothing by default", () => {
    const held = court();
    expect(held.hear(report({ a: gateway(3) }))).toEqual([]);
    expect(held.hear(report({ a: gateway(2) }))).toEqual([
      {
        atMs: NOON,
        backend: "a",
        kind: "suspected",
        cause: "consecutive_gateway",
        evidence: { failures: 5, threshold: 5 },
      },
    ]);
    expect(held.passive("a")).toMatchObject({ kind: "in" });
  });

  it("eject where that is enforced", () => {
    const held = court({ consecutiveGatewayFailures: { enforce: true } });
    held.hear(report({ a: gateway(3) }));
    expect(held.hear(report({ a: gateway(2) }))).toMatchObject([
      { kind: "ejected", cause: "consecutive_gateway" },
    ]);
  });

  it("are none where a success came between", () => {
    const held = court({ consecutiveGatewayFailures: { enforce: true } });
    held.hear(report({ a: gateway(4) }));
    held.hear(report({ a: { ...gateway(2, false), answered: 1 } }));
    expect(held.hear(report({ a: gateway(2) }))).toEqual([]);
  });

  it("eject one that is spared by nothing rather than suspecting another cause", () => {
    const held = court({ breaker: { enforce: false } });
    expect(held.hear(report({ a: gateway(60) }))).toMatchObject([
      { kind: "ejected", cause: "failure_percentage" },
    ]);
  });
});

describe("a pool in which everybody fails", () => {
  it.each([1, 2, 3, 4, 5, 12])("of %i is never empty", (size) => {
    const ids = Array.from({ length: size }, (_, index) => `b${index}`);
    const held = court({ consecutiveGatewayFailures: { enforce: true } }, ids);
    for (let round = 0; round < 100; round++) {
      held.hear(report(Object.fromEntries(ids.map((id) => [id, gateway(60)]))));
      const serving = projectSnapshot(held.ring).backends.filter(({ admits }) => admits === "new").length;
      expect(serving).toBeGreaterThanOrEqual(size === 1 ? 1 : size - 1);
      held.wait(7_000);
    }
  });

  it("tells of little more than its ejections", () => {
    const held = court();
    for (let second = 0; second < 600; second++) {
      held.hear(report({ a: gateway(60), b: gateway(60) }));
      held.wait(1_000);
    }
    const told = [...held.kinds("a"), ...held.kinds("b")];
    // In ten minutes each is told of at most 20 times that it was spared, and one of them is out nearly all the time.
    expect(told.filter((kind) => kind === "spared").length).toBeLessThanOrEqual(40);
    expect(told.length).toBeLessThan(100);
  });
});

describe("a large pool in which everybody fails", () => {
  const ids = Array.from({ length: 1_000 }, (_, index) => `b${index}`);

  it("tells once in a while how many it spares, rather than of each", () => {
    const held = court({}, ids);
    const ill = report(Object.fromEntries(ids.map((id) => [id, { server_error: 60 }])));
    const told = held.hear(ill);
    expect(told.filter(({ kind }) => kind === "ejected")).toHaveLength(100);
    const spared = told.filter(({ kind }) => kind === "spared");
    expect(spared).toMatchObject([
      { backend: "b100", evidence: { failures: 60, backends: 900, among: "b100, b101, b102, b103, b104" } },
    ]);
    for (let second = 1; second < 30; second++) {
      held.wait(1_000);
      expect(held.hear(ill)).toEqual([]);
    }
  });

  it("does the same with those that it suspects", () => {
    const held = court({ failurePercentage: { enforce: false }, breaker: { enforce: false } }, ids);
    expect(held.hear(report(Object.fromEntries(ids.map((id) => [id, { server_error: 60 }]))))).toMatchObject([
      { backend: "b0", kind: "suspected", evidence: { backends: 1_000 } },
    ]);
  });
});

describe("a backend that speaks for itself", () => {
  it("is believed where the pool trusts it, until 60 s after it said so", () => {
    const held = court({ trustAnnouncements: true });
    const untilMs = after(NOON, 59_000);
    expect(held.hear(said("draining", 1_000))).toEqual([
      { atMs: NOON, backend: "a", kind: "stopping", cause: "announcement", evidence: { untilMs } },
    ]);
    expect(isStopping(held.backend("a"))).toBe(true);
    expect(held.ring.version).toBe(8);
    expect(held.wait(58_999)).toEqual([]);
    expect(held.wait(1)).toEqual([
      {
        atMs: untilMs,
        backend: "a",
        kind: "healthy",
        cause: "time",
        evidence: { announced: "draining", untilMs },
      },
    ]);
    expect(isStopping(held.backend("a"))).toBe(false);
  });

  it("may say that it is degraded, and ends it by saying that it is well", () => {
    const held = court({ trustAnnouncements: true });
    expect(held.hear(said("degraded"))).toMatchObject([{ kind: "degraded" }]);
    expect(healthOf(held.backend("a"))).toBe("degraded");
    held.wait(10_000);
    expect(held.hear(said("healthy"))).toEqual([
      { atMs: after(NOON, 10_000), backend: "a", kind: "healthy", cause: "announcement", evidence: {} },
    ]);
    expect(healthOf(held.backend("a"))).toBe("healthy");
  });

  it("does not flap when two processes behind one URL say different things", () => {
    const held = court({ trustAnnouncements: true });
    for (let second = 0; second < 60; second++) {
      held.hear(said(second % 7 === 0 ? "draining" : "healthy"));
      held.wait(1_000);
    }
    expect(held.kinds("a")).toEqual(["stopping"]);
  });

  it("is believed that it is better once it has said nothing worse for 10 s, though it says no more by then", () => {
    const held = court({ trustAnnouncements: true });
    held.hear(said("draining"));
    held.wait(5_000);
    expect(held.hear(said("degraded"))).toEqual([]);
    held.wait(4_999);
    expect(held.hear(report({ a: { answered: 1 } }))).toEqual([]);
    held.wait(1);
    expect(held.hear(report({ a: { answered: 1 } }))).toMatchObject([{ kind: "degraded" }]);
  });

  it("may change its word", () => {
    const held = court({ trustAnnouncements: true });
    held.hear(said("degraded"));
    held.wait(10);
    expect(held.hear(said("draining"))).toMatchObject([{ kind: "stopping" }]);
    expect(healthOf(held.backend("a"))).toBe("healthy");
  });

  it("is not believed where the pool does not", () => {
    const held = court();
    expect(held.hear(said("draining"))).toEqual([]);
    expect(held.backend("a").observed.announced).toBeNull();
  });

  it("is not taken by an older word, nor by one that is over", () => {
    const held = court({ trustAnnouncements: true });
    held.hear(said("draining", 1_000));
    held.evict();
    expect(held.hear(said("healthy", 2_000))).toEqual([]);
    expect(isStopping(held.backend("a"))).toBe(true);
    const other = court({ trustAnnouncements: true });
    expect(other.hear(said("draining", 60_000))).toEqual([]);
  });

  it("is written down again only when less than half of its time is left", () => {
    const held = court({ trustAnnouncements: true });
    held.hear(said("draining"));
    const { ring } = held;
    held.wait(30_000);
    held.hear(said("draining"));
    expect(held.ring).toBe(ring);
    held.wait(1);
    held.hear(said("draining"));
    expect(held.backend("a").observed.announced).toEqual({ word: "draining", untilMs: after(NOON, 90_001) });
    expect(held.ring.version).toBe(ring.version);
  });

  it("is overruled by a pin", () => {
    const held = court({ trustAnnouncements: true });
    held.hear(said("draining"));
    held.change("a", { pin: { health: "healthy", reason: "it must serve", untilMs: after(NOON, 9_000) } });
    expect(isStopping(held.backend("a"))).toBe(false);
  });
});

it("keeps how a backend is out through a restart, as text", () => {
  const held = court();
  held.hear(report({ a: { server_error: 60 } }));
  const passive: PassiveState = held.passive("a");
  held.evict();
  expect(held.passive("a")).toEqual(passive);
});
