import { describe, expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import type { PoolConfig } from "../../durable/model/pool.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { isHurried, nextDeadlineMs, passDeadlines } from "../../durable/state/agenda.ts";
import { leaseEndMs } from "../../durable/state/lease-ledger.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import { projectTokensView } from "../../durable/state/project-tokens.ts";
import { applyPoolCommand } from "../../durable/state/ring-command.ts";
import type { LiveRing, RingState } from "../../durable/state/ring-state.ts";
import type { Moment } from "../../durable/state/token-configs.ts";
import { moment, NOON, pool, poolName } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Longest lease in these tests, and how long whatever was published then may be read after it was replaced. */
const LEASE_MS = 32_000;
const READABLE_MS = leaseEndMs(NOON, LEASE_MS + HOUR_MS) - NOON + DAY_MS;

/** A moment so long after noon, at which every version governs unless said otherwise. */
function at(afterMs: number, changed: Partial<Moment> = {}): Moment {
  return moment(after(NOON, afterMs), { longestLeaseMs: LEASE_MS, ...changed });
}

/** One at which nothing newer than the pool's first version governs, before so long after noon. */
function held(afterMs: number, untilMs: number): Moment {
  return at(afterMs, { governsAtMs: () => after(NOON, untilMs) });
}

function apply(ring: RingState, command: PoolCommand, when: Moment) {
  return applyPoolCommand(frozen(ring), command, {
    ...when,
    pool: poolName("shop"),
    precondition: { ifMatch: null, ifAbsent: false },
    birth: { incarnation: "born", secret: "5e".repeat(16) },
  });
}

/** The pool after a command that must not be refused. */
function done(ring: RingState, command: PoolCommand, when: Moment): LiveRing {
  const result = apply(ring, command, when);
  if (!result.ok) throw new Error(JSON.stringify(result.refusal));
  return live(result.value.state);
}

function rotate(ring: RingState, when: Moment): LiveRing {
  return done(ring, { kind: "rotate-keys" }, when);
}

function pass(ring: RingState, when: Moment): LiveRing {
  return live(passDeadlines(frozen(ring), when));
}

function live(ring: RingState): LiveRing {
  if (ring.kind === "absent") throw new Error("the pool is gone");
  return ring;
}

/** Each configuration and its phase, in short: `["0 retired", "1 writing"]`. */
function phases(ring: LiveRing): readonly string[] {
  return ring.tokens.configs.map(({ id, phase }) => `${id} ${phase.kind}`);
}

/** A pool whose tokens are set like this. */
function poolWith(tokens: Partial<PoolConfig["tokens"]>): LiveRing {
  const { config } = pool();
  return pool({ a: 1 }, { tokens: { ...config.tokens, ...tokens } });
}

function deadlineMs(ring: RingState, { governsAtMs }: Moment): EpochMs | null {
  return nextDeadlineMs(ring, governsAtMs);
}

describe("a rotation", () => {
  it("spreads a new configuration while the old one is written, then changes places, then drops the old one", () => {
    const spreading = rotate(pool({ a: 1 }), at(0));
    expect(phases(spreading)).toEqual(["0 writing", "1 spreading"]);
    expect(projectSnapshot(spreading).tokens).toMatchObject({ writeId: 0, configs: [{ id: 0 }, { id: 1 }] });
    const promoted = pass(spreading, at(5_000));
    expect(phases(promoted)).toEqual(["0 retired", "1 writing"]);
    expect(projectSnapshot(promoted).tokens).toMatchObject({ writeId: 1, configs: [{ id: 0 }, { id: 1 }] });
    expect(pass(promoted, at(5_000 + READABLE_MS - 1))).toBe(promoted);
    const dropped = pass(promoted, at(5_000 + READABLE_MS));
    expect(phases(dropped)).toEqual(["1 writing"]);
    expect([spreading, promoted, dropped].map(({ version }) => version)).toEqual([8, 9, 10]);
  });

  it("waits for the version that spreads it to govern, and wakes then", () => {
    const spreading = rotate(pool({ a: 1 }), at(0));
    const asked: number[] = [];
    const waiting = at(1_000, {
      governsAtMs: (version) => {
        asked.push(version);
        return after(NOON, 33_000);
      },
    });
    expect(pass(spreading, waiting)).toBe(spreading);
    expect(deadlineMs(spreading, waiting)).toBe(after(NOON, 33_000));
    expect(new Set(asked)).toEqual(new Set([spreading.version]));
    expect(phases(pass(spreading, held(33_000, 33_000)))).toEqual(["0 retired", "1 writing"]);
  });

  it("makes isolates ask more often until it is spread", () => {
    const spreading = rotate(pool({ a: 1 }), at(0));
    expect([pool({ a: 1 }), spreading, pass(spreading, at(1))].map(isHurried)).toEqual([false, true, false]);
  });

  it("takes the keys it is given, and leaves those there are", () => {
    const ring = pool({ a: 1 });
    const keys = { key: "77".repeat(16), macKey: "88".repeat(16) };
    const { configs } = rotate(ring, at(0, { keys })).tokens;
    expect(configs).toMatchObject([{ ...ring.tokens.configs[0] }, keys]);
  });

  it("tells the operator which configuration is spread, and no key", () => {
    const result = apply(pool({ a: 1 }), { kind: "rotate-keys" }, at(0));
    expect(result).toMatchObject({
      value: {
        applied: {
          version: 8,
          created: false,
          changes: [{ path: "tokens.spreading", before: null, after: 1 }],
        },
      },
    });
  });

  it("is refused while another is being spread, and says until when", () => {
    const result = apply(rotate(pool(), at(0)), { kind: "rotate-keys" }, held(1_000, 33_000));
    expect(result).toEqual({
      ok: false,
      refusal: {
        kind: "conflict",
        detail: "keys cannot be rotated now: token configuration 1 is being spread until 1800000033000",
      },
    });
  });

  it("is refused while six configurations are live, and says until when", () => {
    const six = [0, 1, 2, 3, 4].reduce((ring, turn) => pass(rotate(ring, at(turn)), at(turn)), pool());
    expect(phases(six)).toHaveLength(6);
    expect(apply(six, { kind: "rotate-keys" }, at(10))).toMatchObject({
      refusal: {
        kind: "conflict",
        detail: expect.stringContaining(String(NOON + READABLE_MS)),
      },
    });
    const five = pass(six, at(READABLE_MS));
    expect(phases(rotate(five, at(READABLE_MS)))).toHaveLength(6);
  });

  it("goes round the seven codepoints, and takes none that is live", () => {
    let ring = pool();
    const written: number[] = [];
    for (let turn = 1; turn <= 9; turn++) {
      const when = at(turn * 2 * DAY_MS);
      ring = pass(rotate(pass(ring, when), when), when);
      written.push(projectSnapshot(ring).tokens.writeId);
    }
    expect(written).toEqual([1, 2, 3, 4, 5, 6, 0, 1, 2]);
  });

  it.each([{ generator: "plaintext" }, { serverIdBytes: 5 }, { nonceBytes: 13 }] as const)(
    "begins when the layout changes to %j, in the version of that change",
    (tokens) => {
      const ring = done(pool({ a: 1 }), { kind: "patch-pool", patch: { tokens } }, at(0));
      expect(ring.version).toBe(8);
      expect(ring.tokens.configs).toMatchObject([
        { id: 0, phase: { kind: "writing" }, generator: "encrypted", serverIdBytes: 4, nonceBytes: 12 },
        { id: 1, phase: { kind: "spreading", sinceVersion: 8 }, ...tokens },
      ]);
    },
  );

  it("begins when a whole pool is put with another layout, and not when one is put as it is", () => {
    const { config } = pool();
    const document = { ...config, backends: [], tokens: { ...config.tokens, nonceBytes: 10 } };
    const ring = done(pool(), { kind: "put-pool", document }, at(0));
    expect(phases(ring)).toEqual(["0 writing", "1 spreading"]);
    expect(done(ring, { kind: "put-pool", document }, at(1))).toBe(ring);
  });

  it("refuses a second change of the layout while the first is being spread, and lets other fields change", () => {
    const ring = done(pool(), { kind: "patch-pool", patch: { tokens: { nonceBytes: 10 } } }, at(0));
    const patch = { tokens: { nonceBytes: 11 } };
    expect(apply(ring, { kind: "patch-pool", patch }, held(1, 9))).toMatchObject({
      refusal: { kind: "conflict" },
    });
    expect(
      phases(done(ring, { kind: "patch-pool", patch: { tokens: { lifetimeMs: HOUR_MS } } }, at(1))),
    ).toEqual(["0 writing", "1 spreading"]);
  });

  it("makes new keys for a pool that is made again", () => {
    const gone = apply(pool(), { kind: "delete-pool" }, at(0));
    const keys = { key: "77".repeat(16), macKey: "88".repeat(16) };
    const document = { ...pool().config, backends: [] };
    const again = done(gone.ok ? gone.value.state : pool(), { kind: "put-pool", document }, at(1, { keys }));
    expect(again.tokens.configs).toMatchObject([{ id: 0, phase: { kind: "writing" }, ...keys }]);
  });
});

describe("a retired configuration", () => {
  it("stays readable by the lifetime that was in force, though it is shortened before or after", () => {
    const shorten = { kind: "patch-pool", patch: { tokens: { lifetimeMs: 60_000 } } } as const;
    const before = pass(rotate(done(pool(), shorten, at(0)), at(1)), at(2));
    expect(phases(pass(before, at(READABLE_MS - 1)))).toEqual(["0 retired", "1 writing"]);
    expect(phases(pass(before, at(READABLE_MS)))).toEqual(["1 writing"]);
    const afterwards = done(pass(rotate(pool(), at(0)), at(2)), shorten, at(3));
    expect(phases(pass(afterwards, at(READABLE_MS + 1)))).toEqual(["0 retired", "1 writing"]);
  });

  it("goes by the shorter lifetime once whatever was made under the longer one has expired", () => {
    const shorten = { kind: "patch-pool", patch: { tokens: { lifetimeMs: 60_000 } } } as const;
    const shortened = done(pool(), shorten, at(0));
    const promoted = pass(rotate(shortened, at(2 * DAY_MS)), at(2 * DAY_MS));
    const shortMs = READABLE_MS - DAY_MS + 60_000;
    expect(phases(pass(promoted, at(2 * DAY_MS + shortMs - 1)))).toHaveLength(2);
    expect(phases(pass(promoted, at(2 * DAY_MS + shortMs)))).toHaveLength(1);
  });

  it("stays for isolates that may serve without the ring for longer than they now may", () => {
    const hurry = { kind: "patch-pool", patch: { sync: { maxStaleMs: 0 } } } as const;
    const ring = pass(rotate(done(pool(), hurry, at(0)), at(1)), at(2));
    expect(phases(pass(ring, at(READABLE_MS - 1)))).toHaveLength(2);
  });
});

describe("the schedule", () => {
  const scheduled = poolWith({ rotateEveryMs: 8 * HOUR_MS });

  it("rotates when the configuration in use is that old, by a deadline of its own", () => {
    expect(deadlineMs(scheduled, at(0))).toBe(after(NOON, 8 * HOUR_MS));
    expect(pass(scheduled, at(8 * HOUR_MS - 1))).toBe(scheduled);
    const spreading = pass(scheduled, at(8 * HOUR_MS));
    expect(phases(spreading)).toEqual(["0 writing", "1 spreading"]);
    expect(spreading.version).toBe(8);
    expect(deadlineMs(pass(spreading, at(8 * HOUR_MS)), at(8 * HOUR_MS))).toBe(after(NOON, 16 * HOUR_MS));
  });

  it("counts from a rotation that was asked for", () => {
    const promoted = pass(rotate(scheduled, at(HOUR_MS)), at(HOUR_MS));
    expect(deadlineMs(promoted, at(HOUR_MS))).toBe(after(NOON, 9 * HOUR_MS));
  });

  it("waits for a retirement while six are live", () => {
    const six = [0, 1, 2, 3, 4].reduce((ring, turn) => pass(rotate(ring, at(turn)), at(turn)), scheduled);
    expect(deadlineMs(six, at(10))).toBe(after(NOON, READABLE_MS));
    expect(pass(six, at(9 * HOUR_MS))).toBe(six);
    expect(phases(pass(six, at(READABLE_MS)))).toEqual([
      "1 retired",
      "2 retired",
      "3 retired",
      "4 retired",
      "5 writing",
      "6 spreading",
    ]);
  });
});

it("shows of configurations everything but the keys", () => {
  const ring = pass(rotate(pool({ a: 1, b: 1 }), at(0)), at(1));
  const spreading = rotate(ring, at(2));
  const { governsAtMs } = held(2, 9_000);
  const shape = { generator: "encrypted", serverIdBytes: 4, nonceBytes: 12 };
  expect(projectTokensView(spreading, governsAtMs)).toEqual({
    configs: [
      { id: 0, ...shape, phase: "retired", createdMs: NOON, untilMs: after(NOON, 1 + READABLE_MS) },
      { id: 1, ...shape, phase: "writing", createdMs: NOON, untilMs: null },
      { id: 2, ...shape, phase: "spreading", createdMs: after(NOON, 2), untilMs: after(NOON, 9_000) },
    ],
    serverIds: { used: 2, reserved: 0, free: 9_998 },
  });
});
