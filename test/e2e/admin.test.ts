import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { Cluster } from "../support/cluster.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";

const start = (variables: Record<string, string> = {}): Promise<Cluster> =>
  Cluster.start({ bundle: inject("bundle"), backends: ["a", "b"], variables });

it("is closed, and says what to set, while no token is configured", async () => {
  const { admin } = await start({ OPERATOR_TOKENS: "" });
  const answer = await admin.send("GET", "/status");
  expect(answer.status).toBe(503);
  expect(answer.body.detail).toContain("wrangler secret put OPERATOR_TOKENS");
});

it("is closed while a token is short enough to guess", async () => {
  const { admin } = await start({ VIEWER_TOKENS: "short" });
  expect(await admin.send("GET", "/status")).toMatchObject({ status: 503 });
});

it("lets operators write, viewers read, several tokens at once, and nobody else in", async () => {
  const { edge } = await start({
    OPERATOR_TOKENS: `${OPERATOR_TOKEN} the-next-operator-token`,
    VIEWER_TOKENS: "a-viewer-token-of-ours",
  });
  const as = (token: string): AdminClient => new AdminClient(edge.urls[0], token);
  const write = ["PUT", "/pools/default", {}] as const;
  expect((await as(OPERATOR_TOKEN).send(...write)).status).toBe(201);
  expect((await as("the-next-operator-token").send(...write)).status).toBe(200);
  expect((await as("a-viewer-token-of-ours").send(...write)).status).toBe(403);
  expect((await as("a-viewer-token-of-ours").send("GET", "/pools/default")).status).toBe(200);
  const stranger = await as("some-other-token-of-someone").send("GET", "/pools/default");
  expect(stranger.status).toBe(401);
  expect(stranger.headers.get("www-authenticate")).toContain("Bearer");
  expect((await fetch(`${edge.urls[0]}/_ring/status`)).status).toBe(401);
});

it("reports the differences a whole-pool PUT made, and none when repeated", async () => {
  const { admin } = await start();
  const a = { id: "a", url: "http://127.0.0.1:1001", weight: 1 };
  const b = { id: "b", url: "http://127.0.0.1:1002", weight: 2 };
  await admin.do("PUT", "/pools/default", { backends: [a] });
  const changed = await admin.do("PUT", "/pools/default", {
    backends: [{ ...a, weight: 5 }, b],
    drainMs: 1_000,
  });
  expect(changed.body).toMatchObject({ version: 2, created: false });
  expect(changed.body.changes).toEqual(
    expect.arrayContaining([
      { path: "drainMs", before: 300_000, after: 1_000 },
      { path: "backends.a.weight", before: 1, after: 5 },
      { path: "backends.b", before: null, after: expect.objectContaining({ url: b.url, weight: 2 }) },
    ]),
  );
  const document = (await admin.do("GET", "/pools/default")).body;
  const again = await admin.do("PUT", "/pools/default", document);
  expect(again).toMatchObject({ status: 200, etag: '"2"', body: { version: 2, changes: [] } });
});

