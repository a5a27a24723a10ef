import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import type { PoolPatch } from "../../durable/model/pool.ts";
import type { Tokens } from "../../durable/model/token.ts";
import { backendId, pool } from "./support/build.ts";
import { SessionModel } from "./support/session-model.ts";
import { poolConfig } from "./support/visit.ts";
import { type Step, World } from "./support/world.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const LIFETIME_MS = fc.constantFrom(MINUTE_MS, 10 * MINUTE_MS, DAY_MS);

const ID = fc.constantFrom("a", "b", "c", "d", "e", "f", "g").map(backendId);

/** Changes of the pool under which every session is to stay, as long as tokens are asked for first. */
const PATCH: fc.Arbitrary<PoolPatch> = fc.oneof(
  fc.record({ policy: fc.constantFrom("round_robin", "rendezvous") }),
  fc.record({
    affinity: fc.constantFrom(
      [{ by: "token" }],
      [{ by: "token" }, { by: "connection" }],
      [{ by: "token" }, { by: "address" }],
    ),
  }),
  fc.record({
    tokens: fc.record(
      {
        generator: fc.constantFrom("encrypted", "plaintext", "regional"),
        serverIdBytes: fc.constantFrom(2, 4),
        nonceBytes: fc.constantFrom(8, 12),
        lifetimeMs: LIFETIME_MS,
        rotateEveryMs: fc.constantFrom(null, 12 * HOUR_MS),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    sessions: fc.record({
      lost: fc.record(
        {
          drained: fc.constantFrom("sticky", "temporary", "refuse"),
          removed: fc.constantFrom("sticky", "temporary", "refuse"),
        },
        { requiredKeys: [] },
      ),
    }),
  }),
  fc.record({
    sync: fc.record(
      {
        leaseMs: fc.constantFrom(10_000, MINUTE_MS),
        maxStaleMs: fc.constantFrom(0, 10 * MINUTE_MS, HOUR_MS),
      },
      { requiredKeys: [] },
    ),
  }),
);

const WEIGHT = fc.constantFrom(0, 1, 5, 25);

const COMMAND: fc.Arbitrary<PoolCommand> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("put-backend"),
      id: ID,
      backend: fc.record({
        url: fc.constant("https://new.example"),
        weight: WEIGHT,
        via: fc.constant(null),
        labels: fc.constantFrom({}, { region: "eu" }, { region: "us" }),
        priority: fc.constantFrom(0, 0, 0, 1),
      }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove-backend"), id: ID, force: fc.boolean() }) },
  fc.record({ kind: fc.constant("patch-backend"), id: ID, patch: fc.record({ weight: WEIGHT }) }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("drain-backend"),
      force: fc.boolean(),
      id: ID,
      forMs: fc.constantFrom(null, 0, 2_000, MINUTE_MS, DAY_MS),
    }),
  },
  fc.record({ kind: fc.constant("undrain-backend"), id: ID }),
  fc.record({ kind: fc.constant("disable-backend"), id: ID, force: fc.boolean() }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("enable-backend"), id: ID }) },
  { weight: 3, arbitrary: fc.constant<PoolCommand>({ kind: "rotate-keys" }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("patch-pool"), patch: PATCH }) },
);

const ISOLATE = fc.nat({ max: 3 });

/** Everything that may happen while every isolate that serves has reached the ring in time. */
function steps(count: number): readonly fc.WeightedArbitrary<Step>[] {
  return [
    { weight: 10, arbitrary: fc.record({ kind: fc.constant("command"), command: COMMAND }) },
    {
      weight: 10,
      arbitrary: fc.record({
        kind: fc.constant("wait"),
        forMs: fc.oneof(
          {
            weight: 9,
            arbitrary: fc.constantFrom(1, 700, 1_100, 5_100, 5_100, 11_000, 29_000, 35_000, 70_000),
          },
          { weight: 2, arbitrary: fc.constantFrom(130_000, 10 * MINUTE_MS) },
          { weight: 1, arbitrary: fc.constantFrom(HOUR_MS, 11 * HOUR_MS, 3 * DAY_MS) },
        ),
      }),
    },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: "alarm" }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: "evict" }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart"), isolate: ISOLATE }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose"), isolate: ISOLATE }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("delay"), isolate: ISOLATE }) },
    {
      weight: 14,
      arbitrary: fc.record({ kind: fc.constant("visits"), seed: fc.nat(), count: fc.constant(count) }),
    },
  ];
}

