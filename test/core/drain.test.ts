import * as fc from "fast-check";
import { expect, it } from "vitest";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { isHurried, nextDeadlineMs, passDeadlines } from "../../durable/state/agenda.ts";
import { projectAdmits } from "../../durable/state/project.ts";
import { applyPoolCommand } from "../../durable/state/ring-command.ts";
import { NO_RING, type RingState } from "../../durable/state/ring-state.ts";
import { backendId, moment, NOON, pool } from "./support/build.ts";

/** A backend whose drain ends so long after noon. */
function draining(forMs: number, weight = 1) {
  return { weight, admin: { kind: "draining", untilMs: after(NOON, forMs) } } as const;
}

/** Looks at the deadlines while nobody holds a lease. */
function pass(state: RingState, nowMs: EpochMs): RingState {
  return passDeadlines(state, moment(nowMs));
}

function deadlineMs(state: RingState): EpochMs | null {
  return nextDeadlineMs(state, () => NOON);
}

function admitsOf(state: RingState): Readonly<Record<string, string>> {
  const backends = state.kind === "live" ? state.backends : [];
  return Object.fromEntries(backends.map((backend) => [backend.id, projectAdmits(backend, false)]));
}

it("wakes for the earliest deadline among open drains", () => {
  expect(deadlineMs(pool({ a: 5, b: draining(9_000), c: draining(3_000) }))).toBe(after(NOON, 3_000));
  expect(deadlineMs(pool({ a: 5, b: { ...draining(1_000), isDrained: true } }))).toBeNull();
  expect(deadlineMs(NO_RING)).toBeNull();
});

it("runs while a drain is open, and not after", () => {
  expect(isHurried(pool({ a: draining(1_000) }))).toBe(true);
  expect(isHurried(pool({ a: { ...draining(1_000), isDrained: true } }))).toBe(false);
});

it("keeps sessions on a draining backend until its deadline, then none", () => {
  const ring = pool({ a: 5, b: draining(3_000) });
  expect(admitsOf(pass(ring, after(NOON, 2_999)))).toEqual({ a: "new", b: "sticky" });
  expect(admitsOf(pass(ring, after(NOON, 3_000)))).toEqual({ a: "new", b: "none" });
});

it("does nothing when the alarm comes early or twice, or to no pool", () => {
  const ring = pool({ a: 5, b: draining(3_000) });
  expect(pass(ring, after(NOON, 2_999))).toBe(ring);
  const passed = pass(ring, after(NOON, 3_000));
  expect(pass(passed, after(NOON, 3_000))).toBe(passed);
  expect(pass(NO_RING, NOON)).toBe(NO_RING);
});

it("closes all drains that are over in one version", () => {
  const ring = pool({ a: draining(1_000), b: draining(2_000), c: draining(9_000) });
  const passed = pass(ring, after(NOON, 5_000));
  expect(passed.version).toBe(ring.version + 1);
  expect(admitsOf(passed)).toEqual({ a: "none", b: "none", c: "sticky" });
});

it("drains at once for zero milliseconds", () => {
  const state = drain(pool({ a: 5 }), 0);
  expect(admitsOf(state)).toEqual({ a: "none" });
  expect(deadlineMs(state)).toBeNull();
});

it("opens a drain again that is given more time", () => {
  const state = drain(pool({ a: { ...draining(-1_000), isDrained: true } }), 5_000);
  expect(admitsOf(state)).toEqual({ a: "sticky" });
  expect(deadlineMs(state)).toBe(after(NOON, 5_000));
});

function drain(ring: RingState, forMs: number): RingState {
  const command = { kind: "drain-backend", id: backendId("a"), forMs, force: true } as const;
  const result = applyPoolCommand(ring, command, CONTEXT);
  return result.ok ? result.value.state : ring;
}

const CONTEXT = {
  ...moment(NOON),
  pool: pool().pool,
  precondition: { ifMatch: null, ifAbsent: false },
  birth: { incarnation: "born", secret: "" },
};

it("passes every deadline exactly once, at the first look after it, whatever is re-weighed meanwhile", () => {
  const deadlines = fc.array(fc.integer({ min: -500, max: 5_000 }), { minLength: 1, maxLength: 4 });
  const looks = fc.array(fc.record({ passedMs: fc.nat({ max: 2_000 }), weight: fc.constantFrom(0, 1, 7) }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(deadlines, looks, (forMs, steps) => {
      let state: RingState = pool(Object.fromEntries(forMs.map((ms, index) => [`b${index}`, draining(ms)])));
      let atMs = 0;
      let lookedMs = Number.NEGATIVE_INFINITY;
      for (const { passedMs, weight } of steps) {
        atMs += passedMs;
        const nowMs = after(NOON, atMs);
        const passed = pass(state, nowMs);
        const isDue = forMs.some((ms) => ms > lookedMs && ms <= atMs);
        expect(passed.version - state.version).toBe(isDue ? 1 : 0);
        expect(Object.values(admitsOf(passed))).toEqual(forMs.map((ms) => (ms <= atMs ? "none" : "sticky")));
        lookedMs = atMs;
        const patch = { kind: "patch-backend", id: backendId("b0"), patch: { weight } } as const;
        const patched = applyPoolCommand(passed, patch, { ...CONTEXT, nowMs });
        state = patched.ok ? patched.value.state : passed;
        expect(admitsOf(state)).toEqual(admitsOf(passed));
      }
    }),
  );
});
