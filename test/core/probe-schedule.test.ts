import * as fc from "fast-check";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import type { BegunProbe } from "../../durable/model/health.ts";
import { PoolConfigSchema } from "../../durable/model/pool.ts";
import { after, type EpochMs, epochMs } from "../../durable/model/time.ts";
import { unobserved } from "../../durable/state/health.ts";
import { PROBES_AT_ONCE, ProbeSchedule } from "../../durable/state/probe-schedule.ts";
import { type LiveRing, NO_RING } from "../../durable/state/ring-state.ts";
import { NOON, pool } from "./support/build.ts";

type Told = NonNullable<Parameters<typeof pool>[0]>[string];

/** A pool whose probe is at the defaults but for what is said. */
function probed(backends: Readonly<Record<string, Told>>, probe: object = {}): LiveRing {
  return pool(backends, v.parse(PoolConfigSchema, { health: { probe: { kind: "http", ...probe } } }));
}

const UNKNOWN = unobserved(v.parse(PoolConfigSchema, {}).health, NOON);

/** A backend whose probes have said something, and perhaps begin to say something else. */
function known(streak = 0): Exclude<Told, number> {
  return { observed: { ...UNKNOWN, probe: { ...UNKNOWN.probe, verdict: "healthy", streak } } };
}

/** So many backends whose probes have said that they are well. */
function many(count: number): Readonly<Record<string, Told>> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`b-${index}`, known()]));
}

/** Probes as they began, and how many of them ran at once. */
interface Course {
  readonly begun: ReadonlyMap<string, readonly EpochMs[]>;
  readonly mostAtOnce: number;
  readonly schedule: ProbeSchedule;
}

interface World {
  readonly ring: LiveRing;
  readonly tookMs: (id: string) => number;
  /** Whether the object is thrown out of memory whenever it has nothing to do. */
  readonly isEvicted: boolean;
  readonly forMs: number;
}

/** Lets alarms come as they are set, until the time is over. */
function run({ ring, tookMs, isEvicted, forMs }: World): Course {
  const begun = new Map<string, EpochMs[]>(ring.backends.map(({ id }) => [id, []]));
  const inFlight: { readonly task: BegunProbe; readonly endsMs: EpochMs }[] = [];
  let mostAtOnce = 0;
  let nowMs = NOON;
  let schedule = new ProbeSchedule(nowMs);
  schedule.follow(ring, nowMs);
  while (nowMs < NOON + forMs) {
    for (let task = schedule.begin(nowMs); task !== null; task = schedule.begin(nowMs)) {
      begun.get(task.id)?.push(nowMs);
      inFlight.push({ task, endsMs: after(nowMs, tookMs(task.id)) });
      mostAtOnce = Math.max(mostAtOnce, inFlight.length);
    }
    inFlight.sort((one, other) => one.endsMs - other.endsMs);
    const [first] = inFlight;
    const nextMs = schedule.nextBeginMs() ?? epochMs(Number.POSITIVE_INFINITY);
    if (first === undefined) {
      const alarmMs = schedule.nextDueMs();
      if (alarmMs === null) break;
      nowMs = epochMs(Math.max(nowMs, alarmMs));
      if (isEvicted) {
        schedule = new ProbeSchedule(alarmMs);
        schedule.follow(ring, nowMs);
      }
    } else if (first.endsMs <= nextMs) {
      nowMs = first.endsMs;
      inFlight.shift();
      schedule.end(first.task, tookMs(first.task.id), nowMs);
    } else nowMs = nextMs;
  }
  return { begun, mostAtOnce, schedule };
}

function gaps(begun: readonly EpochMs[]): readonly number[] {
  return begun.slice(1).map((atMs, index) => atMs - (begun[index] ?? atMs));
}

const MINUTE = 60_000;

