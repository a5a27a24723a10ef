import * as fc from "fast-check";
import * as v from "valibot";
import type { AdminState } from "../../../durable/model/backend.ts";
import type { PoolCommand } from "../../../durable/model/command.ts";
import type { Pin } from "../../../durable/model/health.ts";
import { type PoolConfig, PoolConfigSchema, PoolDocumentSchema } from "../../../durable/model/pool.ts";
import { after, epochMs } from "../../../durable/model/time.ts";
import type { HeldBackend, LiveRing } from "../../../durable/state/ring-state.ts";
import { backendId, NOON, pool } from "./build.ts";

/** Few enough that changes meet what is there, and so many that there is room for newcomers. */
const BACKEND_ID = fc.constantFrom("a", "b", "c", "d", "e").map(backendId);
const WEIGHT = fc.constantFrom(1, 1, 2, 3, 7, 0);
const POLICY = fc.constantFrom(
  "round_robin",
  "random",
  "first",
  "least_request",
  "peak_ewma",
  "rendezvous",
  "maglev",
  "ring_hash",
);
const AFFINITY = fc.constantFrom(
  [],
  [{ by: "connection" }],
  [{ by: "token" }],
  [{ by: "token" }, { by: "connection" }],
  [{ by: "token" }, { by: "connection" }],
  [{ by: "token" }, { by: "header", name: "x-user" }],
);
const LOST = fc.constantFrom("temporary", "sticky", "refuse");

const TOLD_CONFIG = fc.record(
  {
    policy: POLICY,
    keylessPolicy: fc.constantFrom("random", "round_robin"),
    affinity: AFFINITY,
    slowStart: fc.record({ windowMs: fc.constantFrom(0, 60_000) }),
    tiers: fc.record({ panicThresholdPercent: fc.constantFrom(0, 50) }),
    sessions: fc.record({
      maxAgeMs: fc.constantFrom(null, 60_000),
      lost: fc.record({ ejected: LOST, drained: LOST, removed: LOST }),
    }),
    tokens: fc.record({
      generator: fc.constantFrom("encrypted", "encrypted", "regional"),
      cookie: fc.constantFrom({}, {}, { name: "__Host-another" }),
    }),
  },
  { requiredKeys: [] },
);

const ADMIN: fc.Arbitrary<AdminState> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<AdminState>({ kind: "active" }) },
  fc.constant<AdminState>({ kind: "disabled" }),
  fc
    .constantFrom(0, 30_000, 600_000)
    .map((ms): AdminState => ({ kind: "draining", untilMs: after(NOON, ms) })),
);

const PIN: fc.Arbitrary<Pin | null> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(null) },
  fc
    .constantFrom("unhealthy" as const, "degraded" as const)
    .map((health) => ({ health, reason: "seen", untilMs: after(NOON, 7_200_000) })),
);

const WRITTEN = {
  url: fc.constant("https://one.example"),
  weight: WEIGHT,
  via: fc.constant(null),
  labels: fc.constantFrom({}, { region: "weur" }, { region: "enam" }),
  priority: fc.constantFrom(0, 0, 0, 1),
};

/** Some came to the pool a while ago, and some of those serve only since lately. */
const HELD = fc
  .record({
    ...WRITTEN,
    admin: ADMIN,
    pin: PIN,
    addedMs: fc.constantFrom(0, NOON - 600_000, NOON - 300_000).map(epochMs),
    servingSinceMs: fc.constantFrom(0, NOON - 20_000).map(epochMs),
  })
  .map((held) =>
    Object.assign({ isDrained: held.admin.kind === "draining" && held.admin.untilMs <= NOON }, held),
  );

/** Pools as the ring may hold them at noon, that bind by token more often than not. */
export const RING: fc.Arbitrary<LiveRing> = fc
  .tuple(fc.dictionary(BACKEND_ID, HELD, { minKeys: 1, maxKeys: 4, noNullPrototype: true }), TOLD_CONFIG)
  .map(([backends, told]) => toRing(backends, v.parse(PoolConfigSchema, { ringPoints: 40, ...told })));

function toRing(backends: Readonly<Record<string, Partial<HeldBackend>>>, config: PoolConfig): LiveRing {
  const held = pool(backends, config);
  // As if its settings had always held.
  const { generator } = config.tokens;
  const configs = held.tokens.configs.map((each) => Object.assign({}, each, { generator }));
  return { ...held, tokens: { ...held.tokens, configs } };
}

const ID = { id: BACKEND_ID };
const BACKEND = fc.record(WRITTEN);
const DOCUMENT = fc
  .tuple(
    TOLD_CONFIG,
    fc.uniqueArray(fc.record({ ...ID, ...WRITTEN, admin: ADMIN }), { selector: ({ id }) => id }),
  )
  .map(([config, backends]) => v.parse(PoolDocumentSchema, { ringPoints: 40, ...config, backends }));

/** Changes of every kind. */
export const CHANGE: fc.Arbitrary<PoolCommand> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("put-pool"), document: DOCUMENT }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("patch-pool"), patch: TOLD_CONFIG }) },
  fc.record({ kind: fc.constant("delete-pool") }),
  fc.record({ kind: fc.constant("rotate-keys") }),
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("put-backend"), ...ID, backend: BACKEND }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("patch-backend"),
      ...ID,
      patch: fc.record({ weight: WEIGHT, priority: WRITTEN.priority, admin: ADMIN }, { requiredKeys: [] }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove-backend"), ...ID }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("drain-backend"),
      ...ID,
      forMs: fc.constantFrom(null, 0, 5_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("undrain-backend", "disable-backend", "enable-backend", "unpin-backend"),
      ...ID,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("pin-backend"),
      ...ID,
      pin: fc.record({
        health: fc.constantFrom("healthy", "degraded", "unhealthy", "unhealthy"),
        reason: fc.constant("looked at it"),
        forMs: fc.constant(3_600_000),
      }),
    }),
  },
);
