import { expect, it } from "vitest";
import type { Subset } from "../../durable/model/route.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { type WantedSubset, wantedSubset } from "../../worker/core/subset.ts";
import { backendId, NOON, snapshot } from "./support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "./support/visit.ts";

const RELEASE = backendId("release");

function inRelease(release: string, changed: object = {}) {
  return { labels: { [RELEASE]: release }, ...changed };
}

/** Two of each release, and one of none. */
function releases(changed: object = {}): Snapshot {
  return snapshot({
    a: inRelease("v1"),
    b: inRelease("V1"),
    c: inRelease("v2", changed),
    d: inRelease("v2", changed),
    e: 1,
  });
}

function wants(value: string | null, fallback: Subset["fallback"] = "none"): WantedSubset {
  return { label: RELEASE, value, fallback };
}

function placesOf(view: PoolView, subset: WantedSubset, requests = 20): ReadonlySet<string> {
  return new Set(Array.from({ length: requests }, () => placeOf(view, visit({ subset }))));
}

const ORIGIN = { headers: new Headers({ "x-release": "V2" }), country: "DE", colo: "FRA" };

it.each<[string, Subset, string | null]>([
  ["a header", { by: "header", name: "x-release", label: RELEASE, fallback: "any" }, "v2"],
  ["a header that is not there", { by: "header", name: "x-stage", label: RELEASE, fallback: "any" }, null],
  ["the country", { by: "country", label: RELEASE, fallback: "any" }, "de"],
  ["the data centre", { by: "colo", label: RELEASE, fallback: "none" }, "fra"],
])("reads what a request wants from %s, in lower case", (_, subset, value) => {
  expect(wantedSubset(subset, ORIGIN)).toEqual({ label: RELEASE, value, fallback: subset.fallback });
});

it("takes an empty header, or an unknown country, for one that says nothing", () => {
  const empty = { headers: new Headers({ "x-release": "" }), country: null, colo: null };
  for (const by of [{ by: "header", name: "x-release" }, { by: "country" }, { by: "colo" }] as const) {
    expect(wantedSubset({ ...by, label: RELEASE, fallback: "any" }, empty).value).toBeNull();
  }
});

it("leads a request to backends whose label has the value, in any case, by the policy's turns", () => {
  const view = new PoolView(releases(), NOON, 0);
  const turns = (value: string) =>
    Array.from({ length: 6 }, () => placeOf(view, visit({ subset: wants(value) }))).join("");
  expect([turns("v1"), turns("v2")]).toEqual(["ababab", "cdcdcd"]);
});

it.each([
  ["nobody has it", wants("v3"), wants("v3", "any")],
  ["the request says nothing", wants(null), wants(null, "any")],
])("refuses or takes everybody where %s, as the route says", (_, none, any) => {
  const view = new PoolView(releases(), NOON, 0);
  expect(placeOf(view, visit({ subset: none }))).toBe("no_backend");
  expect(placesOf(view, any)).toEqual(new Set(["a", "b", "c", "d", "e"]));
});

// A route of before such labels were refused made every request that spoke of it fail.
it.each(["constructor", "toString", "__proto__"])("finds nobody in the subset of the label %s", (label) => {
  const view = new PoolView(releases(), NOON, 0);
  expect(placeOf(view, visit({ subset: { label, value: "object", fallback: "none" } }))).toBe("no_backend");
});

it("counts those in vain that admit nothing new", () => {
  const view = new PoolView(releases({ admits: "sticky" }), NOON, 0);
  expect(placeOf(view, visit({ subset: wants("v2") }))).toBe("no_backend");
  expect(placesOf(view, wants("v2", "any"))).toEqual(new Set(["a", "b", "e"]));
});

it("serves a subset that only a tier without share has", () => {
  const tiers = [100, 0].map((sharePercent, priority) => ({
    priority,
    isDegraded: false,
    sharePercent,
    isPanicking: false,
  }));
  const view = new PoolView({ ...releases({ tier: 1 }), tiers }, NOON, 0);
  expect(placesOf(view, wants("v2"))).toEqual(new Set(["c", "d"]));
});

it("follows a new snapshot: backends that come, go and change their label", () => {
  const view = new PoolView(releases(), NOON, 0);
  expect(placesOf(view, wants("v2"))).toEqual(new Set(["c", "d"]));
  view.adopt(
    snapshot({ a: inRelease("v2"), c: inRelease("v2"), d: inRelease("v3"), f: inRelease("v2") }),
    NOON,
    0,
  );
  expect(placesOf(view, wants("v2"))).toEqual(new Set(["a", "c", "f"]));
  view.adopt(snapshot({ a: 1 }), NOON, 0);
  expect(placeOf(view, visit({ subset: wants("v2") }))).toBe("no_backend");
  view.adopt(releases(), NOON, 0);
  expect(placesOf(view, wants("v2"))).toEqual(new Set(["c", "d"]));
});

