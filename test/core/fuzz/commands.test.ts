import * as fc from "fast-check";
import { expect, it } from "vitest";
import { BackendInputSchema, BackendPatchSchema } from "../../../durable/model/backend.ts";
import type { DirectoryCommand, PoolCommand } from "../../../durable/model/command.ts";
import { parse } from "../../../durable/model/parse.ts";
import { PoolDocumentSchema, PoolPatchSchema } from "../../../durable/model/pool.ts";
import { RouteInputSchema, RoutePatchSchema, RouteSchema } from "../../../durable/model/route.ts";
import { SyncRequestSchema } from "../../../durable/model/sync.ts";
import { after } from "../../../durable/model/time.ts";
import { nextDeadlineMs, passDeadlines } from "../../../durable/state/agenda.ts";
import { answerSync } from "../../../durable/state/answer-sync.ts";
import { applyDirectoryCommand } from "../../../durable/state/directory-command.ts";
import { type DirectoryState, newDirectory } from "../../../durable/state/directory-state.ts";
import { LeaseLedger } from "../../../durable/state/lease-ledger.ts";
import { pace } from "../../../durable/state/pacing.ts";
import { projectSnapshot } from "../../../durable/state/project.ts";
import { applyPoolCommand } from "../../../durable/state/ring-command.ts";
import { NO_RING, type RingState, toDocument } from "../../../durable/state/ring-state.ts";
import { createKeyedHash } from "../../../worker/core/keyed-hash.ts";
import { prepareRoutes } from "../../../worker/core/route.ts";
import { fuzz } from "../../support/fuzz.ts";
import { spoiled } from "../../support/nasties.ts";
import { backendId, moment, NOON, pool, poolName, routeId } from "../support/build.ts";
import { Court } from "../support/court.ts";
import { frozen } from "../support/frozen.ts";
import { BACKEND_ID, POOL_COMMAND, PRECONDITION } from "../support/pool-arbitraries.ts";
import { BACKEND, CONFIG, POOL, ROUTE, SYNC } from "../support/whole-documents.ts";

/** What the parser lets through of spoiled bodies, as the commands that are made of them; nothing of what it refuses. */
const PARSED_COMMANDS: fc.Arbitrary<readonly PoolCommand[]> = fc.oneof(
  spoiled(fc.constant(POOL)).map((body) => {
    const document = parse(PoolDocumentSchema, body);
    return document.ok ? [{ kind: "put-pool", document: document.value } as const] : [];
  }),
  spoiled(
    fc.constantFrom(CONFIG, { health: CONFIG.health }, { tokens: CONFIG.tokens }, { sync: CONFIG.sync }, {}),
  ).map((body) => {
    const patch = parse(PoolPatchSchema, body);
    return patch.ok ? [{ kind: "patch-pool", patch: patch.value } as const] : [];
  }),
  fc.tuple(BACKEND_ID, spoiled(fc.constant(BACKEND))).map(([id, body]) => {
    const backend = parse(BackendInputSchema, body);
    return backend.ok ? [{ kind: "put-backend", id, backend: backend.value } as const] : [];
  }),
  fc.tuple(BACKEND_ID, spoiled(fc.constantFrom(BACKEND, { weight: 1 }, {}))).map(([id, body]) => {
    const patch = parse(BackendPatchSchema, body);
    return patch.ok ? [{ kind: "patch-backend", id, patch: patch.value } as const] : [];
  }),
  POOL_COMMAND.map((command) => [command]),
);

it("keeps a pool that its own schema accepts and every isolate can use, whatever commands come", () => {
  const step = fc.tuple(
    PARSED_COMMANDS,
    PRECONDITION,
    fc.oneof(fc.nat({ max: 3_000 }), fc.nat({ max: 2 ** 40 })),
  );
  fuzz("pools", fc.array(step, { minLength: 1, maxLength: 4 }), (steps) => {
    let state: RingState = pool({ a: 1, b: 2 });
    let nowMs = NOON;
    for (const [commands, precondition, passedMs] of steps) {
      nowMs = after(nowMs, passedMs);
      for (const command of commands) {
        const birth = { incarnation: "born", secret: "0f0e0d0c0b0a09080706050403020100" };
        const context = { ...moment(nowMs), pool: poolName("shop"), precondition, birth };
        const applied = applyPoolCommand(frozen(state), frozen(command), context);
        state = applied.ok ? applied.value.state : state;
      }
      state = passDeadlines(state, moment(nowMs));
      const live = state.kind === "live" ? state : pool({});
      const document = toDocument(live);
      expect(parse(PoolDocumentSchema, document)).toEqual({ ok: true, value: document });
      expect(projectSnapshot(live).backends).toHaveLength(live.backends.length);
      expect(nextDeadlineMs(live, () => nowMs) ?? 0).toBeLessThan(8_640_000_000_000_000);
    }
    expect(state.version).toBeGreaterThanOrEqual(state === NO_RING ? 0 : 7);
  });
});

