import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import { after } from "../../durable/model/time.ts";
import { applyPoolCommand } from "../../durable/state/ring-command.ts";
import type { LiveRing } from "../../durable/state/ring-state.ts";
import { backendId, moment, NOON, pool } from "./support/build.ts";

const DISABLED = { admin: { kind: "disabled" } } as const;
const ZONE = backendId("zone");

function apply(state: LiveRing, command: PoolCommand) {
  return applyPoolCommand(state, command, {
    ...moment(NOON),
    pool: state.pool,
    precondition: { ifMatch: null, ifAbsent: false },
    birth: { incarnation: "born", secret: "" },
  });
}

const a = backendId("a");

const TAKING_OUT = [
  { kind: "drain-backend", id: a, forMs: null },
  { kind: "drain-backend", id: a, forMs: 0 },
  { kind: "drain-labelled", label: ZONE, value: "x", forMs: null },
  { kind: "disable-backend", id: a },
  { kind: "remove-backend", id: a },
] as const satisfies readonly PoolCommand[];

it.each(TAKING_OUT)(
  "refuses $kind where nobody would be left to take new traffic, unless it is forced",
  (command) => {
    const state = pool({ a: { labels: { [ZONE]: "x" } }, b: DISABLED, c: 0 });
    expect(apply(state, command)).toEqual({
      ok: false,
      refusal: {
        kind: "conflict",
        detail:
          "nobody would be left to take the new traffic of pool shop, which is a now; with force: true it is done all the same",
      },
    });
    expect(apply(state, { ...command, force: true })).toMatchObject({ ok: true });
  },
);

it.each(TAKING_OUT)("lets $kind be while another one takes new traffic, or nobody did before", (command) => {
  const labels = { [ZONE]: "x" };
  expect(apply(pool({ a: { labels }, b: 1 }), command)).toMatchObject({ ok: true });
  expect(apply(pool({ a: { labels, weight: 0 }, b: DISABLED }), command)).toMatchObject({ ok: true });
});

const PINNED = {
  kind: "pin-backend",
  pin: { health: "unhealthy", reason: "smells", forMs: 60_000 },
} as const;

it.each(TAKING_OUT)(
  "refuses $kind where nobody who is well would be left, unless it is forced",
  (command) => {
    const pinned = done(
      apply(pool({ a: { labels: { [ZONE]: "x" } }, b: 1 }), { ...PINNED, id: backendId("b") }),
    );
    expect(apply(pinned, command)).toEqual({
      ok: false,
      refusal: {
        kind: "conflict",
        detail:
          "nobody who is well would be left to take the new traffic of pool shop, which is a now; with force: true it is done all the same",
      },
    });
    expect(apply(pinned, { ...command, force: true })).toMatchObject({ ok: true });
  },
);

it.each(TAKING_OUT)("lets $kind be where it is not well itself, as long as somebody is wanted", (command) => {
  const labels = { [ZONE]: "x" };
  const oneIsWell = done(apply(pool({ a: { labels }, b: 1 }), { ...PINNED, id: a }));
  expect(apply(oneIsWell, command)).toMatchObject({ ok: true });
  const nobodyIs = done(apply(oneIsWell, { ...PINNED, id: backendId("b") }));
  expect(apply(nobodyIs, command)).toMatchObject({ ok: true });
});

it.each<PoolCommand>([
  { kind: "patch-backend", id: a, patch: { weight: 0 } },
  { kind: "patch-backend", id: a, patch: DISABLED },
  { kind: "put-pool", document: { ...pool().config, backends: [] } },
])("does what a document or a patch says without asking back: $kind", (command) => {
  expect(apply(pool({ a: 1 }), command)).toMatchObject({ ok: true });
});

it("drains all active backends of a label in one version, and takes all of that back in another", () => {
  const labels = { [ZONE]: "x" };
  const other = { admin: { kind: "draining", untilMs: after(NOON, 500) }, labels } as const;
  const state = pool({ a: { labels }, b: other, c: { ...DISABLED, labels }, d: { labels }, e: 1 });
  const drained = done(apply(state, { kind: "drain-labelled", label: ZONE, value: "x", forMs: 9_000 }));
  const until = { kind: "draining", untilMs: after(NOON, 9_000) };
  expect(drained.version).toBe(state.version + 1);
  expect(adminsOf(drained)).toEqual([until, other.admin, DISABLED.admin, until, { kind: "active" }]);
  const undrained = done(apply(drained, { kind: "undrain-labelled", label: ZONE, value: "x" }));
  expect(undrained.version).toBe(state.version + 2);
  const active = { kind: "active" };
  expect(adminsOf(undrained)).toEqual([active, active, DISABLED.admin, active, active]);
});

it("drains for as long as the pool says, and leaves the version where all are draining already", () => {
  const state = pool({ a: { labels: { [ZONE]: "x" } }, b: 1 }, { drainMs: 7_000 });
  const command = { kind: "drain-labelled", label: ZONE, value: "x", forMs: null } as const;
  const drained = done(apply(state, command));
  expect(adminsOf(drained)[0]).toEqual({ kind: "draining", untilMs: after(NOON, 7_000) });
  expect(done(apply(drained, command))).toBe(drained);
});

it.each([
  ["zone", "y"],
  ["zone", ""],
  ["release", "x"],
  ["constructor", "x"],
])("refuses a label that nobody has: %s is %j", (label, value) => {
  const state = pool({ a: { labels: { [ZONE]: "x" } }, b: 1 });
  for (const kind of ["drain-labelled", "undrain-labelled"] as const)
    expect(apply(state, { kind, label, value, forMs: 0 })).toEqual({
      ok: false,
      refusal: {
        kind: "not-found",
        detail: `pool shop has no backend whose label ${label} is ${value}`,
      },
    });
});

it("never leaves a pool without anybody who takes new traffic that had somebody, whatever is asked without force", () => {
  const id = fc.constantFrom(a, backendId("b"), backendId("c"));
  const command: fc.Arbitrary<PoolCommand> = fc.oneof(
    fc.record({ kind: fc.constant("drain-backend" as const), id, forMs: fc.constantFrom(0, 5_000) }),
    fc.record({ kind: fc.constant("disable-backend" as const), id }),
    fc.record({ kind: fc.constant("enable-backend" as const), id }),
    fc.record({ kind: fc.constant("remove-backend" as const), id }),
    fc.record({
      kind: fc.constant("drain-labelled" as const),
      label: fc.constant(ZONE),
      value: fc.constantFrom("x", "y"),
      forMs: fc.constant(0),
    }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 12 }), (commands) => {
      let state = pool({
        a: { labels: { [ZONE]: "x" } },
        b: { labels: { [ZONE]: "x" } },
        c: { labels: { [ZONE]: "y" } },
      });
      for (const each of commands) {
        const result = apply(state, each);
        if (result.ok && result.value.state.kind === "live") state = result.value.state;
        expect(state.backends.some(({ admin, weight }) => admin.kind === "active" && weight > 0)).toBe(true);
      }
    }),
  );
});

function done(result: ReturnType<typeof apply>): LiveRing {
  if (!result.ok || result.value.state.kind !== "live") throw new Error(JSON.stringify(result));
  return result.value.state;
}

function adminsOf({ backends }: LiveRing): readonly unknown[] {
  return backends.map(({ admin }) => admin);
}
