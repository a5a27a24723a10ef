import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { Backend } from "../../durable/model/backend.ts";
import type { PoolCommand, Precondition } from "../../durable/model/command.ts";
import { parse } from "../../durable/model/parse.ts";
import { PoolDocumentSchema, type PoolPatch } from "../../durable/model/pool.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { diff } from "../../durable/state/diff.ts";
import { applyPoolCommand } from "../../durable/state/ring-command.ts";
import { NO_RING, type RingState, toDocument } from "../../durable/state/ring-state.ts";
import { backendId, moment, NOON, pool, poolName } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";
import {
  BACKEND_ID,
  BACKEND_PATCH,
  POOL_COMMAND,
  POOL_DOCUMENT,
  PRECONDITION,
} from "./support/pool-arbitraries.ts";

const NO_CONDITION: Precondition = { ifMatch: null, ifAbsent: false };

function apply(state: RingState, command: PoolCommand, precondition = NO_CONDITION, nowMs: EpochMs = NOON) {
  const birth = { incarnation: "born", secret: "0f0e0d0c0b0a09080706050403020100" };
  return applyPoolCommand(frozen(state), frozen(command), {
    ...moment(nowMs),
    pool: poolName("shop"),
    precondition,
    birth,
  });
}

/** The state after a command; the one before if it was refused. */
function next(
  state: RingState,
  command: PoolCommand,
  precondition?: Precondition,
  nowMs?: EpochMs,
): RingState {
  const result = apply(state, command, precondition, nowMs);
  return result.ok ? result.value.state : state;
}

function documentOf(state: RingState): unknown {
  return state.kind === "absent" ? null : toDocument(state);
}

/** What an operator can change of a pool. */
function shownOf(state: RingState): unknown {
  if (state.kind === "absent") return null;
  return { ...toDocument(state), pins: state.backends.map(({ id, pin }) => ({ id, pin })) };
}

const COMMANDS = fc.array(fc.tuple(POOL_COMMAND, PRECONDITION, fc.nat({ max: 3_000 })), { maxLength: 25 });

/** Goes through a random history and shows every step of it: time, command, state before and what came of it. */
function everyStep(
  check: (step: {
    readonly nowMs: EpochMs;
    readonly before: RingState;
    readonly command: PoolCommand;
    readonly result: ReturnType<typeof apply>;
    readonly state: RingState;
  }) => void,
): void {
  fc.assert(
    fc.property(COMMANDS, (commands) => {
      let nowMs = NOON;
      let state: RingState = NO_RING;
      for (const [command, precondition, passedMs] of commands) {
        nowMs = after(nowMs, passedMs);
        const before: RingState = state;
        const result = apply(before, command, precondition, nowMs);
        state = result.ok ? result.value.state : before;
        check({ nowMs, before, command, result, state });
      }
    }),
    { numRuns: 500 },
  );
}

it("grows the version by one with every change, and by none when nothing changed or the command was refused", () => {
  everyStep(({ before, result, state }) => {
    const changes = diff(shownOf(before), shownOf(state));
    expect(state.version - before.version).toBe(changes.length > 0 ? 1 : 0);
    expect(state === before).toBe(changes.length === 0);
    expect(result.ok ? result.value.applied.version : before.version).toBe(state.version);
    expect(result.ok ? result.value.applied.changes.length > 0 : false).toBe(changes.length > 0);
  });
});

it("says that something was created when its target was not there before, and never else", () => {
  everyStep(({ before, command, result, state }) => {
    const isBorn = before.kind === "absent" && state.kind === "live";
    const idsBefore = before.kind === "live" ? before.backends.map(({ id }) => id) : [];
    const isNewBackend = command.kind === "put-backend" && result.ok && !idsBefore.includes(command.id);
    expect(result.ok && result.value.applied.created).toBe(isBorn || isNewBackend);
  });
});

function namesOf(ring: RingState): readonly string[] | null {
  return ring.kind === "live" ? [ring.incarnation, ring.secret] : null;
}

it("gives a pool a new incarnation and secret when it is made, and keeps them while it lives", () => {
  everyStep(({ before, state }) => {
    const born = ["born", "0f0e0d0c0b0a09080706050403020100"];
    expect(namesOf(state)).toEqual(state.kind === "absent" ? null : (namesOf(before) ?? born));
  });
});

it("holds each backend once, and a document that its own schema accepts unchanged", () => {
  everyStep(({ state }) => {
    const document = documentOf(state) ?? documentOf(pool());
    expect(parse(PoolDocumentSchema, document)).toEqual({ ok: true, value: document });
  });
});

it("has nothing to do when a pool is put as it was got", () => {
  everyStep(({ state, nowMs }) => {
    const live = state.kind === "live" ? state : pool({ a: 5, b: 1 });
    expect(next(live, { kind: "put-pool", document: toDocument(live) }, NO_CONDITION, nowMs)).toBe(live);
  });
});