describe("every backend", () => {
  const WORLD = fc.record({
    count: fc.integer({ min: 1, max: 60 }),
    intervalMs: fc.integer({ min: 1_000, max: 20_000 }),
    jitterPercent: fc.integer({ min: 0, max: 100 }),
    isEvicted: fc.boolean(),
  });

  it("is probed once in its interval, in time but for jitter, also by an object evicted after every alarm", () => {
    fc.assert(
      fc.property(WORLD, ({ count, intervalMs, jitterPercent, isEvicted }) => {
        const ring = probed(many(count), { intervalMs, jitterPercent });
        const { begun } = run({ ring, tookMs: () => 20, isEvicted, forMs: 10 * intervalMs });
        // All of them could be due at the same time, five at once.
        const queueMs = 20 * Math.ceil(count / PROBES_AT_ONCE);
        const latestMs = intervalMs * (1 + jitterPercent / 100) + queueMs;
        for (const times of begun.values()) {
          expect(times.length).toBeGreaterThanOrEqual(5);
          expect((times[0] ?? 0) - NOON).toBeLessThanOrEqual(latestMs);
          // One time in a row is left out where jitter brings two near to each other.
          expect(Math.max(...gaps(times))).toBeLessThanOrEqual(latestMs + intervalMs / 2);
          expect(Math.min(...gaps(times))).toBeGreaterThanOrEqual(isEvicted ? 1 : intervalMs / 2);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("has its turn where there are too many or they are too slow, and never do more run than may", () => {
    const took = fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(
        took,
        fc.integer({ min: 1_000, max: 5_000 }),
        fc.boolean(),
        (times, intervalMs, isEvicted) => {
          const ring = probed(many(times.length), { intervalMs });
          const tookMs = (id: string): number => times[Number(id.slice(2))] ?? 1;
          const { begun, mostAtOnce } = run({ ring, tookMs, isEvicted, forMs: 2 * MINUTE });
          expect(mostAtOnce).toBeLessThanOrEqual(PROBES_AT_ONCE);
          const allMs = times.reduce((sum, each) => sum + each, 0) / PROBES_AT_ONCE;
          const longestMs = 2 * Math.max(intervalMs, allMs) + 3_000;
          for (const each of begun.values()) {
            expect(Math.max((each[0] ?? 0) - NOON, ...gaps(each))).toBeLessThanOrEqual(longestMs);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

it("spreads the probes of a pool over the interval, those of neighbours too", () => {
  const ring = probed(many(1_000), { jitterPercent: 0 });
  const { begun } = run({ ring, tookMs: () => 1, isEvicted: false, forMs: 9_999 });
  const tenths = Array.from({ length: 10 }, () => 0);
  for (const [atMs] of begun.values()) {
    const tenth = Math.floor(((atMs ?? 0) - NOON) / 1_000);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  for (const count of tenths) expect(count).toBeGreaterThan(70);
  for (const count of tenths) expect(count).toBeLessThan(130);
});

it("jitters by no more than is configured, and not always by the same", () => {
  const ring = probed({ a: known() }, { jitterPercent: 20 });
  const { begun } = run({ ring, tookMs: () => 1, isEvicted: false, forMs: 100 * MINUTE });
  const times = gaps(begun.get("a") ?? []);
  expect(times.length).toBeGreaterThan(590);
  for (const gap of times) expect(Math.abs(gap - 10_000)).toBeLessThanOrEqual(2_000);
  expect(new Set(times).size).toBeGreaterThan(100);
});

describe("at once", () => {
  it("what comes to a pool in memory is probed", () => {
    const schedule = new ProbeSchedule(NOON);
    schedule.follow(NO_RING, NOON);
    const later = after(NOON, 1_234);
    schedule.follow(probed({ a: 1, b: 1 }), later);
    expect(schedule.nextDueMs()).toBe(later);
    expect([schedule.begin(later)?.id, schedule.begin(later)?.id]).toEqual(["a", "b"]);
    expect(schedule.begin(later)).toBeNull();
  });

  it("nothing is that an object was just loaded with, but what was due since its alarm was to come", () => {
    const ring = probed(many(100));
    const dueBy = (resumesMs: EpochMs, nowMs: EpochMs): number => {
      const schedule = new ProbeSchedule(resumesMs);
      schedule.follow(ring, nowMs);
      let due = 0;
      for (let task = schedule.begin(nowMs); task !== null; task = schedule.begin(nowMs)) {
        due += 1;
        schedule.end(task, 1, nowMs);
      }
      return due;
    };
    expect(dueBy(NOON, NOON)).toBe(0);
    expect(dueBy(NOON, after(NOON, 1_000))).toBeGreaterThan(3);
    expect(dueBy(NOON, after(NOON, 1_000))).toBeLessThan(25);
    // Out of service for a day: each is due once, and those whose jitter is great a little later.
    expect(dueBy(NOON, after(NOON, 24 * 60 * MINUTE))).toBeGreaterThan(90);
    expect(dueBy(NOON, after(NOON, 24 * 60 * MINUTE))).toBeLessThanOrEqual(100);
  });

  it("everything is that was due while an alarm was late, and it is due once", () => {
    const ring = probed(many(20));
    const nowMs = after(NOON, 4_000);
    const schedule = new ProbeSchedule(nowMs);
    schedule.follow(ring, nowMs);
    expect(schedule.begin(nowMs)).toBeNull();
    schedule.catchUp(NOON, nowMs);
    const first = schedule.begin(nowMs);
    expect(first).not.toBeNull();
    schedule.catchUp(NOON, nowMs);
    const others = Array.from({ length: 4 }, () => schedule.begin(nowMs)?.id);
    expect(others).not.toContain(first?.id);
  });
});

describe("a backend whose verdict is about to turn", () => {
  it.each([
    ["by a streak", known(1)],
    ["as nothing is known of it", 1],
    ["as it waits", { observed: { ...UNKNOWN, probe: { ...UNKNOWN.probe, verdict: "waiting" } } }],
  ] as const)("is probed more often: %s", (_, told) => {
    const { begun } = run({
      ring: probed({ a: told }),
      tookMs: () => 1,
      isEvicted: false,
      forMs: MINUTE,
    });
    expect(begun.get("a")?.length).toBeGreaterThan(25);
  });

  it("is not probed less often than otherwise", () => {
    const ring = probed({ a: 1 }, { intervalMs: 1_000, changingIntervalMs: 30_000 });
    const { begun } = run({ ring, tookMs: () => 1, isEvicted: false, forMs: MINUTE });
    expect(begun.get("a")?.length).toBeGreaterThan(55);
  });

  it("is so from the result on that began it", () => {
    const schedule = new ProbeSchedule(NOON);
    schedule.follow(NO_RING, NOON);
    schedule.follow(probed({ a: known() }), NOON);
    const task = schedule.begin(NOON);
    expect(schedule.nextDueMs()).toBeGreaterThanOrEqual(NOON + 5_000);
    if (task !== null) schedule.end(task, 1, after(NOON, 1));
    schedule.follow(probed({ a: known(1) }), after(NOON, 1));
    expect(schedule.nextDueMs()).toBeLessThanOrEqual(NOON + 3_200);
  });
});

it("follows another interval at once, whether or not a probe has begun", () => {
  const schedule = new ProbeSchedule(NOON);
  const seldom = { intervalMs: 3_600_000 };
  schedule.follow(NO_RING, NOON);
  schedule.follow(probed({ a: known() }, seldom), NOON);
  const task = schedule.begin(NOON);
  if (task !== null) schedule.end(task, 1, NOON);
  schedule.follow(probed({ a: known() }, { intervalMs: 1_000 }), NOON);
  expect(schedule.nextDueMs()).toBeLessThanOrEqual(NOON + 1_600);
  const loaded = new ProbeSchedule(NOON);
  loaded.follow(probed({ a: known() }, seldom), NOON);
  expect(loaded.nextDueMs()).toBeGreaterThan(NOON + 1_100);
  loaded.follow(probed({ a: known() }, { intervalMs: 1_000 }), NOON);
  expect(loaded.nextDueMs()).toBeLessThanOrEqual(NOON + 1_100);
});

describe("who is probed", () => {
  it("is whoever is not disabled: drained and weightless ones too", () => {
    const ring = probed({
      a: 0,
      b: { admin: { kind: "draining", untilMs: NOON }, isDrained: true },
      c: { admin: { kind: "disabled" } },
    });
    const { begun } = run({ ring, tookMs: () => 1, isEvicted: false, forMs: MINUTE });
    expect([...begun].flatMap(([id, times]) => (times.length > 0 ? [id] : []))).toEqual(["a", "b"]);
  });

  it("is nobody through a binding where the probe is of TCP", () => {
    const tcp = v.parse(PoolConfigSchema, { health: { probe: { kind: "tcp" } } });
    const schedule = new ProbeSchedule(NOON);
    schedule.follow(pool({ a: { via: "VPC" } }, tcp), NOON);
    expect(schedule.nextDueMs()).toBeNull();
  });

  it("is nobody from when the probe is removed, or the pool", () => {
    const schedule = new ProbeSchedule(NOON);
    schedule.follow(probed({ a: 1 }), NOON);
    expect(schedule.nextDueMs()).not.toBeNull();
    schedule.follow(pool({ a: 1 }), NOON);
    expect([schedule.nextDueMs(), schedule.nextBeginMs(), schedule.view()]).toEqual([null, null, null]);
  });

  it("counts a probe of a backend that is gone until it ends", () => {
    const schedule = new ProbeSchedule(NOON);
    schedule.follow(NO_RING, NOON);
    schedule.follow(probed(many(5)), NOON);
    const tasks = Array.from({ length: 5 }, () => schedule.begin(NOON));
    schedule.follow(probed({ x: 1, y: 1 }), NOON);
    expect(schedule.begin(NOON)).toBeNull();
    const [gone] = tasks;
    if (gone !== undefined && gone !== null) schedule.end(gone, 1, NOON);
    expect(schedule.begin(NOON)?.id).toBe("x");
    expect(schedule.begin(NOON)).toBeNull();
  });
});

function heldOf(count: number, tookMs: number): unknown {
  const world = { ring: probed(many(count)), tookMs: () => tookMs, isEvicted: false, forMs: 2 * MINUTE };
  return run(world).schedule.view();
}

describe("the interval that is held", () => {
  it("is the one configured where five at once are enough", () => {
    expect(heldOf(300, 100)).toEqual({ intervalMs: 10_000, heldIntervalMs: 10_000 });
  });

  it("is what five at once take for all, where they are not", () => {
    expect(heldOf(300, 500)).toEqual({ intervalMs: 10_000, heldIntervalMs: 30_000 });
  });

  it("is never less than the longest probe of one backend takes", () => {
    const schedule = new ProbeSchedule(NOON);
    schedule.follow(NO_RING, NOON);
    schedule.follow(probed(many(3)), NOON);
    const [slow, ...others] = Array.from({ length: 3 }, () => schedule.begin(NOON)).filter(
      (task) => task !== null,
    );
    if (slow !== undefined) schedule.end(slow, 40_000, NOON);
    for (const task of others) schedule.end(task, 100, NOON);
    expect(schedule.view()).toEqual({ intervalMs: 10_000, heldIntervalMs: 40_000 });
  });
});