it("makes a write under If-Match only at the version it names, and If-None-Match only when nothing is there", async () => {
  const { admin } = await start();
  const { etag } = await admin.do("PUT", "/pools/default", {
    backends: [{ id: "a", url: "http://127.0.0.1:1" }],
  });
  let weight = 1;
  const patch = async (headers: Record<string, string>): Promise<number> => {
    weight++;
    return (await admin.send("PATCH", "/pools/default/backends/a", { weight }, headers)).status;
  };
  expect(await patch({ "if-match": '"99"' })).toBe(412);
  expect(await patch({ "if-match": "nonsense" })).toBe(422);
  expect(await patch({ "if-match": etag ?? "" })).toBe(200);
  expect(await patch({ "if-match": etag ?? "" })).toBe(412);
  expect(await patch({ "if-match": `"99", W/${etag}` })).toBe(412);
  const weakened = `W/${(await admin.send("GET", "/pools/default")).headers.get("etag")}`;
  expect(await patch({ "if-match": `"99", ${weakened}` })).toBe(200);
  expect(await patch({ "if-match": weakened })).toBe(412);
  expect(await admin.send("PUT", "/pools/default", {}, { "if-none-match": "*" })).toMatchObject({
    status: 412,
    body: {
      detail: expect.stringMatching(/^the precondition wants it not to be there, and it is, in version \d+$/),
    },
  });
  expect((await admin.send("PUT", "/routes/r", { pool: "default" }, { "if-none-match": "*" })).status).toBe(
    201,
  );
  expect((await admin.send("DELETE", "/routes/r", undefined, { "if-match": '"99"' })).status).toBe(412);
  await admin.do("DELETE", "/routes/r");
  expect((await admin.send("DELETE", "/pools/default", undefined, { "if-match": '"99"' })).status).toBe(412);
  expect((await admin.send("DELETE", "/pools/default", undefined, { "if-match": "nonsense" })).status).toBe(
    422,
  );
  expect((await admin.do("GET", "/pools")).body.pools).toEqual(["default"]);
});

describe("the tokens of a pool", () => {
  const VIEWER_TOKEN = "a-viewer-token-of-ours";
  const BACKENDS = [{ id: "a", url: "http://127.0.0.1:1001", labels: { region: "weur" } }];

  it("are shown, rotated and exported, each at its own endpoint", async () => {
    const { admin } = await start();
    await admin.do("PUT", "/pools/default", { backends: BACKENDS });
    const shown = await admin.do("GET", "/pools/default/tokens");
    expect(shown).toMatchObject({
      etag: '"1"',
      body: {
        configs: [{ id: 0, generator: "encrypted", serverIdBytes: 4, nonceBytes: 12, phase: "writing" }],
        serverIds: { used: 1, reserved: 0 },
      },
    });
    const rotated = await admin.do("POST", "/pools/default/tokens/rotate");
    expect(rotated).toMatchObject({
      status: 200,
      etag: '"2"',
      body: { changes: [{ path: "tokens.spreading", before: null, after: 1 }] },
    });
    const exported = await admin.do("POST", "/pools/default/tokens/quic-lb-export");
    expect(exported.headers.get("cache-control")).toBe("no-store");
    expect(exported.body["ietf-quic-lb-middlebox:quic-lb"]["cid-configs"]).toMatchObject(
      [0, 1].map((id) => ({
        "config-rotation-bits": id,
        "cid-key": expect.stringMatching(/^[0-9a-f]{2}(?::[0-9a-f]{2}){15}$/),
        "server-id-mappings": [{ "server-id": "00:00:00:00", "server-address": "127.0.0.1:1001" }],
      })),
    );
  });

  it("are rotated under If-Match only at the version it names", async () => {
    const { admin } = await start();
    await admin.do("PUT", "/pools/default", { backends: BACKENDS });
    const rotate = (tag: string) =>
      admin.send("POST", "/pools/default/tokens/rotate", undefined, { "if-match": tag });
    expect((await rotate('"9"')).status).toBe(412);
    expect((await rotate('"1"')).status).toBe(200);
  });

  it("are shown to viewers, who may neither rotate nor export them", async () => {
    const { admin, edge } = await start({ VIEWER_TOKENS: VIEWER_TOKEN });
    await admin.do("PUT", "/pools/default", { backends: BACKENDS });
    const viewer = new AdminClient(edge.urls[0], VIEWER_TOKEN);
    expect((await viewer.send("GET", "/pools/default/tokens")).status).toBe(200);
    for (const action of ["rotate", "quic-lb-export"]) {
      expect((await viewer.send("POST", `/pools/default/tokens/${action}`)).status).toBe(403);
      expect((await admin.send("GET", `/pools/default/tokens/${action}`)).status).toBe(404);
    }
    expect((await admin.do("GET", "/pools/default")).etag).toBe('"1"');
  });

  it.each([
    ["GET", "/pools/nowhere/tokens", undefined, 404],
    ["POST", "/pools/nowhere/tokens/rotate", undefined, 404],
    ["POST", "/pools/nowhere/tokens/quic-lb-export", undefined, 404],
    ["POST", "/pools/Not%20A%20Name/tokens/quic-lb-export", undefined, 422],
    ["POST", "/pools/default/tokens/rotate", { now: true }, 422],
    ["PUT", "/pools/default", { tokens: { serverIdBytes: 4, nonceBytes: 16 } }, 422],
  ])("refuse %s %s with %j by status %i", async (method, path, body, status) => {
    const { admin } = await start();
    expect((await admin.send(method, path, body)).status).toBe(status);
  });

  it("show their keys in the export and nowhere else", async () => {
    const { admin } = await start();
    await admin.do("PUT", "/pools/default", { backends: BACKENDS });
    await admin.do("PUT", "/routes/r", { split: [{ pool: "default", weight: 1 }] });
    const written = [
      await admin.do("POST", "/pools/default/tokens/rotate"),
      await admin.do("PATCH", "/pools/default", { tokens: { lifetimeMs: 60_000 } }),
    ];
    const exported = await admin.do("POST", "/pools/default/tokens/quic-lb-export");
    const configs: readonly { readonly "cid-key": string }[] =
      exported.body["ietf-quic-lb-middlebox:quic-lb"]["cid-configs"];
    const keys = configs.map((config) => config["cid-key"].replaceAll(":", ""));
    expect(keys).toHaveLength(2);
    const paths = [
      "/status",
      "/pools",
      "/pools/default",
      "/pools/default/status",
      "/pools/default/tokens",
      "/pools/default/backends",
      "/pools/default/backends/a",
      "/routes",
      "/routes/r",
    ];
    const read = await Promise.all(paths.map((path) => admin.do("GET", path)));
    // Not only these keys: neither the key of a MAC nor a secret, which have as many digits.
    for (const { body } of [...read, ...written]) {
      expect(JSON.stringify(body)).not.toMatch(/[0-9a-f]{32}|(?:[0-9a-f]{2}:){15}/);
    }
    expect(JSON.stringify(exported.body)).not.toMatch(/[0-9a-f]{32}/);
    expect(keys.every((key) => /^[0-9a-f]{32}$/.test(key))).toBe(true);
  });
});