it("holds what was put, and what was left unsaid of a backend's admin state as it was", () => {
  fc.assert(
    fc.property(POOL_DOCUMENT, POOL_DOCUMENT, (first, second) => {
      const one = next(NO_RING, { kind: "put-pool", document: first });
      const two = next(one, { kind: "put-pool", document: second });
      const admins = new Map(first.backends.map(({ id, admin }) => [id, admin]));
      const completed = second.backends.map((backend) => ({
        ...backend,
        admin: backend.admin ?? admins.get(backend.id) ?? { kind: "active" },
      }));
      expect(diff({ ...second, backends: completed }, documentOf(two))).toEqual([]);
    }),
  );
});

/** The backends as an operator sees them. */
function backendsOf(ring: RingState): readonly Backend[] {
  return ring.kind === "live"
    ? ring.backends.map(({ isDrained: _, serverId: __, addedMs: ___, ...backend }) => backend)
    : [];
}

it("changes of a backend only what a patch names, and of the others nothing", () => {
  fc.assert(
    fc.property(POOL_DOCUMENT, BACKEND_ID, BACKEND_PATCH, (document, id, patch) => {
      const before = next(NO_RING, { kind: "put-pool", document });
      const state = next(before, { kind: "patch-backend", id, patch });
      const expected = backendsOf(before).map((backend) =>
        backend.id === id ? Object.assign(backend, patch) : backend,
      );
      expect(backendsOf(state)).toEqual(expected);
    }),
  );
});

const THREE = pool({
  a: 5,
  b: { weight: 2, admin: { kind: "draining", untilMs: after(NOON, 60_000) } },
  c: { admin: { kind: "disabled" }, labels: { [backendId("zone")]: "x" } },
});

function adminOf(state: RingState, id: string): unknown {
  return state.kind === "live" ? state.backends.find((backend) => backend.id === id)?.admin : null;
}

it.each([
  {
    kind: "put-backend",
    backend: { url: "https://new.example", weight: 9, via: null, labels: {}, priority: 0 },
  },
  { kind: "patch-backend", patch: { url: "https://new.example", weight: 9 } },
] as const)(
  "keeps identity and admin state of a backend when $kind changes its weight and URL",
  (command) => {
    for (const held of THREE.backends) {
      const state = next(THREE, { ...command, id: held.id });
      expect(state).toMatchObject({ backends: THREE.backends.map(({ id }) => ({ id })) });
      expect(adminOf(state, held.id)).toEqual(held.admin);
    }
  },
);

it.each([
  ["drain-backend", "a", { kind: "draining", untilMs: after(NOON, 300_000) }],
  ["drain-backend", "b", { kind: "draining", untilMs: after(NOON, 300_000) }],
  ["undrain-backend", "a", { kind: "active" }],
  ["undrain-backend", "b", { kind: "active" }],
  ["disable-backend", "a", { kind: "disabled" }],
  ["disable-backend", "b", { kind: "disabled" }],
  ["disable-backend", "c", { kind: "disabled" }],
  ["enable-backend", "a", { kind: "active" }],
  ["enable-backend", "c", { kind: "active" }],
] as const)("%s %s leads to its admin state", (kind, id, admin) => {
  expect(adminOf(next(THREE, { kind, id: backendId(id), forMs: null, force: true }), id)).toEqual(admin);
});

it.each([
  ["drain-backend", "c", "backend c is disabled; this needs it to be active or draining"],
  ["undrain-backend", "c", "backend c is disabled; this needs it to be active or draining"],
  ["enable-backend", "b", "backend b is draining; this needs it to be active or disabled"],
] as const)("refuses %s %s from a state it does not start in", (kind, id, detail) => {
  expect(apply(THREE, { kind, id: backendId(id), forMs: null })).toEqual({
    ok: false,
    refusal: { kind: "conflict", detail },
  });
});

it("drains for as long as the command says, and as the pool says when it does not", () => {
  const drained = (forMs: number | null) =>
    adminOf(next(THREE, { kind: "drain-backend", id: backendId("a"), forMs, force: true }), "a");
  expect(drained(1_000)).toEqual({ kind: "draining", untilMs: after(NOON, 1_000) });
  expect(drained(null)).toEqual({ kind: "draining", untilMs: after(NOON, THREE.config.drainMs) });
});

it.each<PoolCommand>([
  { kind: "patch-pool", patch: {} },
  { kind: "delete-pool" },
  { kind: "remove-backend", id: backendId("a") },
  {
    kind: "put-backend",
    id: backendId("a"),
    backend: { url: "https://a.example", weight: 1, via: null, labels: {}, priority: 0 },
  },
])("finds no pool for $kind where none is", (command) => {
  expect(apply(NO_RING, command)).toEqual({
    ok: false,
    refusal: { kind: "not-found", detail: "pool shop does not exist" },
  });
});

