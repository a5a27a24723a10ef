import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DirectoryCommand } from "../../durable/model/command.ts";
import type { RoutePatch } from "../../durable/model/route.ts";
import {
  accepted,
  directory,
  freezeTime,
  type HeldDirectory,
  pass,
  poolName,
  refused,
  route,
  routeId,
} from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

describe("a directory nobody has written to", () => {
  it("has a name, version 1, no pool and no route", async () => {
    const held = directory("directory-new");
    expect(await held.view()).toMatchObject({
      version: 1,
      deployment: expect.stringMatching(/^ringmaster-[0-9a-f]{8}$/),
      pools: [],
      routes: [],
    });
  });

  it("keeps its name and incarnation through an eviction, though nothing was ever changed", async () => {
    const held = directory("directory-name");
    const [view, published] = [await held.view(), await held.published()];
    await held.evict();
    expect((await held.view()).deployment).toBe(view.deployment);
    expect(await held.published()).toEqual(published);
  });

  it("shows its secret to isolates alone", async () => {
    const held = directory("directory-secret");
    const { secret } = await held.published();
    expect(JSON.stringify(await held.view())).not.toContain(secret);
  });

  // A directory as it was stored before routes could be splits.
  it("gets a secret when it was stored without one, once, in a version of its own", async () => {
    const held = directory("directory-upgrade");
    await put(held, "r", { path: "/a" });
    const before = await held.view();
    await held.inside(({ sql }) => void sql.exec("UPDATE head SET json = json_remove(json, '$.secret')"));
    await held.evict();
    const upgraded = await held.published();
    expect(upgraded).toMatchObject({
      version: before.version + 1,
      secret: expect.stringMatching(/^[0-9a-f]{32}$/),
      routes: before.routes,
      deployment: before.deployment,
    });
    await held.evict();
    expect(await held.published()).toEqual(upgraded);
  });

  it("has another name than the next one", async () => {
    const [one, other] = [await directory("directory-one").view(), await directory("directory-other").view()];
    expect(one.deployment).not.toBe(other.deployment);
  });
});

describe("a route", () => {
  it("is made, and shown with every default filled in", async () => {
    const held = await directoryOf("route-make", "api");
    const applied = await put(held, "r", { host: "api.example.com", path: "/v1/", pool: "api" });
    expect(applied).toMatchObject({
      version: 3,
      created: true,
      changes: [{ path: "routes.r", before: null }],
    });
    expect((await held.view()).routes).toEqual([
      { id: "r", host: "api.example.com", path: "/v1", headers: [], pool: "api" },
    ]);
  });

  it("may name the pool default before anyone makes it", async () => {
    const held = directory("route-default");
    expect(await put(held, "r", { pool: "default" })).toMatchObject({ version: 2, created: true });
  });

  it("is replaced in its place: what is left out is gone", async () => {
    const held = directory("route-replace");
    await put(held, "first", { path: "/a", policy: "rendezvous", headerTimeoutMs: 100 });
    await put(held, "second", { path: "/b" });
    const applied = await put(held, "first", { path: "/c" });
    expect(applied).toMatchObject({ version: 4, created: false });
    expect((await held.view()).routes).toEqual([
      { id: "first", path: "/c", headers: [], pool: "default" },
      { id: "second", path: "/b", headers: [], pool: "default" },
    ]);
  });

  it("is patched: what is left out stays, and null takes a field away", async () => {
    const held = directory("route-patch");
    await put(held, "r", { path: "/a", policy: "rendezvous", headerTimeoutMs: 100 });
    const applied = await held.do(patch("r", { policy: null, headerTimeoutMs: 200 }));
    expect(applied).toMatchObject({ version: 3, created: false });
    expect((await held.view()).routes).toEqual([
      { id: "r", path: "/a", headers: [], pool: "default", headerTimeoutMs: 200 },
    ]);
  });

  it("is removed", async () => {
    const held = directory("route-remove");
    await put(held, "r", { path: "/a" });
    expect(await held.do({ kind: "remove-route", id: routeId("r") })).toMatchObject({
      version: 3,
      created: false,
    });
    expect((await held.view()).routes).toEqual([]);
  });

  it("makes no version when it is put or patched as it is", async () => {
    const held = directory("route-idle");
    await put(held, "r", { path: "/a", methods: ["GET", "PUT"] });
    expect(await put(held, "r", { path: "/a", methods: ["GET", "PUT"] })).toMatchObject({
      version: 2,
      changes: [],
    });
    expect(await held.do(patch("r", { path: "/a", host: null }))).toMatchObject({ version: 2, changes: [] });
    expect((await held.view()).version).toBe(2);
  });

  it.each<[string, DirectoryCommand, object]>([
    [
      "a pool that does not exist",
      { kind: "put-route", id: routeId("r"), route: route({ pool: "nowhere" }) },
      { kind: "invalid", errors: [{ field: "pool", value: "nowhere" }] },
    ],
    [
      "a patch towards a pool that does not exist",
      patch("held", { pool: poolName("nowhere") }),
      { kind: "invalid", errors: [{ field: "pool", value: "nowhere" }] },
    ],
    [
      "a tie with another route",
      { kind: "put-route", id: routeId("r"), route: route({ path: "/held", methods: ["PUT", "POST"] }) },
      { kind: "conflict", detail: expect.stringContaining("route held") },
    ],
    [
      "a patch that makes a tie",
      patch("other", { path: "/held" }),
      { kind: "conflict", detail: expect.stringContaining("route held") },
    ],
    ["a patch of no route", patch("none", { path: "/x" }), { kind: "not-found" }],
    ["the removal of no route", { kind: "remove-route", id: routeId("none") }, { kind: "not-found" }],
  ])("is refused with the reason, and nothing changes: %s", async (what, command, refusal) => {
    const held = directory("route-refused", what);
    await put(held, "held", { path: "/held", methods: ["POST"] });
    await put(held, "other", { path: "/other", methods: ["POST"] });
    const before = await held.view();
    expect(refused(await held.apply(command))).toMatchObject(refusal);
    await held.evict();
    expect(await held.view()).toEqual(before);
  });

  it.each([
    ["another host", { host: "other.example.com" }],
    ["a longer path", { path: "/held/more" }],
    ["other methods", { methods: ["GET"] }],
    ["one header more", { headers: [{ name: "x-tenant", value: "a" }] }],
  ])("stands beside one that it could be confused with but for %s", async (what, difference) => {
    const held = directory("route-beside", what);
    await put(held, "held", { host: "api.example.com", path: "/held", methods: ["POST"] });
    const beside = { host: "api.example.com", path: "/held", methods: ["POST"], ...difference };
    expect(await put(held, "beside", beside)).toMatchObject({ version: 3, created: true });
  });

  it("is refused under another version, and where one is already though none should be", async () => {
    const held = directory("route-preconditions");
    await put(held, "r", { path: "/a" });
    const removal: DirectoryCommand = { kind: "remove-route", id: routeId("r") };
    const again: DirectoryCommand = { kind: "put-route", id: routeId("r"), route: route({ path: "/b" }) };
    expect(refused(await held.apply(removal, { ifMatch: [1] }))).toMatchObject({
      expected: "1",
      actual: "2",
    });
    expect(refused(await held.apply(again, { ifAbsent: true }))).toMatchObject({
      expected: "none",
      actual: "2",
    });
    expect((await held.view()).routes).toMatchObject([{ id: "r", path: "/a" }]);
    expect(await held.apply(removal, { ifMatch: [1, 2] })).toMatchObject({ ok: true });
  });
});

