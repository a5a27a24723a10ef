import { describe, expect, it } from "vitest";
import { type BackendPatch, BackendPatchSchema } from "../../durable/model/backend.ts";
import type { PoolCommand } from "../../durable/model/command.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { parse } from "../../durable/model/parse.ts";
import { accepted, backend, type HeldRing, id, pool, refused, ring } from "./support.ts";

describe("a whole pool", () => {
  it("is made, and shown as it was written with every default filled in", async () => {
    const held = ring("commands-make");
    const document = pool({ a: 5, b: { weight: 1, labels: { zone: "west" } } }, { drainMs: 1_000 });
    expect(await held.do({ kind: "put-pool", document })).toMatchObject({ version: 1, created: true });
    const backends = document.backends.map((listed) => ({ ...listed, admin: { kind: "active" } }));
    expect(await held.view()).toEqual({ version: 1, document: { ...document, backends } });
  });

  it("is replaced in one version: backends added, changed and gone, and its configuration", async () => {
    const held = ring("commands-replace");
    await held.put({ a: 5, b: 1 }, { drainMs: 1_000 });
    const applied = await held.put({ b: 2, c: 3 }, { policy: "rendezvous" });
    expect(applied).toMatchObject({ version: 2, created: false });
    expect(applied.changes).toEqual([
      { path: "policy", before: "round_robin", after: "rendezvous" },
      { path: "drainMs", before: 1_000, after: 300_000 },
      { path: "backends.a", before: expect.objectContaining({ weight: 5 }), after: null },
      { path: "backends.b.weight", before: 1, after: 2 },
      { path: "backends.c", before: null, after: expect.objectContaining({ weight: 3 }) },
    ]);
    expect(await weights(held)).toEqual({ b: 2, c: 3 });
  });

  it("is not said to be made when it is replaced by one with a backend more", async () => {
    const held = ring("commands-replace-grow");
    await held.put({ a: 1 });
    expect(await held.put({ a: 1, b: 1 })).toMatchObject({ version: 2, created: false });
  });

  it("is stored whole: an eviction brings back no backend of the one before", async () => {
    const held = ring("commands-replace-evicted");
    await held.put({ a: 5, b: 1, c: 1 });
    await held.put({ c: 7, d: 1 });
    await held.evict();
    expect(await weights(held)).toEqual({ c: 7, d: 1 });
  });

  it("changes the fields of its configuration that a patch names, and no others", async () => {
    const held = ring("commands-patch");
    await held.put({ a: 1 }, { drainMs: 1_000, sync: { waitMs: 700 } });
    const { document: before } = await held.view();
    const applied = await held.do({
      kind: "patch-pool",
      patch: { policy: "rendezvous", sync: { leaseMs: 60_000 } },
    });
    expect(applied).toMatchObject({ version: 2, created: false });
    const sync = { ...before.sync, leaseMs: 60_000 };
    expect((await held.view()).document).toEqual({ ...before, policy: "rendezvous", sync });
  });

  it("refuses a patch that is wrong only together with what is held", async () => {
    const held = ring("commands-patch-relation");
    await held.put({ a: 1 }, { sync: { leaseMs: 10_000 } });
    const before = await held.view();
    const refusal = refused(await held.apply({ kind: "patch-pool", patch: { sync: { refreshMs: 6_000 } } }));
    expect(refusal).toMatchObject({ kind: "invalid", errors: [{ field: "sync" }] });
    expect(await held.view()).toEqual(before);
  });

  it("is gone when it is deleted, from the view, the status and what isolates get", async () => {
    const held = ring("commands-delete");
    await held.put({ a: 1 });
    expect(await held.do({ kind: "delete-pool" })).toMatchObject({ version: 2, created: false });
    await held.evict();
    expect(refused(await held.tryView())).toMatchObject({ kind: "not-found" });
    await expect(held.status()).rejects.toThrow("not-found");
    expect(accepted(await held.sync())).toEqual({ kind: "absent" });
  });

  it("is another one when it is made again: it goes on counting, under a new incarnation and secret", async () => {
    const held = ring("commands-again");
    await held.put({ a: 1 });
    const first = await held.published();
    await held.do({ kind: "delete-pool" });
    await held.evict();
    expect(await held.put({ a: 1 })).toMatchObject({ version: 3, created: true });
    const second = await held.published();
    expect(second.version).toBe(3);
    expect(second.incarnation).not.toBe(first.incarnation);
    expect(second.secret).not.toBe(first.secret);
  });
});

