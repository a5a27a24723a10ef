import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import { type Health, PinInputSchema } from "../../durable/model/health.ts";
import { parse } from "../../durable/model/parse.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { isHurried, nextDeadlineMs, passDeadlines } from "../../durable/state/agenda.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import { applyPoolCommand } from "../../durable/state/ring-command.ts";
import { type LiveRing, type RingState, toDocument } from "../../durable/state/ring-state.ts";
import { upgradeRing } from "../../durable/state/upgrade.ts";
import { backendId, moment, NOON, pool } from "./support/build.ts";
import { refusal } from "./support/refusal.ts";

const A = { id: backendId("a") };
const MINUTE_MS = 60_000;

function apply(state: LiveRing, command: PoolCommand, nowMs: EpochMs = NOON) {
  const birth = { incarnation: "born", secret: "0f0e0d0c0b0a09080706050403020100" };
  const precondition = { ifMatch: null, ifAbsent: false };
  const result = applyPoolCommand(state, command, {
    ...moment(nowMs),
    pool: state.pool,
    precondition,
    birth,
  });
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result.refusal)}`);
  const { state: next, applied } = result.value;
  if (next.kind === "absent") throw new Error("the pool is gone");
  return { ring: next, applied };
}

function pinned(health: Health, forMs = MINUTE_MS): PoolCommand {
  return { kind: "pin-backend", ...A, pin: { health, reason: "looked at it", forMs } };
}

/** The state after several commands, one minute after the other. */
function history(ring: LiveRing, ...commands: readonly PoolCommand[]): LiveRing {
  return commands.reduce(
    (state, command, index) => apply(state, command, after(NOON, MINUTE_MS * (index + 1))).ring,
    ring,
  );
}

function pinOf(ring: RingState) {
  return ring.kind === "live" ? ring.backends.find(({ id }) => id === "a")?.pin : undefined;
}

function admitsOf(ring: LiveRing): Readonly<Record<string, string>> {
  return Object.fromEntries(projectSnapshot(ring).backends.map(({ id, admits }) => [id, admits]));
}

const THREE = pool({ a: 1, b: 1, c: 1 });

describe("a pin", () => {
  it("takes the place of a backend's health until its time is over, and is among the changes", () => {
    const { ring, applied } = apply(THREE, pinned("unhealthy"));
    const pin = { health: "unhealthy", reason: "looked at it", untilMs: after(NOON, MINUTE_MS) };
    expect(applied).toEqual({
      version: 8,
      created: false,
      changes: [{ path: "pins.a", before: null, after: pin }],
    });
    expect(admitsOf(ring)).toEqual({ a: "none", b: "new", c: "new" });
    expect(nextDeadlineMs(ring, () => NOON)).toBe(pin.untilMs);
    expect(isHurried(ring)).toBe(false);
    expect(passDeadlines(ring, moment(after(NOON, MINUTE_MS - 1)))).toBe(ring);
    const passed = passDeadlines(ring, moment(after(NOON, MINUTE_MS)));
    expect(passed).toMatchObject({ version: 9 });
    expect(pinOf(passed)).toBeNull();
    expect(nextDeadlineMs(passed, () => NOON)).toBeNull();
  });

  it("is replaced by another, and taken back", () => {
    const once = apply(THREE, pinned("unhealthy")).ring;
    const { ring, applied } = apply(once, pinned("degraded", 2 * MINUTE_MS));
    expect(applied.changes.map(({ path }) => path)).toEqual(["pins.a.health", "pins.a.untilMs"]);
    expect(admitsOf(ring)).toEqual({ a: "new", b: "new", c: "new" });
    const undone = apply(ring, { kind: "unpin-backend", ...A });
    expect(undone.applied.changes).toMatchObject([{ path: "pins.a", after: null }]);
    expect(pinOf(undone.ring)).toBeNull();
    expect(apply(undone.ring, { kind: "unpin-backend", ...A }).ring).toBe(undone.ring);
  });

  it.each<[string, PoolCommand]>([
    ["the pool is put as it was got", { kind: "put-pool", document: toDocument(THREE) }],
    [
      "the backend is put",
      {
        kind: "put-backend",
        ...A,
        backend: { url: "https://moved.example", weight: 3, via: null, labels: {}, priority: 1 },
      },
    ],
    ["the backend is patched", { kind: "patch-backend", ...A, patch: { weight: 0 } }],
    ["the backend is drained", { kind: "drain-backend", ...A, forMs: 60_000 }],
  ])("stays when %s", (_, command) => {
    const ring = apply(THREE, pinned("unhealthy", 10 * MINUTE_MS)).ring;
    expect(pinOf(history(ring, command))).toEqual(pinOf(ring));
  });

  it("goes with its backend, and does not come back with it", () => {
    const ring = apply(THREE, pinned("unhealthy", 10 * MINUTE_MS)).ring;
    const without = apply(ring, { kind: "remove-backend", ...A });
    expect(without.applied.changes.map(({ path }) => path)).toContain("pins.a");
    const backend = { url: "https://a.example", weight: 1, via: null, labels: {}, priority: 0 };
    expect(pinOf(apply(without.ring, { kind: "put-backend", ...A, backend }).ring)).toBeNull();
  });

  it.each([
    ["health", { health: "ill", reason: "x" }, "ill", 'must be one of "healthy", "degraded", "unhealthy"'],
    ["health", { reason: "x" }, "(missing)", "is required"],
    ["reason", { health: "healthy" }, "(missing)", "is required"],
    ["reason", { health: "healthy", reason: "  " }, "", "must be a string of 1…200 characters"],
    ["forMs", { health: "healthy", reason: "x", forMs: 999 }, 999, "must be an integer 1000…2592000000"],
    [
      "forMs",
      { health: "healthy", reason: "x", forMs: 2_592_000_001 },
      2_592_000_001,
      "must be an integer 1000…2592000000",
    ],
    ["for", { health: "healthy", reason: "x", for: 1 }, 1, "is not known here; known: health, reason, forMs"],
  ])("is refused with a wrong %s: %j", (field, input, value, range) => {
    expect(parse(PinInputSchema, input)).toEqual(refusal([field, value, range]));
  });

  it("lasts an hour when it does not say, and has its reason trimmed", () => {
    expect(parse(PinInputSchema, { health: "healthy", reason: " since noon " })).toEqual({
      ok: true,
      value: { health: "healthy", reason: "since noon", forMs: 3_600_000 },
    });
  });
});

function servingSince(ring: RingState, id = "a"): number | undefined {
  return ring.kind === "live"
    ? ring.backends.find((backend) => backend.id === id)?.servingSinceMs
    : undefined;
}

/** The two minutes after noon at which the two commands of a history are carried out. */
const SECOND = after(NOON, 2 * MINUTE_MS);

describe("the time since when a backend serves", () => {
  it.each<[string, PoolCommand, PoolCommand]>([
    [
      "a drain is taken back",
      { kind: "drain-backend", ...A, forMs: 600_000 },
      { kind: "undrain-backend", ...A },
    ],
    ["it is enabled again", { kind: "disable-backend", ...A }, { kind: "enable-backend", ...A }],
    [
      "it gets a weight again",
      { kind: "patch-backend", ...A, patch: { weight: 0 } },
      { kind: "patch-backend", ...A, patch: { weight: 2 } },
    ],
    ["it is pinned no more", pinned("unhealthy", 600_000), { kind: "unpin-backend", ...A }],
    ["it is pinned healthy", pinned("unhealthy", 600_000), pinned("healthy")],
    ["it is pinned degraded", pinned("unhealthy", 600_000), pinned("degraded")],
  ])("begins anew when %s", (_, first, second) => {
    const ring = history(THREE, first, second);
    expect(servingSince(ring)).toBe(SECOND);
    expect(servingSince(ring, "b")).toBe(0);
  });

  it("begins anew when a pin runs out", () => {
    const ring = apply(THREE, pinned("unhealthy")).ring;
    expect(servingSince(ring)).toBe(0);
    expect(servingSince(passDeadlines(ring, moment(SECOND)))).toBe(SECOND);
    const degraded = apply(THREE, pinned("degraded")).ring;
    expect(servingSince(passDeadlines(degraded, moment(SECOND)))).toBe(0);
  });

  it.each<[string, PoolCommand]>([
    ["its weight changes", { kind: "patch-backend", ...A, patch: { weight: 9 } }],
    ["its address changes", { kind: "patch-backend", ...A, patch: { url: "https://moved.example" } }],
    ["its tier changes", { kind: "patch-backend", ...A, patch: { priority: 1 } }],
    ["it is enabled though it was active", { kind: "enable-backend", ...A }],
    ["the pool changes", { kind: "patch-pool", patch: { drainMs: 1 } }],
    ["the pool is put as it was got", { kind: "put-pool", document: toDocument(THREE) }],
    ["it is pinned degraded", pinned("degraded")],
  ])("goes on when %s", (_, command) => {
    expect(servingSince(history(THREE, command))).toBe(0);
  });

  it("begins with the backend, and not before it has a weight", () => {
    const backend = { url: "https://d.example", weight: 0, via: null, labels: {}, priority: 0 };
    const id = backendId("d");
    const added: PoolCommand = { kind: "put-backend", id, backend };
    expect(servingSince(history(THREE, { ...added, backend: { ...backend, weight: 1 } }), "d")).toBe(
      after(NOON, MINUTE_MS),
    );
    const opened: PoolCommand = { kind: "patch-backend", id, patch: { weight: 1 } };
    expect(servingSince(history(THREE, added, opened), "d")).toBe(SECOND);
  });
});

describe("a snapshot", () => {
  const PIN = { untilMs: SECOND, reason: "looked at it" };
  const ILL = { pin: { ...PIN, health: "unhealthy" } } as const;
  const SLOW = { pin: { ...PIN, health: "degraded" } } as const;

  it("says of each backend which tier it is in, and whether it is its health that keeps it out", () => {
    const ring = pool({
      well: 1,
      other: 1,
      ill: ILL,
      slow: SLOW,
      spare: { priority: 3 },
      off: { ...ILL, admin: { kind: "disabled" } },
      closing: { ...ILL, admin: { kind: "draining", untilMs: SECOND } },
      emptied: { ...ILL, weight: 0 },
    });
    const { tiers, backends } = projectSnapshot(ring);
    expect(tiers).toEqual([
      { priority: 0, isDegraded: false, sharePercent: 70, isPanicking: false },
      { priority: 0, isDegraded: true, sharePercent: 0, isPanicking: false },
      { priority: 3, isDegraded: false, sharePercent: 30, isPanicking: false },
    ]);
    expect(backends.map(({ id, admits, tier, isEjected }) => [id, admits, tier, isEjected])).toEqual([
      ["well", "new", 0, false],
      ["other", "new", 0, false],
      ["ill", "none", 0, true],
      ["slow", "new", 1, false],
      ["spare", "new", 2, false],
      ["off", "none", 0, false],
      ["closing", "none", 0, true],
      ["emptied", "none", 0, true],
    ]);
  });

  it("opens those of a tier that panics, and no others", () => {
    const ring = pool({
      well: 1,
      ill: ILL,
      worse: ILL,
      slow: SLOW,
      closing: { ...ILL, admin: { kind: "draining", untilMs: SECOND } },
      emptied: { ...ILL, weight: 0 },
    });
    const rules = { ...ring.config.tiers, panicThresholdPercent: 51 };
    const { tiers, backends } = projectSnapshot({ ...ring, config: { ...ring.config, tiers: rules } });
    expect(tiers).toEqual([{ priority: 0, isDegraded: false, sharePercent: 100, isPanicking: true }]);
    expect(backends.map(({ admits, tier }) => `${admits} ${tier}`)).toEqual([
      "new 0",
      "new 0",
      "new 0",
      "new 0",
      "none 0",
      "none 0",
    ]);
  });
});

it("brings a pool to shape that was stored without tiers, health and limits, in a version of its own", () => {
  const ring = pool({ a: 5, b: { addedMs: NOON } });
  const { backends, ...head } = ring;
  const {
    slowStart: _,
    tiers: __,
    maxInFlight: ___,
    shed: ____,
    keylessPolicy: _____,
    ...config
  } = ring.config;
  const rows = backends.map(({ priority: _a, servingSinceMs: _b, pin: _c, ...row }) => row);
  // What was stored by an older version holds less than the type of the present one says.
  const stored = { ...head, config } as typeof head;
  const upgraded = upgradeRing(stored, rows, moment(SECOND));
  expect(upgraded).toEqual({
    ...ring,
    version: ring.version + 1,
    backends: ring.backends.map((backend) => ({ ...backend, servingSinceMs: backend.addedMs })),
  });
  expect(upgradeRing(head, backends, moment(SECOND))).toEqual(ring);
});

it("keeps every pin until it is over, taken back, or its backend is gone, in any history", () => {
  const health = fc.constantFrom<Health>("healthy", "degraded", "unhealthy");
  const step = fc.oneof(
    health.map((kind) => pinned(kind, 5_000)),
    fc.constantFrom<PoolCommand>(
      { kind: "unpin-backend", ...A },
      { kind: "patch-backend", ...A, patch: { weight: 3 } },
      { kind: "put-pool", document: toDocument(THREE) },
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.nat({ max: 4_000 }))), (steps) => {
      let ring: LiveRing = THREE;
      let nowMs = NOON;
      let untilMs: EpochMs | null = null;
      for (const [command, passedMs] of steps) {
        nowMs = after(nowMs, passedMs);
        const passed = passDeadlines(ring, moment(nowMs));
        ring = passed.kind === "live" ? passed : ring;
        if (untilMs !== null && untilMs <= nowMs) untilMs = null;
        expect(pinOf(ring)?.untilMs ?? null).toBe(untilMs);
        ring = apply(ring, command, nowMs).ring;
        if (command.kind === "pin-backend") untilMs = after(nowMs, 5_000);
        if (command.kind === "unpin-backend") untilMs = null;
      }
    }),
  );
});