const CUT: fc.WeightedArbitrary<Step> = {
  weight: 2,
  arbitrary: fc.record({ kind: fc.constant("cut"), isolate: ISOLATE }),
};

function listOf(
  arbitraries: readonly fc.WeightedArbitrary<Step>[],
  minLength: number,
  maxLength: number,
): fc.Arbitrary<Step[]> {
  return fc.array(fc.oneof(...arbitraries), { minLength, maxLength, size: "max" });
}

interface Played {
  readonly world: World;
  readonly model: SessionModel;
}

/** Every session begins, then the steps are taken. */
function play(
  taken: readonly Step[],
  sessions: number,
  tokens: Partial<Tokens> = {},
  hashBalanceFactor: number | null = null,
): Played {
  const model = new SessionModel();
  const config = poolConfig({ affinity: [{ by: "token" }, { by: "connection" }], tokens, hashBalanceFactor });
  const ring = pool({ a: 1, b: 1, c: 2 }, config);
  const world = new World({ ring, isolates: 4, sessions, witness: model });
  world.visitAll(0);
  for (const step of taken) world.take(step);
  return { world, model };
}

function command(told: PoolCommand): Step {
  return { kind: "command", command: told };
}

function add(id: string): Step {
  const backend = { url: "https://new.example", weight: 1000, via: null, labels: {}, priority: 0 };
  return command({ kind: "put-backend", id: backendId(id), backend });
}

// With a bound on the load of hashed keys, what places lost sessions is a picker of its own.
it.each([null, 150])(
  "moves no session that carries a readable token, whatever operators, isolates and networks do, with a bound of %s",
  (hashBalanceFactor) => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(listOf([...steps(12), CUT], 0, 80), LIFETIME_MS, (taken, lifetimeMs) => {
        const { model } = play(taken, 12, { lifetimeMs }, hashBalanceFactor);
        expect(model.broken).toEqual([]);
        for (const [what, count] of Object.entries(model.seen)) seen.set(what, (seen.get(what) ?? 0) + count);
      }),
      { numRuns: 400 },
    );
    expect([...seen].filter(([, count]) => count === 0)).toEqual([]);
  },
);

it("reads every living token at every isolate, as long as each that serves has reached the ring in time", () => {
  fc.assert(
    fc.property(listOf(steps(12), 0, 80), LIFETIME_MS, (taken, lifetimeMs) => {
      const { model } = play(taken, 12, { lifetimeMs });
      expect(model.broken).toEqual([]);
      expect(model.seen.unread).toBe(0);
    }),
    { numRuns: 400 },
  );
});

it("keeps its promise to thousands of sessions at once", () => {
  fc.assert(
    fc.property(listOf([...steps(1_500), CUT], 40, 60), (taken) => {
      const { model, world } = play(taken, 2_400);
      expect(model.broken.slice(0, 3)).toEqual([]);
      expect(world.sessions).toBeGreaterThan(2_000);
    }),
    // Shrinking would take longer than the test may.
    { numRuns: 12, endOnFailure: true },
  );
});

it("never lets a session in regular use expire, through rotations and evictions of the ring", () => {
  fc.assert(
    fc.property(
      LIFETIME_MS,
      fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), fc.boolean()), {
        minLength: 12,
        maxLength: 30,
        size: "max",
      }),
      (lifetimeMs, rounds) => {
        const { world, model } = play([], 20, { lifetimeMs });
        for (const [round, [share, isRotated, isEvicted]] of rounds.entries()) {
          if (isRotated) world.take(command({ kind: "rotate-keys" }));
          if (isEvicted) world.take({ kind: "evict" });
          world.take({ kind: "wait", forMs: Math.floor(share * (lifetimeMs / 2 - 1_000)) }).visitAll(round);
        }
        expect(model.broken).toEqual([]);
        expect(model.seen.begun).toBe(20);
      },
    ),
    { numRuns: 100 },
  );
});

