import * as fc from "fast-check";
import * as v from "valibot";
import { expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import { PoolDocumentSchema } from "../../durable/model/pool.ts";
import { backendId } from "./support/build.ts";
import { type TokenStep, TokenWorld } from "./support/token-world.ts";

const ID = fc.constantFrom("a", "b", "c", "d").map(backendId);
const BACKEND = { url: "https://new.example", weight: 1, via: null, labels: {}, priority: 0 };

/** Whole pools of some of the backends, with settings at their defaults or a short lifetime. */
const DOCUMENT = fc.tuple(fc.uniqueArray(ID), fc.constantFrom(60_000, 86_400_000)).map(([ids, lifetimeMs]) =>
  v.parse(PoolDocumentSchema, {
    tokens: { lifetimeMs },
    backends: ids.map((id) => ({ id, url: BACKEND.url })),
  }),
);

const PATCH = fc.oneof(
  fc.record({
    tokens: fc.record(
      {
        nonceBytes: fc.constantFrom(8, 12),
        lifetimeMs: fc.constantFrom(60_000, 600_000, 3_600_000),
        rotateEveryMs: fc.constantFrom(null, 3_600_000),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    sync: fc.record(
      { leaseMs: fc.constantFrom(10_000, 60_000), maxStaleMs: fc.constantFrom(0, 600_000) },
      { requiredKeys: [] },
    ),
  }),
);

const COMMAND: fc.Arbitrary<PoolCommand> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<PoolCommand>({ kind: "rotate-keys" }) },
  fc.record({ kind: fc.constant("put-backend"), id: ID, backend: fc.constant(BACKEND) }),
  fc.record({ kind: fc.constant("remove-backend"), id: ID }),
  fc.record({ kind: fc.constant("put-pool"), document: DOCUMENT }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("patch-pool"), patch: PATCH }) },
);

const STEP: fc.Arbitrary<TokenStep> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("command"), command: COMMAND }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("sync"),
      isolate: fc.nat({ max: 2 }),
      isLost: fc.nat({ max: 4 }).map((roll) => roll === 0),
    }),
  },
  { weight: 3, arbitrary: fc.constant<TokenStep>({ kind: "alarm" }) },
  fc.constant<TokenStep>({ kind: "restart" }),
);

const AFTER_MS = fc.constantFrom(0, 1, 500, 5_000, 11_000, 35_000, 130_000, 700_000, 3_600_000);
const STEPS = fc.array(fc.tuple(STEP, AFTER_MS), { maxLength: 60, size: "max" });

it("lets every isolate that holds a lease read what any writes, and gives up no key or server id before its last token", () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const world = new TokenWorld(3);
      for (const [step, afterMs] of steps) world.take(step, afterMs);
      expect(world.broken).toEqual([]);
    }),
    { numRuns: 400 },
  );
});

it("comes to rest: woken at its deadlines alone, it finishes every rotation and frees every server id", () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const world = new TokenWorld(3);
      for (const [step, afterMs] of steps) world.take(step, afterMs);
      world.take({
        kind: "command",
        command: { kind: "patch-pool", patch: { tokens: { rotateEveryMs: null } } },
      });
      let alarms = 0;
      for (
        let deadlineMs = world.deadlineMs;
        deadlineMs !== null && alarms < 100;
        deadlineMs = world.deadlineMs
      ) {
        const { version } = world.ring;
        world.take({ kind: "alarm" }, Math.max(0, deadlineMs - world.nowMs));
        expect(world.ring.version).toBe(version + 1);
        alarms++;
      }
      expect(world.ring.tokens).toMatchObject({ configs: [{ phase: { kind: "writing" } }], reserved: [] });
      expect(world.broken).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
