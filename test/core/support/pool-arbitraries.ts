import * as fc from "fast-check";
import * as v from "valibot";
import type { AdminState, BackendPatch } from "../../../durable/model/backend.ts";
import type { PoolCommand, Precondition } from "../../../durable/model/command.ts";
import type { PinInput } from "../../../durable/model/health.ts";
import type { BackendId } from "../../../durable/model/names.ts";
import { type PoolDocument, PoolDocumentSchema, type PoolPatch } from "../../../durable/model/pool.ts";
import { after } from "../../../durable/model/time.ts";
import { backendId, NOON } from "./build.ts";

/** Few ids, so that commands meet. */
export const BACKEND_ID: fc.Arbitrary<BackendId> = fc.constantFrom("a", "b", "c").map(backendId);

const URL_OF_BACKEND = fc.constantFrom(
  "https://one.example",
  "https://two.example:8443/base",
  "http://three.example",
);
const WEIGHT = fc.constantFrom(0, 1, 2, 1_000);

/** Deadlines lie around noon, where the commands are. */
const ADMIN: fc.Arbitrary<AdminState> = fc.oneof(
  fc.constant<AdminState>({ kind: "active" }),
  fc.constant<AdminState>({ kind: "disabled" }),
  fc
    .integer({ min: -1_000, max: 10_000 })
    .map((ms): AdminState => ({ kind: "draining", untilMs: after(NOON, ms) })),
);

const BACKEND = fc.record(
  {
    url: URL_OF_BACKEND,
    weight: WEIGHT,
    via: fc.constantFrom(null, "VPC"),
    labels: fc.dictionary(fc.constantFrom("zone", "release"), fc.constantFrom("", "x"), {
      noNullPrototype: true,
    }),
    priority: fc.constantFrom(0, 1),
    admin: ADMIN,
  },
  { requiredKeys: ["url", "weight", "via", "labels", "priority"] },
);

/** Everything left out stays. */
export const BACKEND_PATCH: fc.Arbitrary<BackendPatch> = fc.record(
  {
    url: URL_OF_BACKEND,
    weight: WEIGHT,
    via: fc.constantFrom(null, "VPC"),
    priority: fc.constantFrom(0, 1),
    admin: ADMIN,
  },
  { requiredKeys: [] },
);

const CONFIG = fc.record(
  {
    policy: fc.constantFrom("round_robin", "rendezvous"),
    keylessPolicy: fc.constantFrom("random", "round_robin"),
    slowStart: fc.record({ windowMs: fc.constantFrom(0, 60_000) }, { requiredKeys: [] }),
    tiers: fc.record(
      {
        overprovisioningPercent: fc.constantFrom(100, 140),
        panicThresholdPercent: fc.constantFrom(0, 50),
        fallbackPool: fc.constantFrom(null, "spare"),
      },
      { requiredKeys: [] },
    ),
    maxInFlight: fc.constantFrom(null, 1, 10_000),
    shed: fc.record(
      { newPercent: fc.constantFrom(0, 30), sessionPercent: fc.constantFrom(0, 100) },
      { requiredKeys: [] },
    ),
    affinity: fc.constantFrom([], [{ by: "connection" }]),
    connections: fc.record({ maxEntries: fc.constantFrom(1, 500) }, { requiredKeys: [] }),
    tokens: fc.record(
      {
        generator: fc.constantFrom("encrypted", "plaintext"),
        nonceBytes: fc.constantFrom(4, 12),
        lifetimeMs: fc.constantFrom(60_000, 3_600_000),
      },
      { requiredKeys: [] },
    ),
    sessions: fc.record({ maxAgeMs: fc.constantFrom(null, 60_000) }, { requiredKeys: [] }),
    drainMs: fc.constantFrom(0, 60_000),
    headerTimeoutMs: fc.constantFrom(10, 15_000),
    bodyIdleTimeoutMs: fc.constantFrom(null, 60_000),
    closeSocketsAtDeadline: fc.boolean(),
    sync: fc.record(
      { leaseMs: fc.constantFrom(10_000, 30_000), refreshMs: fc.constantFrom(500, 5_000) },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);

/** Whole pools, as they come out of the parser. */
export const POOL_DOCUMENT: fc.Arbitrary<PoolDocument> = fc
  .tuple(
    CONFIG,
    fc.uniqueArray(
      BACKEND_ID.chain((id) => BACKEND.map((backend) => ({ id, ...backend }))),
      { selector: ({ id }) => id },
    ),
  )
  .map(([config, backends]) => v.parse(PoolDocumentSchema, { ...config, backends }));

/** Some of them leave a lease shorter than two refreshes, which has to be refused. */
const POOL_PATCH: fc.Arbitrary<PoolPatch> = fc.oneof(
  CONFIG,
  fc.record({ sync: fc.record({ refreshMs: fc.constantFrom(500, 20_000) }) }),
);

const ID = { id: BACKEND_ID };

const PIN: fc.Arbitrary<PinInput> = fc.record({
  health: fc.constantFrom("healthy", "degraded", "unhealthy"),
  reason: fc.constant("looked at it"),
  forMs: fc.constantFrom(1_000, 60_000),
});

export const POOL_COMMAND: fc.Arbitrary<PoolCommand> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("put-pool"), document: POOL_DOCUMENT }) },
  fc.record({ kind: fc.constant("patch-pool"), patch: POOL_PATCH }),
  fc.record({ kind: fc.constant("delete-pool") }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("put-backend"), ...ID, backend: BACKEND }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("patch-backend"), ...ID, patch: BACKEND_PATCH }) },
  fc.record({ kind: fc.constant("remove-backend"), ...ID, force: fc.boolean() }),
  fc.record({
    kind: fc.constant("drain-backend"),
    ...ID,
    forMs: fc.constantFrom(null, 0, 5_000),
    force: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom("undrain-backend", "disable-backend", "enable-backend", "unpin-backend"),
    ...ID,
  }),
  fc.record({ kind: fc.constant("pin-backend"), ...ID, pin: PIN }),
);

/** Mostly none; the versions are those that a short run of commands may reach. */
export const PRECONDITION: fc.Arbitrary<Precondition> = fc.record({
  ifMatch: fc.oneof(
    { weight: 4, arbitrary: fc.constant(null) },
    fc.constant<"*">("*"),
    fc.array(fc.nat({ max: 6 }), { maxLength: 3 }),
  ),
  ifAbsent: fc.nat({ max: 9 }).map((roll) => roll === 0),
});