describe("bad input", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.launch({ bundle: inject("bundle"), backends: [] });
    await cluster.admin.do("PUT", "/pools/default", {});
  });
  afterAll(() => cluster.stop());

  it.each([
    ["PUT", "/pools/default", { weight: 1 }, "weight"],
    ["PATCH", "/pools/default?dryrun=1", { drainMs: 1 }, "dryrun"],
    ["PUT", "/pools/default/backends/a?DRY_RUN=1", { url: "http://h" }, "DRY_RUN"],
    ["DELETE", "/pools/default?dry-run=1", {}, "dry-run"],
    ["POST", "/pools/default/backends/a/drain?wiat=10s", {}, "wiat"],
    ["PUT", "/routes/r?dryRun=1", { pool: "default" }, "dryRun"],
    [
      "PUT",
      "/pools/default",
      { backends: [{ id: "a", url: "http://h", weight: 1_400 }] },
      "backends.0.weight",
    ],
    ["PUT", "/pools/default", { backends: [{ id: "a", url: "ftp://h" }] }, "backends.0.url"],
    ["PUT", "/pools/default", { backends: [{ id: "a", url: "http://u:p@h" }] }, "backends.0.url"],
    ["PUT", "/pools/default", { backends: [{ id: "🎪", url: "http://h" }] }, "backends.0.id"],
    ["PUT", "/pools/default", { backends: [{ id: "a", url: "http://h", via: "RING" }] }, "backends.0.via"],
    [
      "PUT",
      "/pools/default",
      {
        backends: [
          { id: "a", url: "http://h" },
          { id: "a", url: "http://i" },
        ],
      },
      "backends.1.id",
    ],
    ["PUT", "/pools/default", { sync: { refreshMs: 5_000, leaseMs: 6_000 } }, "sync"],
    ["PUT", "/pools/Not%20A%20Name", {}, "pool"],
    ["PUT", "/pools/default", "{ not json", "body"],
    ["PUT", "/pools/default", "[]", ""],
    ["PUT", "/pools/default/backends/a", { weight: 1 }, "url"],
    ["PUT", "/routes/r", { pool: "nowhere" }, "pool"],
    ["PUT", "/routes/r", { pool: "default", path: "/a/../b" }, "path"],
    ["PUT", "/routes/r", { pool: "default", host: "UPPER.example" }, "host"],
    ["POST", "/pools/default/backends/a/drain", { forMs: -1 }, "forMs"],
    ["PATCH", "/pools/default", { sync: [] }, "sync"],
    ["PATCH", "/pools/default", { tokens: { cookie: { path: "/a;b" } } }, "tokens.cookie.path"],
    ["PATCH", "/pools/default", { tokens: { rotateEveryMs: 3_600_000 } }, "tokens.rotateEveryMs"],
    ["PATCH", "/pools/default", '{ "sync": { "__proto__": { "leaseMs": 1 } } }', "sync.__proto__"],
    ["PUT", "/routes/r", { split: [{ pool: "nowhere", weight: 1 }] }, "split.0.pool"],
    ["PUT", "/pools/default", { backends: [{ id: "a", url: "not a url" }] }, "backends.0.url"],
    [
      "PUT",
      "/pools/default",
      { backends: [{ id: "a", url: "http://h", labels: ["x"] }] },
      "backends.0.labels",
    ],
    [
      "PUT",
      "/pools/default",
      {
        backends: [
          { id: "a", url: "http://h", admin: { kind: "draining", untilMs: Number.MAX_SAFE_INTEGER } },
        ],
      },
      "backends.0.admin.untilMs",
    ],
    ["PUT", "/routes/r", { pool: "default", path: "/grün" }, "path"],
    ["PUT", "/routes/r", { pool: "default", methods: [] }, "methods"],
  ])(
    "refuses %s %s with %j, naming the field %s, its value and its range",
    async (method, path, body, field) => {
      const answer = await cluster.admin.send(method, path, body);
      expect(answer.status).toBe(422);
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
      expect(answer.body.errors[0]).toEqual({ field, value: expect.anything(), range: expect.any(String) });
    },
  );
});