it.each(["remove-backend", "drain-backend", "undrain-backend", "disable-backend", "enable-backend"] as const)(
  "finds no backend for %s where none has that id",
  (kind) => {
    expect(apply(THREE, { kind, id: backendId("nobody"), forMs: null })).toEqual({
      ok: false,
      refusal: { kind: "not-found", detail: "pool shop has no backend nobody" },
    });
  },
);

it("goes on counting where a pool is made again, under another incarnation", () => {
  const deleted = next(THREE, { kind: "delete-pool" });
  expect(deleted).toEqual({ kind: "absent", version: THREE.version + 1 });
  expect(next(deleted, { kind: "put-pool", document: toDocument(THREE) })).toMatchObject({
    version: THREE.version + 2,
    incarnation: "born",
  });
});

it("refuses a patch after which the lease would be shorter than two refreshes, though each part of it is in range", () => {
  expect(apply(THREE, { kind: "patch-pool", patch: { sync: { refreshMs: 20_000 } } })).toEqual({
    ok: false,
    refusal: {
      kind: "invalid",
      errors: [{ field: "sync", value: "(object)", range: "must have leaseMs of at least 2 × refreshMs" }],
    },
  });
});

it.each<PoolCommand>([
  { kind: "patch-pool", patch: { tiers: { fallbackPool: "shop" } } },
  {
    kind: "put-pool",
    document: { ...toDocument(THREE), tiers: { ...THREE.config.tiers, fallbackPool: poolName("shop") } },
  },
])("refuses a pool that would fall back on itself: $kind", (command) => {
  const errors = [{ field: "tiers.fallbackPool", value: "shop", range: "must name another pool" }];
  expect(apply(THREE, command)).toEqual({ ok: false, refusal: { kind: "invalid", errors } });
});

it("takes a thousand backends and refuses one more", () => {
  const weights = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`b${index}`, 1]));
  const { b0: _, ...oneLess } = weights;
  const backend = { url: "https://a.example", weight: 1, via: null, labels: {}, priority: 0 };
  const put: PoolCommand = { kind: "put-backend", id: backendId("new"), backend };
  expect(apply(pool(oneLess), put)).toMatchObject({ ok: true });
  expect(apply(pool(weights), { ...put, id: backendId("b0") })).toMatchObject({ ok: true });
  expect(apply(pool(weights), put)).toEqual({
    ok: false,
    refusal: {
      kind: "invalid",
      errors: [{ field: "backends", value: 1_001, range: "must be a list of at most 1000" }],
    },
  });
});

/** So many backends of weight 1. */
function many(count: number): Readonly<Record<string, number>> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`b${index}`, 1]));
}

it("refuses more points on the ring than 200,000 in all: in a document, in a patch, and by one backend more", () => {
  const refused = (command: PoolCommand, state: RingState) => {
    const result = apply(state, command);
    return result.ok || result.refusal.kind !== "invalid" ? null : result.refusal.errors;
  };
  const range = "must be a multiple of 4, 4…200, with 1000 backends: 200000 points in all";
  const tooMany = [{ field: "ringPoints", value: 204, range }];
  const thousand = pool(many(1_000));
  const document = (ringPoints: number) => ({ ...toDocument(thousand), ringPoints });
  expect(refused({ kind: "put-pool", document: document(204) }, NO_RING)).toEqual(tooMany);
  expect(refused({ kind: "put-pool", document: document(204) }, thousand)).toEqual(tooMany);
  expect(refused({ kind: "patch-pool", patch: { ringPoints: 204 } }, thousand)).toEqual(tooMany);
  expect(apply(thousand, { kind: "patch-pool", patch: { ringPoints: 200 } })).toMatchObject({ ok: true });
  const backend = { url: "https://a.example", weight: 1, via: null, labels: {}, priority: 0 };
  const put: PoolCommand = { kind: "put-backend", id: backendId("new"), backend };
  expect(refused(put, pool(many(200), { ringPoints: 1_000 }))).toEqual([
    {
      field: "backends",
      value: 201,
      range: "must be a list of at most 200 with ringPoints 1000: 200000 points in all",
    },
  ]);
  expect(apply(pool(many(199), { ringPoints: 1_000 }), put)).toMatchObject({ ok: true });
});

it("lets a pool that has too many points be drained and made smaller", () => {
  const state = pool(many(201), { ringPoints: 1_000 });
  const id = backendId("b0");
  expect(apply(state, { kind: "drain-backend", id, forMs: 1 })).toMatchObject({ ok: true });
  expect(apply(state, { kind: "remove-backend", id })).toMatchObject({ ok: true });
  expect(apply(state, { kind: "patch-pool", patch: { ringPoints: 160 } })).toMatchObject({ ok: true });
});

