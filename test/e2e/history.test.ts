import { createHash } from "node:crypto";
import { describe, expect, inject, it } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { Cluster } from "../support/cluster.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";

const ALICE = "alices-token-of-sixteen";

const start = (variables: Record<string, string> = {}): Promise<Cluster> =>
  Cluster.start({ bundle: inject("bundle"), backends: ["a", "b"], variables });

function numbers(versions: readonly { readonly version: number }[]): readonly number[] {
  return versions.map(({ version }) => version);
}

it("says which token made a change, and why if it was told, and never the token", async () => {
  const { admin, edge } = await start({ OPERATOR_TOKENS: `${OPERATOR_TOKEN} alice:${ALICE}` });
  const alice = new AdminClient(edge.urls[0], ALICE);
  await admin.do("PUT", "/pools/shop", {});
  await alice.send("PATCH", "/pools/shop", { policy: "first" }, { "Ring-Reason": "a quiet hour" });
  await alice.do("PUT", "/routes/r", { path: "/shop", pool: "shop" });
  const { body, etag } = await admin.do("GET", "/pools/shop/versions");
  const digest = createHash("sha256").update(OPERATOR_TOKEN).digest("hex");
  expect(etag).toBe('"2"');
  expect(body).toMatchObject({
    oldest: 1,
    newest: 2,
    versions: [
      {
        version: 2,
        actor: "operator alice",
        command: "patch-pool",
        reason: "a quiet hour",
        changes: [{ path: "policy", before: "round_robin", after: "first" }],
      },
      { version: 1, actor: `operator ${digest.slice(0, 8)}`, command: "put-pool", reason: null },
    ],
  });
  const routes = (await admin.do("GET", "/versions?limit=1")).body;
  expect(routes).toMatchObject({ versions: [{ actor: "operator alice", command: "put-route" }] });
  expect(JSON.stringify([body, routes])).not.toMatch(new RegExp(`${ALICE}|${OPERATOR_TOKEN}`));
});

it("takes no token together with its name, no name that is none, and no reason that cannot be shown", async () => {
  const { admin, edge } = await start({ OPERATOR_TOKENS: `${OPERATOR_TOKEN} alice:${ALICE}` });
  const named = new AdminClient(edge.urls[0], `alice:${ALICE}`);
  expect((await named.send("GET", "/status")).status).toBe(401);
  const told = await admin.send("PUT", "/pools/shop", {}, { "Ring-Reason": "x".repeat(201) });
  expect(told).toMatchObject({ status: 422, body: { errors: [{ field: "Ring-Reason" }] } });
  expect((await admin.do("GET", "/pools")).body.pools).toEqual([]);
  const misnamed = await start({ OPERATOR_TOKENS: `${OPERATOR_TOKEN} alice@home:${ALICE}` });
  expect((await misnamed.admin.send("GET", "/status")).body.detail).toContain("a name before a token");
});

it("shows a pool as it was, what differs between two versions, and which are kept when one is not", async () => {
  const { admin } = await start();
  await admin.do("PUT", "/pools/shop", { backends: [{ id: "a", url: "http://127.0.0.1:1" }] });
  const first = (await admin.do("GET", "/pools/shop")).body;
  await admin.do("PATCH", "/pools/shop/backends/a", { weight: 7 });
  await admin.do("PATCH", "/pools/shop", { policy: "first" });
  expect(await admin.do("GET", "/pools/shop/versions/1")).toMatchObject({ etag: '"1"', body: first });
  const changes = (await admin.do("GET", "/pools/shop/versions/1/diff/3")).body;
  expect(changes).toEqual({
    from: 1,
    to: 3,
    changes: [
      { path: "policy", before: "round_robin", after: "first" },
      { path: "backends.a.weight", before: 1, after: 7 },
    ],
  });
  expect(await admin.send("GET", "/pools/shop/versions/9")).toMatchObject({
    status: 404,
    body: { detail: "version 9 is not kept; kept are 1…3" },
  });
  expect(numbers((await admin.do("GET", "/pools/shop/versions?before=3&limit=1")).body.versions)).toEqual([
    2,
  ]);
  expect((await admin.do("GET", "/pools/shop/lost-leases")).body).toEqual({ minutes: [] });
  expect((await admin.send("GET", "/pools/nowhere/versions")).status).toBe(404);
  expect((await admin.send("GET", "/pools/shop/versions/x")).status).toBe(422);
  expect((await admin.send("GET", "/pools/shop/versions?limit=101")).status).toBe(422);
});