it("refuses a body over the limit before it reads it, and changes nothing", async () => {
  const { admin } = await start();
  const answer = await admin.send("PUT", "/pools/default", " ".repeat(1_048_577));
  expect(answer.status).toBe(413);
  expect(answer.body.detail).toContain("1048576");
  expect((await admin.send("GET", "/pools/default")).status).toBe(404);
});

it("refuses what the platform cannot fetch, unless local use is configured", async () => {
  const local = await start();
  const deployed = await start({ ALLOW_PRIVATE_BACKENDS: "false" });
  const urls = [
    "http://127.0.0.1:8080",
    "http://0x7f.1",
    "https://10.0.0.7",
    "http://[::1]:80",
    "http://localhost:3",
  ];
  for (const url of urls) {
    const body = { backends: [{ id: "a", url }] };
    expect((await local.admin.send("PUT", "/pools/default", body)).status).toBeLessThan(300);
    expect((await deployed.admin.send("PUT", "/pools/default", body)).body.errors[0].field).toBe(
      "backends.0.url",
    );
  }
});

it("answers under its prefix on every host, or only on a host of its own", async () => {
  const everywhere = await start({ ADMIN_PREFIX: "/ops/ring" });
  const { body } = await everywhere.ask({
    path: "/ops/ring/status",
    headers: { authorization: `Bearer ${OPERATOR_TOKEN}` },
  });
  expect(JSON.parse(body)).toMatchObject({ pools: [] });
  const own = await start({ ADMIN_HOST: "admin.example" });
  const authorized = { path: "/_ring/status", headers: { authorization: `Bearer ${OPERATOR_TOKEN}` } };
  expect((await own.ask({ ...authorized, host: "admin.example" })).status).toBe(200);
  expect((await own.ask({ ...authorized, host: "shop.example" })).status).toBe(503);
  expect((await own.ask({ ...authorized, host: "admin.example", path: "/elsewhere" })).status).toBe(404);
});