describe("one backend", () => {
  it("is added last", async () => {
    const held = ring("commands-add");
    await held.put({ b: 1 });
    const applied = await held.do({ kind: "put-backend", id: id("a"), backend: backend(3) });
    expect(applied).toMatchObject({
      version: 2,
      created: true,
      changes: [{ path: "backends.a", before: null }],
    });
    expect(await weights(held)).toEqual({ b: 1, a: 3 });
    expect(await order(held)).toEqual(["b", "a"]);
  });

  it("is replaced: what is left out goes back to its default, but not what is wanted of it", async () => {
    const held = ring("commands-replace-one");
    await held.put({ a: { weight: 5, labels: { zone: "west" } }, b: 1 });
    await held.do({ kind: "disable-backend", id: id("a") });
    const applied = await held.do({ kind: "put-backend", id: id("a"), backend: backend() });
    expect(applied).toMatchObject({ version: 3, created: false });
    expect((await held.view()).document.backends[0]).toMatchObject({
      id: "a",
      weight: 1,
      labels: {},
      admin: { kind: "disabled" },
    });
  });

  it("is patched: what is left out stays", async () => {
    const held = ring("commands-patch-one");
    await held.put({ a: { weight: 5, labels: { zone: "west" } } });
    const applied = await held.do({ kind: "patch-backend", id: id("a"), patch: patch({ weight: 7 }) });
    expect(applied.changes).toEqual([{ path: "backends.a.weight", before: 5, after: 7 }]);
    expect((await held.view()).document.backends[0]).toMatchObject({ weight: 7, labels: { zone: "west" } });
  });

  it("is removed, and the others keep their order", async () => {
    const held = ring("commands-remove");
    await held.put({ a: 1, b: 2, c: 3 });
    expect(await held.do({ kind: "remove-backend", id: id("b") })).toMatchObject({
      version: 2,
      created: false,
    });
    await held.evict();
    expect(await order(held)).toEqual(["a", "c"]);
  });

  it("gets nothing while it is disabled, and everything when it is enabled again", async () => {
    const held = ring("commands-disable");
    await held.put({ a: 1, b: 1 });
    await held.do({ kind: "disable-backend", id: id("a") });
    expect(await held.admits()).toEqual({ a: "none", b: "new" });
    await held.do({ kind: "enable-backend", id: id("a") });
    expect(await held.admits()).toEqual({ a: "new", b: "new" });
  });

  it("gets existing sessions only when its weight is 0", async () => {
    const held = ring("commands-weight-0");
    await held.put({ a: 0, b: 1 });
    expect(await held.admits()).toEqual({ a: "sticky", b: "new" });
  });

  it.each<[string, PoolCommand]>([
    [
      "put-pool",
      { kind: "put-pool", document: pool({ a: 1, b: { weight: 9, url: "http://new.example" }, c: 1 }) },
    ],
    [
      "put-backend",
      { kind: "put-backend", id: id("b"), backend: backend({ weight: 9, url: "http://new.example" }) },
    ],
    [
      "patch-backend",
      { kind: "patch-backend", id: id("b"), patch: patch({ weight: 9, url: "http://new.example" }) },
    ],
  ])("keeps its place and what is wanted of it when %s changes its weight and URL", async (name, command) => {
    const held = ring("commands-keep", name);
    await held.put({ a: 1, b: 1, c: 1 });
    await held.drain("b", 3_600_000);
    const admin = (await held.view()).document.backends[1]?.admin;
    await held.do(command);
    expect(await order(held)).toEqual(["a", "b", "c"]);
    expect((await held.view()).document.backends[1]).toMatchObject({
      weight: 9,
      url: "http://new.example",
      admin,
    });
    expect(await held.admits()).toEqual({ a: "new", b: "sticky", c: "new" });
  });

  it("is refused when it would be one too many", async () => {
    const held = ring("commands-too-many");
    await held.put(
      Object.fromEntries(Array.from({ length: LIMITS.backendsPerPool }, (_, n) => [`b${n}`, 1])),
    );
    const before = await held.view();
    const refusal = refused(await held.apply({ kind: "put-backend", id: id("more"), backend: backend() }));
    expect(refusal).toMatchObject({ kind: "invalid", errors: [{ field: "backends", value: 1_001 }] });
    expect(await held.view()).toEqual(before);
  });
});

