import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import { backend, freezeTime, id, pass, pool, refused, ring } from "./support.ts";

const heavier: PoolCommand = { kind: "patch-backend", id: id("a"), patch: { weight: 9 } };
const whole: PoolCommand = { kind: "put-pool", document: pool({ a: 9 }) };

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

describe("If-Match", () => {
  it.each<[string, PoolCommand]>([
    ["put-pool", whole],
    ["patch-pool", { kind: "patch-pool", patch: { drainMs: 1 } }],
    ["put-backend", { kind: "put-backend", id: id("a"), backend: backend(9) }],
    ["patch-backend", heavier],
    ["remove-backend", { kind: "remove-backend", id: id("a") }],
    ["drain-backend", { kind: "drain-backend", id: id("a"), forMs: 60_000 }],
    ["disable-backend", { kind: "disable-backend", id: id("a") }],
    ["delete-pool", { kind: "delete-pool" }],
  ])("of another version refuses %s, and nothing changes", async (name, command) => {
    const held = ring("if-match-stale", name);
    await held.put({ a: 1 });
    await held.put({ a: 2 });
    const before = await held.view();
    const refusal = refused(await held.apply(command, { ifMatch: [1] }));
    expect(refusal).toEqual({ kind: "stale-version", expected: "1", actual: "2" });
    await held.evict();
    expect([await held.view(), await held.alarmAtMs()]).toEqual([before, null]);
  });

  it.each([
    ["of the present version", [1]],
    ["of several, one of them the present", [7, 1, 9]],
    ["of any", "*" as const],
  ])("%s lets a change through", async (what, ifMatch) => {
    const held = ring("if-match", what);
    await held.put({ a: 1 });
    expect(await held.apply(heavier, { ifMatch })).toMatchObject({ ok: true, value: { version: 2 } });
  });

  it.each([
    ["a version", [0], "0"],
    ["several", [3, 4], "3 or 4"],
    ["any", "*" as const, "any"],
  ])("refuses to make a pool that was expected to be there: %s", async (what, ifMatch, expected) => {
    const held = ring("if-match-absent", what);
    const refusal = refused(await held.apply(whole, { ifMatch }));
    expect(refusal).toEqual({ kind: "stale-version", expected, actual: "none" });
    expect(refused(await held.tryView())).toMatchObject({ kind: "not-found" });
  });

  it("refuses to make a backend that was expected to be there", async () => {
    const held = ring("if-match-absent-backend");
    await held.put({ a: 1 });
    const added: PoolCommand = { kind: "put-backend", id: id("b"), backend: backend() };
    expect(refused(await held.apply(added, { ifMatch: "*" }))).toMatchObject({ actual: "none" });
    expect((await held.view()).version).toBe(1);
  });

  it("lets exactly one of several changes through that come together", async () => {
    const held = ring("if-match-together");
    await held.put({ a: 1 });
    const results = await Promise.all(
      [2, 3, 4, 5].map((weight) => held.apply({ ...heavier, patch: { weight } }, { ifMatch: [1] })),
    );
    expect(results.filter((result) => result.ok)).toHaveLength(1);
    expect((await held.view()).version).toBe(2);
  });

  it("of the version before a drain's deadline is stale after it, alarm or no alarm", async () => {
    const held = ring("if-match-deadline");
    await held.put({ a: 1 });
    const { version } = await held.drain("a", 60_000);
    pass(60_000);
    const refusal = refused(await held.apply(heavier, { ifMatch: [version] }));
    expect(refusal).toMatchObject({ kind: "stale-version", actual: String(version + 1) });
  });
});

describe("If-None-Match: *", () => {
  it("makes a pool only where there is none", async () => {
    const held = ring("if-none-match-pool");
    expect(await held.apply(whole, { ifAbsent: true })).toMatchObject({ ok: true, value: { created: true } });
    const refusal = refused(await held.apply(whole, { ifAbsent: true }));
    expect(refusal).toEqual({ kind: "stale-version", expected: "none", actual: "1" });
    expect((await held.view()).version).toBe(1);
  });

  it("makes a pool where one was deleted", async () => {
    const held = ring("if-none-match-deleted");
    await held.put({ a: 1 });
    await held.do({ kind: "delete-pool" });
    expect(await held.apply(whole, { ifAbsent: true })).toMatchObject({ ok: true, value: { version: 3 } });
  });

  it("adds a backend only where there is none", async () => {
    const held = ring("if-none-match-backend");
    await held.put({ a: 1 });
    const added: PoolCommand = { kind: "put-backend", id: id("b"), backend: backend(3) };
    expect(await held.apply(added, { ifAbsent: true })).toMatchObject({ ok: true, value: { created: true } });
    expect(refused(await held.apply(added, { ifAbsent: true }))).toMatchObject({ kind: "stale-version" });
    expect((await held.view()).version).toBe(2);
  });
});