describe("the list of pools", () => {
  it("keeps the order in which they were made", async () => {
    const held = await directoryOf("pools-order", "zeta", "alpha");
    await held.evict();
    expect(await held.view()).toMatchObject({ version: 3, pools: ["zeta", "alpha"] });
  });

  it("lists a pool once, and makes no version when it is listed again", async () => {
    const held = await directoryOf("pools-again", "api");
    expect(await held.do({ kind: "add-pool", name: poolName("api") })).toMatchObject({
      version: 2,
      changes: [],
    });
    expect(await held.view()).toMatchObject({ version: 2, pools: ["api"] });
  });

  it("lets no pool go that a route uses, and says which", async () => {
    const held = await directoryOf("pools-used", "api");
    await put(held, "r", { pool: "api" });
    const before = await held.view();
    const removal: DirectoryCommand = { kind: "remove-pool", name: poolName("api") };
    expect(refused(await held.apply(removal))).toMatchObject({
      kind: "conflict",
      detail: expect.stringContaining("used by routes r"),
    });
    expect(await held.view()).toEqual(before);
    await held.do({ kind: "remove-route", id: routeId("r") });
    expect(await held.do(removal)).toMatchObject({ version: 5 });
    expect((await held.view()).pools).toEqual([]);
  });
});

describe("an isolate that asks the directory", () => {
  it("gets the routing table, then nothing until it changes", async () => {
    const held = directory("directory-sync");
    await put(held, "r", { path: "/a" });
    const { deployment, routes } = await held.view();
    const { document, incarnation, version } = await held.lease();
    const secret = expect.stringMatching(/^[0-9a-f]{32}$/);
    expect(document).toEqual({ incarnation, version: 2, deployment, secret, routes });
    expect(await held.lease({ incarnation, haveVersion: version })).toMatchObject({
      version: 2,
      document: null,
    });
    await put(held, "r", { path: "/b" });
    const reply = await held.lease({ incarnation, haveVersion: version });
    expect(reply.document).toMatchObject({ version: 3, routes: [{ id: "r", path: "/b" }] });
  });

  it("gets the routing table when it holds one of another incarnation", async () => {
    const held = directory("directory-sync-incarnation");
    expect((await held.lease({ incarnation: "of-another-life", haveVersion: 1 })).document).not.toBeNull();
  });

  it("gets word that its call was late, or what is wrong with it", async () => {
    const held = directory("directory-sync-late");
    await held.lease({ seq: 2 });
    expect(accepted(await held.sync({ seq: 1 }))).toEqual({ kind: "late" });
    expect(refused(await held.sync({ isolate: "short" }))).toMatchObject({ errors: [{ field: "isolate" }] });
  });

  it("is waited for, and after an eviction whoever may hold a lease", async () => {
    const held = directory("directory-sync-lease");
    await held.lease();
    await put(held, "r", { path: "/a" });
    expect((await held.view()).convergence).toMatchObject({ isolates: 1, outstandingIsolates: 1 });
    await held.evict();
    const { convergence } = await held.view();
    expect(convergence).toMatchObject({ longestLeaseMs: 32_000, governsAtMs: Date.now() + 33_424 });
    pass(33_424);
    expect((await held.view()).convergence.governsAtMs).toBeNull();
  });
});

/** A directory that lists these pools. */
async function directoryOf(name: string, ...pools: string[]): Promise<HeldDirectory> {
  const held = directory(name);
  for (const listed of pools) await held.do({ kind: "add-pool", name: poolName(listed) });
  return held;
}

function put(
  held: HeldDirectory,
  name: string,
  words: Parameters<typeof route>[0],
): ReturnType<HeldDirectory["do"]> {
  return held.do({ kind: "put-route", id: routeId(name), route: route(words) });
}

function patch(name: string, fields: RoutePatch): DirectoryCommand {
  return { kind: "patch-route", id: routeId(name), patch: fields };
}