const DIRECTORY: DirectoryState = {
  ...newDirectory("01234567-89ab-cdef-0123-456789abcdef", "5e".repeat(16)),
  pools: [poolName("shop"), poolName("blog")],
};

const ROUTE_ID = fc.constantFrom("a", "b", "c").map(routeId);

const ROUTE_COMMANDS: fc.Arbitrary<readonly DirectoryCommand[]> = fc.oneof(
  fc
    .tuple(
      ROUTE_ID,
      spoiled(fc.constantFrom(ROUTE, { pool: "shop" }, { path: "/", split: [{ pool: "shop", weight: 1 }] })),
    )
    .map(([id, body]) => {
      const route = parse(RouteInputSchema, body);
      return route.ok ? [{ kind: "put-route", id, route: route.value } as const] : [];
    }),
  fc.tuple(ROUTE_ID, spoiled(fc.constantFrom(ROUTE, {}))).map(([id, body]) => {
    const patch = parse(RoutePatchSchema, body);
    return patch.ok ? [{ kind: "patch-route", id, patch: patch.value } as const] : [];
  }),
  ROUTE_ID.map((id) => [{ kind: "remove-route", id } as const]),
  fc
    .constantFrom("shop", "blog", "new")
    .map((name) => [{ kind: "remove-pool", name: poolName(name) } as const]),
  fc.constantFrom("shop", "blog", "new").map((name) => [{ kind: "add-pool", name: poolName(name) } as const]),
);

it("keeps routes that their own schema accepts and every isolate can search, whatever commands come", () => {
  fuzz(
    "directories",
    fc.array(fc.tuple(ROUTE_COMMANDS, PRECONDITION), { minLength: 1, maxLength: 6 }),
    (steps) => {
      let state = DIRECTORY;
      for (const [commands, precondition] of steps) {
        for (const command of commands) {
          const applied = applyDirectoryCommand(frozen(state), frozen(command), precondition);
          state = applied.ok ? applied.value.state : state;
        }
      }
      for (const route of state.routes) expect(parse(RouteSchema, route)).toEqual({ ok: true, value: route });
      const index = prepareRoutes(state.routes, createKeyedHash(state.secret));
      expect(index === null).toBe(state.routes.length === 0);
    },
  );
});

/** A pool in which every rule about health is in force. */
function judgedPool() {
  const health = {
    ...CONFIG.health,
    trustAnnouncements: true,
    consecutiveGatewayFailures: { ...CONFIG.health.consecutiveGatewayFailures, enforce: true },
  };
  return pool({ a: 1, b: 2, c: 1 }, { health });
}

/** Everything in a state that is a number. */
function numbersIn(value: unknown): readonly number[] {
  if (typeof value === "number") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

it("survives whatever an isolate reports, with numbers in its state and in its replies", () => {
  const sync = fc.tuple(
    spoiled(fc.oneof(fc.constant(SYNC), spoiled(fc.constant(SYNC)))),
    fc.oneof(fc.nat({ max: 3_000 }), fc.nat({ max: 2 ** 40 })),
  );
  fuzz("syncs", fc.array(sync, { minLength: 1, maxLength: 5 }), (syncs) => {
    const court = new Court(judgedPool());
    const ledger = new LeaseLedger(0, NOON);
    for (const [index, [body, passedMs]] of syncs.entries()) {
      court.wait(Math.min(passedMs, 100_000));
      const request = parse(SyncRequestSchema, body);
      if (!request.ok) continue;
      const { isolate, report } = request.value;
      if (report !== null) court.hear({ ...report, batch: report.batch + index }, isolate);
      const pacing = pace(court.ring.config.sync, ledger.size, court.isUrgent, 0.5);
      const snapshot = projectSnapshot(court.ring);
      const reply = answerSync(ledger, snapshot, request.value, pacing, court.nowMs, () => {});
      expect(numbersIn([court.ring, reply]).every(Number.isFinite)).toBe(true);
      expect(ledger.inFlight(backendId("a"), court.nowMs)).toBeGreaterThanOrEqual(0);
      expect(JSON.parse(JSON.stringify(court.ring))).toEqual(court.ring);
    }
    expect(nextDeadlineMs(court.ring, () => court.nowMs) ?? 0).toBeLessThan(8_640_000_000_000_000);
    expect(court.ring.backends).toHaveLength(3);
  });
});