it("changes of the configuration only what a patch names, inside its parts too", () => {
  const { connections, sync } = THREE.config;
  const held = { ...THREE, config: { ...THREE.config, connections: { ...connections, maxEntries: 5 } } };
  const patch = { drainMs: 1, policy: undefined, connections: { idleMs: 2_000 }, sync: { leaseMs: 60_000 } };
  expect(next(held, { kind: "patch-pool", patch })).toMatchObject({
    config: {
      ...held.config,
      drainMs: 1,
      connections: { maxEntries: 5, idleMs: 2_000 },
      sync: { ...sync, leaseMs: 60_000 },
    },
  });
});

it("holds a condition on a put backend against that backend, and on anything else against the pool", () => {
  const ifAbsent = { ifMatch: null, ifAbsent: true };
  const backend = { url: "https://a.example", weight: 1, via: null, labels: {}, priority: 0 };
  expect(apply(THREE, { kind: "put-backend", id: backendId("d"), backend }, ifAbsent)).toMatchObject({
    ok: true,
  });
  expect(apply(THREE, { kind: "put-backend", id: backendId("a"), backend }, ifAbsent)).toMatchObject({
    refusal: { kind: "stale-version", expected: "none", actual: "7" },
  });
  expect(apply(THREE, { kind: "delete-pool" }, { ifMatch: [6], ifAbsent: false })).toMatchObject({
    refusal: { kind: "stale-version", expected: "6", actual: "7" },
  });
  expect(apply(NO_RING, { kind: "put-pool", document: toDocument(THREE) }, ifAbsent)).toMatchObject({
    ok: true,
  });
});

it.each([
  ["sync.waitMs", { sync: { waitMs: 49 } }, 49, "must be an integer 50…30000"],
  ["connections.idleMs", { connections: { idleMs: null } }, null, "must be an integer 1000…86400000"],
  ["tokens.cookie.passOn", { tokens: { cookie: { passOn: 1 } } }, 1, "must be true or false"],
  [
    "sessions.lost.removed",
    { sessions: { lost: { removed: "stay" } } },
    "stay",
    'must be one of "temporary", "sticky", "refuse"',
  ],
  [
    "backends",
    { backends: [] },
    "(a list of 0)",
    "is not known here; known: policy, keylessPolicy, hashBalanceFactor, ringPoints, slowStart, tiers, maxInFlight, waiting, health, retry, shed, affinity, stickyDebtRounds, connections, tokens, sessions, headerTimeoutMs, bodyIdleTimeoutMs, webSocketIdleTimeoutMs, drainMs, settleMs, closeSocketsAtDeadline, sync",
  ],
  [
    "sync",
    { sync: [] },
    "(a list of 0)",
    "must be an object with refreshMs, leaseMs, waitMs, maxStaleMs, maxPerSecond",
  ],
])("refuses %s of the patch %j", (field, patch, value, range) => {
  expect(apply(THREE, { kind: "patch-pool", patch })).toMatchObject({
    refusal: { errors: [{ field, value, range }] },
  });
});

it("names the rotation when another field makes it too frequent", () => {
  const held = next(THREE, { kind: "patch-pool", patch: { tokens: { rotateEveryMs: 22_515_000 } } });
  expect(apply(held, { kind: "patch-pool", patch: { sync: { maxStaleMs: 3_600_001 } } })).toMatchObject({
    refusal: { errors: [{ field: "tokens.rotateEveryMs", value: 22_515_000 }] },
  });
});

it.each(["__proto__", "constructor", "hasOwnProperty"])(
  "refuses %s in a patch, at any depth, and changes no object by it",
  (name) => {
    for (const [field, text] of [
      [name, `{ "${name}": { "drainMs": 1 } }`],
      [`tokens.cookie.${name}`, `{ "tokens": { "cookie": { "${name}": { "passOn": true } } } }`],
    ]) {
      const patch: PoolPatch = JSON.parse(text ?? "");
      expect(apply(THREE, { kind: "patch-pool", patch })).toMatchObject({
        refusal: { errors: [{ field, value: "(object)" }] },
      });
    }
    expect(Object.keys(Object.prototype)).toEqual([]);
  },
);

it("takes the cookie of tokens away by null, and gives it back by an object", () => {
  const without = next(THREE, { kind: "patch-pool", patch: { tokens: { cookie: null } } });
  expect(without).toMatchObject({ config: { tokens: { cookie: null, lifetimeMs: 86_400_000 } } });
  expect(
    next(without, { kind: "patch-pool", patch: { tokens: { cookie: { persistent: true } } } }),
  ).toMatchObject({
    config: { tokens: { cookie: { persistent: true, sameSite: "Lax" } } },
  });
});