it("keeps a pool that a split leads to, and takes a patch from a pool to a split and back", async () => {
  const { admin } = await start();
  for (const name of ["shop", "canary"]) await admin.do("PUT", `/pools/${name}`, {});
  await admin.do("PUT", "/routes/r", { pool: "shop" });
  const split = [
    { pool: "shop", weight: 9 },
    { pool: "canary", weight: 1 },
  ];
  expect((await admin.send("PATCH", "/routes/r", { split })).body.errors[0].field).toBe("pool");
  await admin.do("PATCH", "/routes/r", { pool: null, split });
  expect((await admin.do("GET", "/routes/r")).body).toEqual({ id: "r", path: "/", headers: [], split });
  expect((await admin.send("DELETE", "/pools/canary")).status).toBe(409);
  await admin.do("PATCH", "/routes/r", { pool: "shop", split: null });
  await admin.do("DELETE", "/pools/canary");
  const lost = await admin.send("PUT", "/routes/r", { split });
  expect(lost.body.errors[0]).toMatchObject({ field: "split.1.pool", value: "canary" });
});

it("refuses routes that would tie, and a pool that a route uses cannot be deleted", async () => {
  const { admin } = await start();
  await admin.do("PUT", "/pools/shop", {});
  await admin.do("PUT", "/routes/one", { path: "/shop", pool: "shop" });
  expect((await admin.send("PUT", "/routes/two", { path: "/shop/", pool: "shop" })).status).toBe(409);
  expect((await admin.send("DELETE", "/pools/shop")).status).toBe(409);
  await admin.do("DELETE", "/routes/one");
  await admin.do("DELETE", "/pools/shop");
  expect((await admin.send("GET", "/pools/shop")).status).toBe(404);
});

it("never lets a backend see an admin request, however its path is written", async () => {
  const cluster = await start();
  await cluster.admin.do("PUT", "/pools/default", { backends: [cluster.backend("a")] });
  for (const path of [
    "/_ring/pools",
    "/x/../_ring/pools",
    "/./_ring/pools",
    "/x\\..\\_ring\\pools",
    "/%5Fring/pools",
    // What happened: an escape that makes no sense kept the others from being undone.
    "/%5Fring/pools/%ff",
    "/%5Fring/%",
  ]) {
    expect(await cluster.ask({ path })).toMatchObject({ status: 401, backend: null });
  }
  expect((await cluster.ask({ path: "/_rings" })).backend).toBe("a");
});

it("keeps no pool that it has no room for, and lists none that was refused", async () => {
  const { admin } = await start();
  const made = Array.from({ length: 200 }, (_, index) => admin.do("PUT", `/pools/pool-${index}`, {}));
  await Promise.all(made);
  expect((await admin.send("PUT", "/pools/one-more", {})).status).toBe(422);
  expect((await admin.send("GET", "/pools/one-more")).status).toBe(404);
  await admin.do("DELETE", "/pools/pool-0");
  expect((await admin.send("PUT", "/pools/one-more", {}, { "if-match": '"7"' })).status).toBe(412);
  expect((await admin.do("GET", "/pools")).body.pools).not.toContain("one-more");
});