it("goes on with the turns of a subset when a snapshot is replaced", () => {
  const view = new PoolView(releases(), NOON, 0);
  expect(placeOf(view, visit({ subset: wants("v1") }))).toBe("a");
  view.adopt({ ...releases(), version: 2 }, NOON, 0.99);
  expect(placeOf(view, visit({ subset: wants("v1") }))).toBe("b");
});

// With a table for each of its labels, a large pool would fill an isolate's memory.
it.each([
  [255, "b"],
  [256, "a"],
])("goes on with a subset's turns after %i others were asked for, or begins anew: %s", (count, turn) => {
  const others = Array.from({ length: count }, (_, index) => [`o${index}`, `other ${index}`] as const);
  const told = others.map(([id, release]) => [id, inRelease(release)] as const);
  const view = new PoolView(
    snapshot({ a: inRelease("v1"), b: inRelease("v1"), ...Object.fromEntries(told) }),
    NOON,
    0,
  );
  expect(placeOf(view, visit({ subset: wants("v1") }))).toBe("a");
  for (const [id, release] of others) expect(placeOf(view, visit({ subset: wants(release) }))).toBe(id);
  expect(placeOf(view, visit({ subset: wants("v1") }))).toBe(turn);
});

const BY_CONNECTION = [{ by: "connection" }] as const;

function bound(identity: string, subset: WantedSubset | null) {
  return visit({ affinity: BY_CONNECTION, connection: connection(identity), subset });
}

it("keeps a connection with one backend for each value that it asks for, and one for asking for none", () => {
  const view = new PoolView(releases(), NOON, 0);
  const names = Array.from({ length: 50 }, (_, index) => `tls ${index}`);
  const all = () =>
    names.map((name) => [wants("v1"), wants("v2"), null].map((subset) => placeOf(view, bound(name, subset))));
  const first = all();
  for (const [one, two] of first) {
    expect("ab").toContain(one);
    expect("cd").toContain(two);
  }
  expect(all()).toEqual(first);
  view.adopt(snapshot({ ...admitting("sticky"), f: inRelease("v1"), g: inRelease("v2"), h: 1 }), NOON, 0);
  expect(all()).toEqual(first);
});

function admitting(admits: "sticky" | "none") {
  return {
    a: inRelease("v1", { admits }),
    b: inRelease("V1", { admits }),
    c: inRelease("v2", { admits }),
    d: inRelease("v2", { admits }),
    e: { admits },
  };
}

// A subset in which everybody drains has nobody to choose, and its connections were forgotten over that.
it.each(["any", "none"] as const)(
  "keeps a connection where it is while its whole subset drains: %s",
  (fallback) => {
    const view = new PoolView(releases(), NOON, 0);
    const mine = bound("tls 1", wants("v2", fallback));
    const before = placeOf(view, mine);
    view.adopt(releases({ admits: "sticky" }), NOON, 0);
    expect(placeOf(view, mine)).toBe(before);
    view.adopt(releases({ admits: "none" }), NOON, 0);
    const left = placeOf(view, mine);
    expect(fallback === "none" ? ["no_backend"] : ["a", "b", "e"]).toContain(left);
  },
);

it("leads nobody out of a subset because the same connection is known without it", () => {
  const view = new PoolView(releases(), NOON, 0);
  placeOf(view, bound("tls 1", null));
  expect(placeOf(view, bound("tls 1", wants("v3")))).toBe("no_backend");
  expect(placeOf(view, bound("tls 1", wants(null)))).toBe("no_backend");
});

// Two places in the table are taken by others; a client that makes values up must not drive them out.
it("remembers nothing of made-up values", () => {
  const config = poolConfig({ connections: { maxEntries: 3 } });
  const view = new PoolView({ ...releases(), config }, NOON, 0);
  const others = [bound("tls 1", null), bound("tls 2", wants("v2"))];
  const before = others.map((other) => placeOf(view, other));
  for (let index = 0; index < 50; index++) placeOf(view, bound("tls 3", wants(`made up ${index}`, "any")));
  const drained = snapshot({ ...admitting("sticky"), f: inRelease("v2") });
  view.adopt({ ...drained, config }, NOON, 0);
  expect(others.map((other) => placeOf(view, other))).toEqual(before);
});

it("leaves a session with its token where it is, also outside of the subset that it asks for", () => {
  const config = poolConfig({ affinity: [{ by: "token" }], tokens: { cookie: null, header: "ring-token" } });
  const view = new PoolView({ ...releases(), config }, NOON, 0);
  const { affinity } = config;
  const first = choose(view, visit({ affinity, subset: wants("v1") }));
  if (first.grant === null) throw new Error("there must be a token");
  const [header] = view.sessions.write(first.grant, NOON, new Uint8Array(26));
  const headers = { "ring-token": header?.[1] ?? "" };
  for (const subset of [wants("v2"), wants("v3"), wants(null), null]) {
    expect(choose(view, visit({ affinity, headers, subset }))).toMatchObject({
      fate: "kept",
      channel: { id: first.channel.id },
    });
  }
});
