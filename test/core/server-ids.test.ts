import { expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import type { PoolConfig } from "../../durable/model/pool.ts";
import { after } from "../../durable/model/time.ts";
import { nextDeadlineMs, passDeadlines } from "../../durable/state/agenda.ts";
import { leaseEndMs } from "../../durable/state/lease-ledger.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import { projectTokensView } from "../../durable/state/project-tokens.ts";
import { applyPoolCommand } from "../../durable/state/ring-command.ts";
import { type LiveRing, NO_RING, type RingState, toDocument } from "../../durable/state/ring-state.ts";
import type { Moment } from "../../durable/state/token-configs.ts";
import { backendId, moment, NOON, pool, poolName } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";

const DAY_MS = 24 * 3_600_000;
const LEASE_MS = 32_000;

/** How long a removed backend's server id is reserved: lease, time without the ring, and lifetime of a token. */
const RESERVED_MS = leaseEndMs(NOON, LEASE_MS + 3_600_000) - NOON + DAY_MS;

/** How long it then rests: until nobody holds a snapshot any more in which it is a removed backend's. */
const RESTING_MS = RESERVED_MS - DAY_MS;

function at(afterMs: number): Moment {
  return moment(after(NOON, afterMs), { longestLeaseMs: LEASE_MS });
}

function apply(ring: RingState, command: PoolCommand, when = at(0)) {
  return applyPoolCommand(frozen(ring), command, {
    ...when,
    pool: poolName("shop"),
    precondition: { ifMatch: null, ifAbsent: false },
    birth: { incarnation: "born", secret: "5e".repeat(16) },
  });
}

/** The pool after commands that must not be refused. */
function done(ring: RingState, commands: readonly PoolCommand[], when = at(0)): LiveRing {
  let state = ring;
  for (const command of commands) {
    const result = apply(state, command, when);
    if (!result.ok) throw new Error(JSON.stringify(result.refusal));
    state = result.value.state;
  }
  if (state.kind === "absent") throw new Error("the pool is gone");
  return state;
}

function put(id: string): PoolCommand {
  const backend = { url: `https://${id}.example`, weight: 1, via: null, labels: {}, priority: 0 };
  return { kind: "put-backend", id: backendId(id), backend };
}

function remove(id: string): PoolCommand {
  return { kind: "remove-backend", id: backendId(id), force: true };
}

function ids(ring: LiveRing): Readonly<Record<string, number>> {
  return Object.fromEntries(ring.backends.map(({ id, serverId }) => [id, serverId]));
}

/** A pool whose server ids have so many bytes, with as many backends as told. */
function poolOf(count: number, serverIdBytes = 1): LiveRing {
  const { config } = pool();
  const wanted: PoolConfig = { ...config, tokens: { ...config.tokens, serverIdBytes } };
  const backends = Array.from({ length: count }, (_, index) => ({
    id: backendId(`b${index}`),
    url: "https://b.example",
    weight: 1,
    via: null,
    labels: {},
    priority: 0,
  }));
  return done(NO_RING, [{ kind: "put-pool", document: { ...wanted, backends } }]);
}

it("gives each backend the smallest server id that is free, and keeps it through every change of the backend", () => {
  const ring = pool({ a: 1, b: 1, c: 1 });
  const changed = done(ring, [
    { kind: "patch-backend", id: backendId("b"), patch: { url: "https://new.example", weight: 9 } },
    {
      kind: "put-backend",
      id: backendId("a"),
      backend: { url: "https://z.example", weight: 0, via: null, labels: {}, priority: 0 },
    },
    { kind: "drain-backend", id: backendId("c"), forMs: 0 },
    put("d"),
    { kind: "put-pool", document: { ...toDocument(ring), backends: toDocument(ring).backends.toReversed() } },
  ]);
  expect(ids(changed)).toEqual({ a: 0, b: 1, c: 2 });
  expect(ids(done(ring, [put("d")]))).toEqual({ a: 0, b: 1, c: 2, d: 3 });
});

it.each<[string, PoolCommand]>([
  ["removal", remove("a")],
  ["a whole pool without it", { kind: "put-pool", document: { ...toDocument(pool({ b: 1 })) } }],
])(
  "reserves the server id of a backend by %s, publishes whose it was, and gives another to one that comes back",
  (_, command) => {
    const removed = done(pool({ a: 1, b: 1 }), [command]);
    expect(projectSnapshot(removed).tokens.removed).toEqual([{ serverId: 0, id: "a" }]);
    expect(ids(done(removed, [put("a")]))).toEqual({ b: 1, a: 2 });
  },
);

it("frees a reserved server id in a version of its own, when the last token that can name it has expired", () => {
  const removed = done(pool({ a: 1, b: 1 }), [remove("a")]);
  const freeMs = after(NOON, RESERVED_MS);
  expect(nextDeadlineMs(removed, () => NOON)).toBe(freeMs);
  expect(passDeadlines(removed, at(RESERVED_MS - 1))).toBe(removed);
  const freed = passDeadlines(removed, at(RESERVED_MS));
  expect(freed).toMatchObject({ version: removed.version + 1, tokens: { reserved: [] } });
  const rested = at(RESERVED_MS + RESTING_MS);
  expect(ids(done(freed, [put("c")], at(RESERVED_MS + RESTING_MS - 1)))).toEqual({ b: 1, c: 2 });
  expect(ids(done(freed, [put("c")], rested))).toEqual({ b: 1, c: 0 });
});

it("keeps it reserved for tokens of a lifetime that was shortened before, or in the same change", () => {
  const shorten: PoolCommand = { kind: "patch-pool", patch: { tokens: { lifetimeMs: 60_000 } } };
  const before = done(pool({ a: 1 }), [shorten, remove("a")]);
  const { config } = before;
  const together = done(pool({ a: 1 }), [{ kind: "put-pool", document: { ...config, backends: [] } }]);
  for (const ring of [before, together])
    expect(ring.tokens.reserved).toEqual([{ serverId: 0, id: "a", untilMs: after(NOON, RESERVED_MS) }]);
});

it("takes as many backends as the server id can name, and refuses one more as a conflict", () => {
  const full = poolOf(256);
  expect(projectTokensView(full, () => NOON).serverIds).toEqual({ used: 256, reserved: 0, free: 0 });
  expect(apply(full, put("one-more"))).toEqual({
    ok: false,
    refusal: {
      kind: "conflict",
      detail:
        "the live token configurations have room for 256 server ids, and 257 backends need one each, and 0 are reserved",
    },
  });
});

it("counts reserved server ids as taken, and says when the first is free", () => {
  const full = done(poolOf(256), [remove("b7")]);
  expect(apply(full, put("one-more"))).toMatchObject({
    refusal: {
      kind: "conflict",
      detail: expect.stringContaining(`free from ${NOON + RESERVED_MS}`),
    },
  });
  const freed = passDeadlines(full, at(RESERVED_MS));
  const rested = at(RESERVED_MS + RESTING_MS);
  expect(apply(freed, put("one-more"), at(RESERVED_MS + RESTING_MS - 1))).toMatchObject({ ok: false });
  expect(ids(done(freed, [put("one-more")], rested))["one-more"]).toBe(7);
});

it("refuses a whole new pool of more backends than its server ids can name, and a regional one that has an octet less", () => {
  expect(() => poolOf(257)).toThrow("room for 256");
  const tokens = { generator: "regional", serverIdBytes: 2 };
  expect(apply(poolOf(257, 2), { kind: "patch-pool", patch: { tokens } })).toMatchObject({
    refusal: { kind: "conflict" },
  });
});

it("refuses shorter server ids while one that is in use or reserved would not fit", () => {
  const patch: PoolCommand = { kind: "patch-pool", patch: { tokens: { serverIdBytes: 1 } } };
  const large = poolOf(257, 2);
  expect(apply(large, patch)).toMatchObject({
    refusal: { kind: "conflict", detail: expect.stringContaining("server id 256 is in use or reserved") },
  });
  const reserved = done(large, [remove("b256")]);
  expect(apply(reserved, patch)).toMatchObject({ refusal: { kind: "conflict" } });
  expect(apply(passDeadlines(reserved, at(RESERVED_MS)), patch, at(RESERVED_MS))).toMatchObject({ ok: true });
});

it("goes by the smallest layout that can still be read", () => {
  const grown = done(poolOf(256), [{ kind: "patch-pool", patch: { tokens: { serverIdBytes: 4 } } }]);
  expect(apply(grown, put("one-more"))).toMatchObject({ refusal: { kind: "conflict" } });
  const promoted = passDeadlines(grown, at(1));
  expect(apply(promoted, put("one-more"))).toMatchObject({ refusal: { kind: "conflict" } });
  const alone = passDeadlines(promoted, at(1 + RESERVED_MS));
  expect(apply(alone, put("one-more"), at(1 + RESERVED_MS))).toMatchObject({ ok: true });
});