it("serves a route called versions beside the history of all routes", async () => {
  const { admin } = await start();
  await admin.do("PUT", "/routes/versions", { path: "/v", pool: "default" });
  expect((await admin.do("GET", "/routes/versions")).body).toMatchObject({ id: "versions", path: "/v" });
  expect(numbers((await admin.do("GET", "/versions")).body.versions)).toEqual([2, 1]);
});

describe("a rollback", () => {
  it("makes a new version of the old document, and backends that stayed keep what they are", async () => {
    const { admin } = await start();
    const [a, b] = [
      { id: "a", url: "http://127.0.0.1:1" },
      { id: "b", url: "http://127.0.0.1:2" },
    ];
    await admin.do("PUT", "/pools/shop", { policy: "first", affinity: [{ by: "token" }], backends: [a, b] });
    const old = (await admin.do("GET", "/pools/shop")).body;
    const ids = async (): Promise<unknown> => {
      const { body } = await admin.do("POST", "/pools/shop/tokens/quic-lb-export");
      const [config] = body["ietf-quic-lb-middlebox:quic-lb"]["cid-configs"];
      return config["server-id-mappings"];
    };
    const [idOfA, idOfB] = (await ids()) as readonly unknown[];
    await admin.do("PUT", "/pools/shop", { policy: "random", affinity: [{ by: "token" }], backends: [a] });
    const rolled = await admin.do("POST", "/pools/shop/rollback", { version: 1 });
    expect(rolled).toMatchObject({ status: 200, etag: '"3"', body: { version: 3, created: false } });
    expect((await admin.do("GET", "/pools/shop")).body).toEqual(old);
    const [again, added] = (await ids()) as readonly unknown[];
    expect(again).toEqual(idOfA);
    expect(added).not.toEqual(idOfB);
    const [{ reason, command }] = (await admin.do("GET", "/pools/shop/versions")).body.versions;
    expect([command, reason]).toEqual(["put-pool", "rollback to version 1"]);
    expect((await admin.do("POST", "/pools/shop/rollback", { version: 1 })).body).toMatchObject({
      changes: [],
    });
  });

  it("is made only at the version that If-Match names, and not to what is not kept", async () => {
    const { admin } = await start();
    await admin.do("PUT", "/pools/shop", {});
    await admin.do("PATCH", "/pools/shop", { policy: "first" });
    const rollback = (version: number, headers: Record<string, string> = {}) =>
      admin.send("POST", "/pools/shop/rollback", { version }, headers);
    expect((await rollback(1, { "If-Match": '"1"' })).status).toBe(412);
    expect((await rollback(3)).status).toBe(404);
    expect((await rollback(0)).status).toBe(422);
    expect((await admin.do("GET", "/pools/shop")).etag).toBe('"2"');
    expect((await rollback(1, { "If-Match": '"2"' })).status).toBe(200);
  });

  it("to a drain that would be over by now leaves it over", async () => {
    const { admin } = await start();
    await admin.do("PUT", "/pools/shop", { backends: [{ id: "a", url: "http://127.0.0.1:1" }] });
    await admin.do("POST", "/pools/shop/backends/a/drain", { forMs: 0, force: true });
    await admin.do("POST", "/pools/shop/backends/a/undrain");
    await admin.do("POST", "/pools/shop/rollback", { version: 2 });
    const { body } = await admin.do("GET", "/pools/shop/status");
    expect(body.backends).toMatchObject([{ admits: "none", drainsUntilMs: null }]);
  });

  it("brings back a pool that was deleted", async () => {
    const { admin } = await start();
    await admin.do("PUT", "/pools/shop", { backends: [{ id: "a", url: "http://127.0.0.1:1" }] });
    const old = (await admin.do("GET", "/pools/shop")).body;
    await admin.do("DELETE", "/pools/shop");
    const rolled = await admin.do("POST", "/pools/shop/rollback", { version: 1 });
    expect(rolled).toMatchObject({ status: 201, body: { version: 3, created: true } });
    expect((await admin.do("GET", "/pools/shop")).body).toEqual(old);
    expect((await admin.do("GET", "/pools")).body.pools).toEqual(["shop"]);
  });

  it("holds where backends lived against what is allowed now", async () => {
    const { admin } = await start({ ALLOW_PRIVATE_BACKENDS: "false" });
    await admin.do("PUT", "/pools/shop", { backends: [{ id: "a", url: "https://a.example.com" }] });
    const wrong = await admin.send("PUT", "/pools/shop", {
      backends: [
        { id: "a", url: "http://127.0.0.1:1" },
        { id: "b", url: "https://b.example.com", via: "NOWHERE" },
      ],
    });
    expect(wrong.body.errors.map((error: { readonly field: string }) => error.field)).toEqual([
      "backends.0.url",
      "backends.1.via",
    ]);
  });

  it("of routes makes them what they were, and is refused where a pool is gone", async () => {
    const { admin } = await start();
    await admin.do("PUT", "/pools/shop", {});
    await admin.do("PUT", "/routes/r", { path: "/shop", pool: "shop" });
    const { etag, body: old } = await admin.do("GET", "/routes");
    const version = Number(etag?.replaceAll('"', ""));
    await admin.do("PUT", "/routes/r", { path: "/other", pool: "default" });
    const rolled = await admin.do("POST", "/rollback", { version });
    expect(rolled.body).toMatchObject({ version: version + 2 });
    expect((await admin.do("GET", "/routes")).body).toEqual(old);
    await admin.do("DELETE", "/routes/r");
    await admin.do("DELETE", "/pools/shop");
    const refused = await admin.send("POST", "/rollback", { version });
    expect(refused).toMatchObject({
      status: 422,
      body: { errors: [{ field: "routes.0.pool", value: "shop" }] },
    });
  });
});

