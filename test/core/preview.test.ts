import { describe, expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import type { PoolPreview } from "../../durable/model/preview.ts";
import { after } from "../../durable/model/time.ts";
import { rehearse } from "../../durable/state/rehearse.ts";
import type { LiveRing, RingState } from "../../durable/state/ring-state.ts";
import { NO_RING } from "../../durable/state/ring-state.ts";
import { buildMaglevTable } from "../../worker/core/policies/maglev-table.ts";
import { preview } from "../../worker/core/preview.ts";
import { backendId, moment, NOON, pool, poolName } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";
import { poolConfig } from "./support/visit.ts";

const BIRTH = { incarnation: "again", secret: "f0".repeat(16) };
const SINCE_MS = after(NOON, -600_000);
const BY_TOKEN = poolConfig({ affinity: [{ by: "token" }, { by: "connection" }] });

/** What a change at noon would do, by a ring that has seen 100 sessions of each backend. */
function previewOf(ring: RingState, command: PoolCommand, pools: readonly string[] = []): PoolPreview {
  const change = { pool: poolName("shop"), command, precondition: { ifMatch: null, ifAbsent: false } };
  const told = { ...moment(NOON), birth: BIRTH };
  const rehearsal = rehearse(frozen(ring), change, told, () => ({ count: 100, sinceMs: SINCE_MS }));
  if (!rehearsal.ok) throw new Error(JSON.stringify(rehearsal.refusal));
  return preview(rehearsal.value, new Set(pools.map(poolName)));
}

function put(id: string, weight = 1): PoolCommand {
  const backend = { url: `https://${id}.example`, weight, via: null, labels: {}, priority: 0 };
  return { kind: "put-backend", id: backendId(id), backend };
}

const A = backendId("a");
const remove: PoolCommand = { kind: "remove-backend", id: A, force: true };
const disable: PoolCommand = { kind: "disable-backend", id: A, force: true };
const drain: PoolCommand = { kind: "drain-backend", id: A, forMs: 60_000, force: true };

function sharesIn({ shares }: PoolPreview): Readonly<Record<string, readonly number[]>> {
  return Object.fromEntries(shares.map((share) => [share.id, [share.before, share.after, share.settled]]));
}

describe("the shares of new traffic", () => {
  it("are by weight, before and after", () => {
    const shown = previewOf(pool({ a: 1, b: 1 }), put("c", 2));
    expect(sharesIn(shown)).toEqual({ a: [50, 25, 25], b: [50, 25, 25], c: [0, 50, 50] });
  });

  it("are told for now and for when slow start is over", () => {
    const { slowStart } = poolConfig({ slowStart: { windowMs: 60_000 } });
    const shown = previewOf(pool({ a: 1, b: 1 }, { slowStart }), put("c", 2));
    // A newcomer begins with a tenth of its weight.
    expect(sharesIn(shown)["c"]).toEqual([0, 9.0909, 50]);
    expect(shown.atMs).toBe(NOON);
  });

  it("are those of the tiers", () => {
    const ring = pool({ a: 1, b: { priority: 1, weight: 3 }, c: { priority: 1, weight: 1 } });
    expect(sharesIn(previewOf(ring, disable))).toEqual({ a: [100, 0, 0], b: [0, 75, 75], c: [0, 25, 25] });
  });

  it("are the first one's with policy first", () => {
    expect(sharesIn(previewOf(pool({ a: 1, b: 9 }, { policy: "first" }), drain))).toEqual({
      a: [100, 0, 0],
      b: [0, 100, 100],
    });
  });

  it("are nobody's where nobody is left", () => {
    expect(sharesIn(previewOf(pool({ a: 1 }), remove))).toEqual({ a: [100, 0, 0] });
    expect(sharesIn(previewOf(pool({ a: 1 }), { kind: "delete-pool" }))).toEqual({ a: [100, 0, 0] });
  });
});

/** By slot: whose it is. */
function table(...names: readonly string[]): readonly (string | undefined)[] {
  return Array.from(buildMaglevTable(names.map((name) => ({ name, weight: 1 }))), (index) => names[index]);
}

describe("the hash space", () => {
  it("moves, with a newcomer to rendezvous, by the newcomer's share and no more", () => {
    const shown = previewOf(pool({ a: 1, b: 1, c: 1 }, { policy: "rendezvous" }), put("d"));
    expect(shown.hashSpaceErrorPercent).toBeLessThan(0.32);
    expect(Math.abs((shown.hashSpaceMovedPercent ?? 0) - 25)).toBeLessThan(5 * shown.hashSpaceErrorPercent);
  });

  it("moves, with maglev, by exactly what its tables differ in", () => {
    const was = table("a", "b", "c");
    const moved = table("a", "b", "c", "d").filter((name, slot) => name !== was[slot]).length;
    const shown = previewOf(pool({ a: 1, b: 1, c: 1 }, { policy: "maglev" }), put("d"));
    expect([shown.hashSpaceMovedPercent, shown.hashSpaceErrorPercent]).toEqual([
      (100 * moved) / was.length,
      0,
    ]);
  });

  it("moves, on a ring of equal weights, by exactly the arcs that the newcomer takes", () => {
    const shown = previewOf(pool({ a: 1, b: 1, c: 1 }, { policy: "ring_hash" }), put("d"));
    const share = sharesIn(shown)["d"]?.[1] ?? 0;
    expect(shown.hashSpaceErrorPercent).toBe(0);
    expect(Math.abs((shown.hashSpaceMovedPercent ?? 0) - share)).toBeLessThan(0.0001);
    // On a ring of 160 points for each it is near its part, and not quite that.
    expect(Math.abs(share - 25)).toBeLessThan(5);
  });

  it("is estimated on a ring of different weights", () => {
    const shown = previewOf(pool({ a: 1, b: 1, c: 1 }, { policy: "ring_hash" }), put("d", 2));
    expect(shown.hashSpaceErrorPercent).toBeGreaterThan(0);
    expect(Math.abs((shown.hashSpaceMovedPercent ?? 0) - 40)).toBeLessThan(8);
  });

  it("is not there where nothing is led by hashing", () => {
    expect(previewOf(pool({ a: 1, b: 1 }), remove).hashSpaceMovedPercent).toBeNull();
    const byTokenAlone = poolConfig({ affinity: [{ by: "token" }] });
    expect(previewOf(pool({ a: 1, b: 1 }, byTokenAlone), remove).hashSpaceMovedPercent).toBeNull();
  });

  it.each([
    ["another value is hashed", { affinity: [{ by: "address" }] }],
    ["nothing is any more", { affinity: [] }],
  ])("moves as a whole where %s", (_, patch) => {
    const shown = previewOf(pool({ a: 1, b: 1 }, BY_TOKEN), { kind: "patch-pool", patch });
    expect(shown.hashSpaceMovedPercent).toBe(100);
  });
});

describe("sessions", () => {
  const three = pool({ a: 1, b: 1, c: 1 }, BY_TOKEN);
  const nowMs = { fromMs: NOON, untilMs: NOON, countedSinceMs: SINCE_MS };

  it.each([
    ["of a new weight", put("a", 9)],
    ["of a newcomer", put("d")],
    ["of another policy", { kind: "patch-pool", patch: { policy: "maglev" } }],
    ["of new keys", { kind: "rotate-keys" }],
  ] as const)("stay for all %s", (_, command) => {
    expect(previewOf(three, command).sessions).toEqual([]);
  });

  it("are moved by a drain at its deadline, and not before", () => {
    const untilMs = after(NOON, 60_000);
    expect(previewOf(three, drain).sessions).toEqual([
      {
        backend: "a",
        cause: "drained",
        sessions: 100,
        rule: "sticky",
        countedSinceMs: SINCE_MS,
        fromMs: untilMs,
        untilMs,
      },
    ]);
  });

  it("are moved at once by what takes their backend away", () => {
    const move = { backend: "a", sessions: 100, ...nowMs };
    expect(previewOf(three, remove).sessions).toEqual([{ ...move, cause: "removed", rule: "sticky" }]);
    expect(previewOf(three, disable).sessions).toEqual([{ ...move, cause: "disabled", rule: "sticky" }]);
    const pin = { health: "unhealthy", reason: "its disk is full", forMs: 60_000 } as const;
    expect(previewOf(three, { kind: "pin-backend", id: A, pin }).sessions).toEqual([
      { ...move, cause: "ejected", rule: "temporary" },
    ]);
  });

  it("go, where they age, to a newcomer by its share and until the youngest is old enough", () => {
    const sessions = { ...BY_TOKEN.sessions, maxAgeMs: 3_600_000 };
    const { sessions: moves } = previewOf(pool({ a: 1, b: 1, c: 1 }, { ...BY_TOKEN, sessions }), put("d"));
    expect(moves.map(({ backend, cause }) => [backend, cause])).toEqual([
      ["a", "repinned"],
      ["b", "repinned"],
      ["c", "repinned"],
    ]);
    for (const move of moves) {
      expect(Math.abs(move.sessions - 25)).toBeLessThanOrEqual(2);
      expect([move.fromMs, move.untilMs]).toEqual([NOON, after(NOON, 3_600_000)]);
    }
  });

  it("are lost from sight where their tokens travel otherwise", () => {
    const patch = { tokens: { cookie: { name: "another" } } };
    const { sessions } = previewOf(three, { kind: "patch-pool", patch });
    expect(sessions.map(({ cause }) => cause)).toEqual(["unbound", "unbound", "unbound"]);
  });

  it("come home when their backend does", () => {
    const { lost } = poolConfig({ sessions: { lost: { drained: "temporary" } } }).sessions;
    const sessions = { ...BY_TOKEN.sessions, lost };
    const ring = pool({ a: { admin: { kind: "disabled" } }, b: 1 }, { ...BY_TOKEN, sessions });
    expect(previewOf(ring, { kind: "enable-backend", id: A }).sessions).toEqual([
      { backend: "a", cause: "returned", sessions: 100, rule: null, ...nowMs },
    ]);
  });
});

/** Guards that would not hold, and whether they do not now. */
function broken(ring: RingState, command: PoolCommand, pools?: readonly string[]) {
  return previewOf(ring, command, pools).guards.map(({ guard, wasBroken }) => [guard, wasBroken]);
}

describe("the guards", () => {
  const one = pool({ a: 1 });
  const unwell = { health: "unhealthy", reason: "seen", untilMs: after(NOON, 60_000) } as const;

  it("hold for a change that leaves enough", () => {
    expect(broken(pool({ a: 1, b: 1 }), remove)).toEqual([]);
  });

  it("tell of a pool where nobody is left, unless the pool goes itself", () => {
    expect(broken(one, drain)).toEqual([
      ["nobody_admits_new", false],
      ["capacity_halved", false],
    ]);
    expect(broken(pool({}), { kind: "patch-pool", patch: {} })).toEqual([["nobody_admits_new", true]]);
    expect(broken(one, { kind: "delete-pool" })).toEqual([]);
  });

  it("tell of less than half of the weight", () => {
    expect(broken(pool({ a: 3, b: 2 }), remove)).toEqual([["capacity_halved", false]]);
    expect(broken(pool({ a: 2, b: 2 }), remove)).toEqual([]);
  });

  it("tell of a tier that will panic, and of one that does", () => {
    const ring = pool({ a: 1, b: { pin: unwell }, c: { pin: unwell } });
    expect(broken(pool({ a: 1, b: 1, c: { pin: unwell } }), remove)).toEqual([]);
    expect(broken(pool({ a: 1, b: 1, c: { pin: unwell }, d: { pin: unwell } }), remove)).toEqual([
      ["panic", false],
    ]);
    expect(broken(ring, put("a", 2))).toEqual([["panic", true]]);
  });

  it("tell of a fallback pool that is not there", () => {
    const command: PoolCommand = { kind: "patch-pool", patch: { tiers: { fallbackPool: "spare" } } };
    expect(broken(one, command, ["shop"])).toEqual([["no_fallback_pool", false]]);
    expect(broken(one, command, ["shop", "spare"])).toEqual([]);
  });

  it("tell of the last server id", () => {
    const backends = Object.fromEntries(Array.from({ length: 255 }, (_, index) => [`b${index}`, 1]));
    const ring = pool(backends);
    const configs = ring.tokens.configs.map((config) => ({ ...config, serverIdBytes: 1 }));
    const tokens = { ...ring.config.tokens, serverIdBytes: 1 };
    const full: LiveRing = {
      ...ring,
      config: { ...ring.config, tokens },
      tokens: { ...ring.tokens, configs },
    };
    expect(broken(full, put("one-more"))).toEqual([["server_ids_used_up", false]]);
  });
});

it("names the version it is based on and the one to come, and none where there is no pool", () => {
  expect(previewOf(pool({ a: 1 }), put("b"))).toMatchObject({ version: 7, nextVersion: 8, created: true });
  expect(previewOf(pool({ a: 1 }), put("a"))).toMatchObject({ version: 7, nextVersion: 7, changes: [] });
  const document = { ...poolConfig({}), backends: [] };
  const born = previewOf(NO_RING, { kind: "put-pool", document });
  expect(born).toMatchObject({ version: null, nextVersion: 1, created: true });
});

it("is held against the pool as it is when the deadlines that are due have passed", () => {
  const ring = pool({ a: { admin: { kind: "draining", untilMs: NOON } }, b: 1 }, BY_TOKEN);
  expect(previewOf(ring, put("b", 2))).toMatchObject({ version: 8, nextVersion: 9, sessions: [] });
});

it("gives no key away", () => {
  const text = JSON.stringify(previewOf(pool({ a: 1 }, BY_TOKEN), { kind: "rotate-keys" }));
  for (const secret of ["000102030405", "101112131415", "202122232425", "3030", "4040", "f0f0"])
    expect(text).not.toContain(secret);
});