describe("a command that changes nothing", () => {
  it.each<[string, PoolCommand]>([
    ["put-pool", { kind: "put-pool", document: pool({ a: 5, b: { admin: { kind: "disabled" } } }) }],
    ["patch-pool", { kind: "patch-pool", patch: { policy: "round_robin", sync: { leaseMs: 30_000 } } }],
    ["put-backend", { kind: "put-backend", id: id("a"), backend: backend(5, "a") }],
    ["patch-backend", { kind: "patch-backend", id: id("a"), patch: patch({ weight: 5 }) }],
    ["undrain-backend", { kind: "undrain-backend", id: id("a") }],
    ["enable-backend", { kind: "enable-backend", id: id("a") }],
    ["disable-backend", { kind: "disable-backend", id: id("b") }],
  ])("makes no version and reports no change: %s", async (name, command) => {
    const held = ring("commands-idle", name);
    await held.put({ a: 5, b: { admin: { kind: "disabled" } } });
    expect(await held.do(command)).toEqual({ version: 1, created: false, changes: [] });
    expect(await held.do(command)).toEqual({ version: 1, created: false, changes: [] });
    expect((await held.view()).version).toBe(1);
  });
});

describe("a refused command", () => {
  it.each<[string, PoolCommand]>([
    ["patch-pool", { kind: "patch-pool", patch: { drainMs: 1 } }],
    ["delete-pool", { kind: "delete-pool" }],
    ["put-backend", { kind: "put-backend", id: id("a"), backend: backend() }],
    ["remove-backend", { kind: "remove-backend", id: id("a") }],
    ["drain-backend", { kind: "drain-backend", id: id("a"), forMs: null }],
  ])("names the pool that does not exist: %s", async (name, command) => {
    const held = ring("commands-no-pool", name);
    const detail = `pool ${held.name} does not exist`;
    expect(refused(await held.apply(command))).toEqual({ kind: "not-found", detail });
    expect(refused(await held.tryView())).toMatchObject({ kind: "not-found" });
  });

  it.each<PoolCommand>([
    { kind: "patch-backend", id: id("x"), patch: patch({ weight: 5 }) },
    { kind: "remove-backend", id: id("x") },
    { kind: "drain-backend", id: id("x"), forMs: 0 },
    { kind: "undrain-backend", id: id("x") },
    { kind: "disable-backend", id: id("x") },
    { kind: "enable-backend", id: id("x") },
  ])("names the backend that does not exist: $kind", async (command) => {
    const held = ring("commands-no-backend", command.kind);
    await held.put({ a: 1 });
    const detail = `pool ${held.name} has no backend x`;
    expect(refused(await held.apply(command))).toEqual({ kind: "not-found", detail });
    expect(await held.view()).toMatchObject({ version: 1, document: { backends: [{ id: "a" }] } });
  });

  it.each<[string, PoolCommand]>([
    ["disabled", { kind: "drain-backend", id: id("disabled"), forMs: null }],
    ["disabled", { kind: "undrain-backend", id: id("disabled") }],
    ["draining", { kind: "enable-backend", id: id("draining") }],
  ])("says what the backend is: one that is %s", async (state, command) => {
    const held = ring("commands-conflict", command.kind);
    await held.put({ disabled: { admin: { kind: "disabled" } }, draining: 1 });
    await held.drain("draining", 3_600_000);
    const before = [await held.view(), await held.alarmAtMs()];
    expect(refused(await held.apply(command))).toMatchObject({
      kind: "conflict",
      detail: expect.stringContaining(`is ${state}`),
    });
    expect([await held.view(), await held.alarmAtMs()]).toEqual(before);
  });
});

function patch(fields: object): BackendPatch {
  return accepted(parse(BackendPatchSchema, fields));
}

async function order(held: HeldRing): Promise<string[]> {
  return (await held.view()).document.backends.map((listed) => listed.id);
}

async function weights(held: HeldRing): Promise<Record<string, number>> {
  const { document } = await held.view();
  return Object.fromEntries(document.backends.map((listed) => [listed.id, listed.weight]));
}