it("keeps one history of 100 conflicting writes, with one winner and a 412 for every other", async () => {
  const { admin } = await start();
  await admin.do("PUT", "/pools/shop", { drainMs: 0 });
  const write = (drainMs: number, headers: Record<string, string>) =>
    admin.send("PATCH", "/pools/shop", { drainMs }, headers);
  const all = Array.from({ length: 100 }, (_, index) => index + 1);
  const raced = await Promise.all(all.map((drainMs) => write(drainMs, { "If-Match": '"1"' })));
  expect(raced.map(({ status }) => status).toSorted()).toEqual([200, ...all.slice(1).map(() => 412)]);
  const free = await Promise.all(all.map((drainMs) => write(drainMs + 1_000, {})));
  expect(free.map(({ status }) => status)).toEqual(all.map(() => 200));
  const newer = (await admin.do("GET", "/pools/shop/versions?limit=100")).body.versions;
  const older = (await admin.do("GET", `/pools/shop/versions?limit=100&before=${newer.at(-1).version}`)).body
    .versions;
  const versions = [...newer, ...older].toReversed();
  expect(numbers(versions)).toEqual(Array.from({ length: 102 }, (_, index) => index + 1));
  let last: unknown = 0;
  for (const { changes } of versions.slice(1)) {
    expect(changes).toMatchObject([{ path: "drainMs", before: last }]);
    last = changes[0].after;
  }
  expect((await admin.do("GET", "/pools/shop")).body.drainMs).toBe(last);
});