it("loses no session when every isolate is gone at once, and the ring too", () => {
  const restarts = [0, 1, 2, 3].map((isolate): Step => ({ kind: "restart", isolate }));
  const { world, model } = play([...restarts, { kind: "evict" }], 2_400);
  world.visitAll(1);
  expect(model.broken).toEqual([]);
  expect(model.seen).toMatchObject({ begun: 2_400, kept: 2_400, lost: 0, unread: 0 });
});

/*
 *   isolate 1    v7, asks → v8, begins a session on d
 *   isolate 0    v7 ────────────────────────────────── "a backend that I do not have"
 *
 * An isolate took the sessions of a backend that it had yet to hear of for those of a removed one, and moved them for good.
 */
it("leaves a session to a backend that the isolate has yet to hear of", () => {
  const { world, model } = play([add("d"), { kind: "restart", isolate: 1 }], 4);
  beginAtOneUseAtZero(world);
  expect(model.broken).toEqual([]);
  expect(model.seen).toMatchObject({ unborn: 4 });
});

/*
 *   ring         b removed ── reserved ── free, d gets its server id
 *   isolate 1                                  asks, begins a session on d
 *   isolate 0                        asks ────────────────────────────────── "a session of b, which was removed"
 *
 * A server id was given out again while isolates still listed it as that of a removed backend.
 */
it("leaves a session to a newcomer when the isolate knows the server id as a removed backend's", () => {
  const { world, model } = play([command({ kind: "remove-backend", id: backendId("b") })], 4, SHORT);
  const shortlyBefore = wait((world.dueInMs ?? 0) - 1_000);
  world.take(shortlyBefore).visitAll(0).take(wait(1_000)).take(add("d"));
  world.take({ kind: "restart", isolate: 1 });
  beginAtOneUseAtZero(world);
  expect(model.broken).toEqual([]);
  expect(model.seen).toMatchObject({ unborn: 3 });
});

/*
 *   ring         0 1 2 3 4 5 ── 1 2 3 4 5 6 ── 2 3 4 5 6 0'
 *   isolate 0    0 1 2 3 4 5, out of the ring's reach ──────── "of configuration 0, and the MAC is wrong"
 *
 * A codepoint was used again while isolates that served without the ring still held the configuration it had named.
 */
it("leaves a token alone whose codepoint the isolate knows from a configuration that is gone", () => {
  const { world, model } = play([], 4, SHORT);
  for (let rotation = 0; rotation < 5; rotation++) rotate(world);
  world
    .take(wait((world.dueInMs ?? 0) - 1_000))
    .visitAll(0)
    .take({ kind: "cut", isolate: 0 });
  for (let rotation = 0; rotation < 3; rotation++) rotate(world);
  beginAtOneUseAtZero(world);
  expect(model.broken).toEqual([]);
  expect(model.seen).toMatchObject({ unread: 4 });
});

const SHORT = { lifetimeMs: MINUTE_MS };

function wait(forMs: number): Step {
  return { kind: "wait", forMs };
}

/** New keys, and time enough to spread them: longer than a lease, with every isolate in use. */
function rotate(world: World): void {
  world.take(command({ kind: "rotate-keys" }));
  for (let round = 0; round < 7; round++) world.take(wait(11_000)).visitAll(0);
}

/** Four clients begin anew at isolate 1, come to isolate 0, and back. */
function beginAtOneUseAtZero(world: World): void {
  for (const session of [0, 1, 2, 3]) {
    world.take({ kind: "forget", session });
    world.visit(session, 1).visit(session, 0).visit(session, 1);
  }
}
