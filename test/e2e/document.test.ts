import { describe, expect, inject, it } from "vitest";
import type { AdminAnswer, AdminClient } from "../support/admin.ts";
import { Cluster } from "../support/cluster.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";

const VIEWER = "a-viewer-token-of-ours";

const start = async (variables: Record<string, string> = {}): Promise<AdminClient> =>
  (await Cluster.start({ bundle: inject("bundle"), backends: [], variables })).admin;

function backend(id: string, weight = 1): object {
  return { id, url: `http://127.0.0.1:1/${id}`, weight };
}

function pool(name: string, document: object = {}): { readonly name: string; readonly document: object } {
  return { name, document };
}

/** Everything there is, versions included: what must not change where something is refused. */
async function all(admin: AdminClient): Promise<unknown> {
  return [(await admin.do("GET", "/document")).body, (await admin.do("GET", "/versions")).body];
}

/** The directory `shop` and `blog`, each with a route. */
async function arrange(admin: AdminClient): Promise<void> {
  await admin.do("PUT", "/document", {
    routes: [
      { id: "shop", path: "/shop", pool: "shop" },
      { id: "blog", path: "/blog", pool: "blog" },
    ],
    pools: [
      pool("shop", { backends: [backend("a"), backend("b")] }),
      pool("blog", { backends: [backend("c")] }),
    ],
  });
}

/** The fields that an answer of 422 names. */
async function wrongFields(admin: AdminClient, sent: object): Promise<readonly string[]> {
  const before = await all(admin);
  const answer = await admin.send("PUT", "/document", sent);
  expect(answer.status).toBe(422);
  expect(await all(admin)).toEqual(before);
  return answer.body.errors.map((error: { readonly field: string }) => error.field);
}

/** Whether a document was stopped in its middle. */
function hasBegun({ status, body }: AdminAnswer): boolean {
  return status === 412 && body.applied.length > 0;
}

describe("the whole directory as one document", () => {
  it("makes what it says out of nothing, and is what is shown then", async () => {
    const admin = await start();
    await arrange(admin);
    const { body } = await admin.do("GET", "/document");
    expect(body).toMatchObject({
      version: expect.any(Number),
      routes: [
        { id: "shop", path: "/shop" },
        { id: "blog", path: "/blog" },
      ],
      pools: [
        { name: "shop", version: 1, document: { backends: [{ id: "a" }, { id: "b" }] } },
        { name: "blog", version: 1, document: { backends: [{ id: "c" }] } },
      ],
    });
    expect(body.pools[0].document).toEqual((await admin.do("GET", "/pools/shop")).body);
    const [version] = (await admin.do("GET", "/pools/shop/versions")).body.versions;
    expect(version).toMatchObject({ reason: "PUT /document", command: "put-pool" });
  });

  it("waits for all that it changes to govern, and refuses a wait that makes no sense", async () => {
    const admin = await start();
    const sent = {
      routes: [{ id: "shop", path: "/shop", pool: "shop" }],
      pools: [{ name: "shop", document: {} }],
    };
    expect(await admin.send("PUT", "/document?wait=banana", sent)).toMatchObject({ status: 422 });
    expect((await admin.do("GET", "/pools")).body.pools).toEqual([]);
    const { status, body } = await admin.send("PUT", "/document?wait=10s", sent);
    expect([status, body.applied.map(({ step }: { readonly step: string }) => step)]).toEqual([
      200,
      ["pool shop", "routes"],
    ]);
    for (const { convergence } of body.applied) expect(convergence).toMatchObject({ governsAtMs: null });
  });

  it("changes nothing when it is put back as it was", async () => {
    const admin = await start();
    await arrange(admin);
    const before = await all(admin);
    const { body } = await admin.do("GET", "/document");
    expect((await admin.do("PUT", "/document", body)).body).toEqual({ applied: [], remaining: [] });
    expect(await all(admin)).toEqual(before);
  });

  it("changes what differs and no more: pools first, then routes, then what is left out", async () => {
    const admin = await start();
    await arrange(admin);
    const { body } = await admin.do("GET", "/document");
    const put = await admin.do("PUT", "/document", {
      ...body,
      routes: [{ id: "news", path: "/news", pool: "news" }, body.routes[0]],
      pools: [body.pools[0], pool("news", { backends: [backend("n")] })],
    });
    expect(put.body.remaining).toEqual([]);
    expect(put.body.applied).toMatchObject([
      { step: "pool news", version: 1, created: true },
      { step: "routes", changes: expect.arrayContaining([expect.objectContaining({ path: "routes.blog" })]) },
      { step: "removal of pool blog", version: 2 },
    ]);
    const after = (await admin.do("GET", "/document")).body;
    expect(after.pools).toMatchObject([body.pools[0], { name: "news" }]);
    expect(after.routes.map(({ id }: { readonly id: string }) => id)).toEqual(["news", "shop"]);
    expect((await admin.send("GET", "/pools/blog")).status).toBe(404);
  });

  it("is for operators to put and for viewers to read", async () => {
    const { edge } = await Cluster.start({
      bundle: inject("bundle"),
      backends: [],
      variables: { VIEWER_TOKENS: VIEWER },
    });
    const ask = (method: string, token: string): Promise<Response> =>
      fetch(`${edge.urls[0]}/_ring/document`, { method, headers: { authorization: `Bearer ${token}` } });
    expect((await ask("GET", VIEWER)).status).toBe(200);
    expect((await ask("PUT", VIEWER)).status).toBe(403);
    expect((await ask("PUT", OPERATOR_TOKEN)).status).toBe(422);
  });

  it("may be larger than other bodies", async () => {
    const admin = await start();
    const labels = Object.fromEntries(
      Array.from({ length: 32 }, (_, index) => [`l${index}`, "x".repeat(200)]),
    );
    const backends = Array.from({ length: 100 }, (_, index) => ({ ...backend(`b${index}`), labels }));
    const pools = ["one", "two"].map((name) => pool(name, { backends }));
    expect(JSON.stringify(pools).length).toBeGreaterThan(1_048_576);
    expect((await admin.do("PUT", "/document", { routes: [], pools })).body.applied).toHaveLength(2);
  });
});

describe("a document that is wrong", () => {
  it("is refused with everything that is wrong, and nothing is touched", async () => {
    const admin = await start({ ALLOW_PRIVATE_BACKENDS: "false" });
    const schema = {
      routes: [{ id: "r", path: "shop", pool: "shop" }],
      pools: [pool("shop", { drainMs: -1, backends: [{ id: "a" }] }), { name: "UPPER", document: {} }],
    };
    expect(await wrongFields(admin, schema)).toEqual([
      "routes.0.path",
      "pools.0.document.drainMs",
      "pools.0.document.backends.0.url",
      "pools.1.name",
    ]);
    const relations = {
      routes: [
        { id: "r", path: "/r", pool: "nowhere" },
        {
          id: "s",
          path: "/s",
          split: [
            { pool: "shop", weight: 1 },
            { pool: "lost", weight: 1 },
          ],
        },
      ],
      pools: [pool("shop", { backends: [backend("a")] }), pool("shop")],
    };
    expect(await wrongFields(admin, relations)).toEqual([
      "pools.1.name",
      "routes.0.pool",
      "routes.1.split.1.pool",
      "pools.0.document.backends.0.url",
    ]);
    const rings = {
      routes: [
        { id: "r", path: "/r", pool: "shop" },
        { id: "r", path: "/s", pool: "shop" },
      ],
      pools: [
        pool("shop", { tiers: { fallbackPool: "shop" } }),
        pool("blog", { tiers: { fallbackPool: "blog" } }),
      ],
    };
    expect(await wrongFields(admin, rings)).toEqual([
      "pools.0.document.tiers.fallbackPool",
      "pools.1.document.tiers.fallbackPool",
      "routes.1.id",
    ]);
    expect(await wrongFields(admin, { pools: [] })).toEqual(["routes"]);
    expect(await wrongFields(admin, { routes: [] })).toEqual(["pools"]);
  });

  it("is refused where a pool is larger than its ring can take at once", async () => {
    const admin = await start();
    const labels = Object.fromEntries(
      Array.from({ length: 32 }, (_, index) => [`l${index}`, "x".repeat(256)]),
    );
    const backends = Array.from({ length: 520 }, (_, index) => ({ ...backend(`b${index}`), labels }));
    expect(await wrongFields(admin, { routes: [], pools: [pool("shop", { backends })] })).toEqual([
      "pools.0.document",
    ]);
  });

  it("is refused as a conflict where routes tie, and with If-Match, which cannot name all versions", async () => {
    const admin = await start();
    const tied = {
      routes: [
        { id: "r", pool: "shop" },
        { id: "s", pool: "shop" },
      ],
      pools: [pool("shop")],
    };
    expect((await admin.send("PUT", "/document", tied)).status).toBe(409);
    const matched = await admin.send("PUT", "/document", { routes: [], pools: [] }, { "If-Match": '"1"' });
    expect(matched).toMatchObject({ status: 422, body: { errors: [{ field: "if-match" }] } });
    expect((await admin.do("GET", "/pools")).body.pools).toEqual([]);
  });

  it("is refused where it was made from other versions than there are, before anything is touched", async () => {
    const admin = await start();
    await arrange(admin);
    const { body } = await admin.do("GET", "/document");
    const [shop, blog] = body.pools;
    await admin.do("PATCH", "/pools/shop", { drainMs: 1 });
    const before = await all(admin);
    const stale = { ...body, pools: [shop, { ...blog, document: { ...blog.document, drainMs: 2 } }] };
    expect((await admin.send("PUT", "/document", stale)).status).toBe(412);
    expect(await all(admin)).toEqual(before);
    await admin.do("PUT", "/routes/more", { path: "/more", pool: "shop" });
    const lessRoutes = {
      ...body,
      pools: [{ ...shop, version: 2, document: { ...shop.document, drainMs: 1 } }, blog],
    };
    const answer = await admin.send("PUT", "/document", lessRoutes);
    expect(answer).toMatchObject({
      status: 412,
      body: { detail: expect.stringContaining("of the directory") },
    });
    const anyVersion = {
      routes: body.routes,
      pools: body.pools.map(({ name, document }: typeof shop) => ({ name, document })),
    };
    expect((await admin.send("PUT", "/document", anyVersion)).status).toBe(200);
  });
});

describe("a document of which a pool changes meanwhile", () => {
  it("stops there and says what remains, and repeating completes it", async () => {
    const admin = await start();
    const names = Array.from({ length: 12 }, (_, index) => `p${index}`);
    const put = (order: readonly string[], weight: number) =>
      admin.send("PUT", "/document", {
        routes: [],
        pools: order.map((name) => pool(name, { backends: [backend("a", weight)] })),
      });
    await put(names, 1);
    // One begins with the first pool and one with the last, so that they meet. Again, should one of them have been too quick.
    const race = (weight: number) => Promise.all([put(names, weight), put(names.toReversed(), weight + 1)]);
    let stopped: AdminAnswer | undefined;
    for (let weight = 2; stopped === undefined; weight += 2) stopped = (await race(weight)).find(hasBegun);
    const { applied, remaining, detail } = stopped.body;
    expect(remaining.length).toBeGreaterThan(0);
    expect(detail).toContain("the precondition wants version");
    const steps = [...applied.map(({ step }: { readonly step: string }) => step), ...remaining];
    expect(steps.toSorted()).toEqual(names.map((name) => `pool ${name}`).toSorted());
    expect(await put(names, 999)).toMatchObject({ status: 200, body: { remaining: [] } });
    const { pools } = (await admin.do("GET", "/document")).body;
    for (const { document } of pools) expect(document.backends).toMatchObject([{ weight: 999 }]);
  });
});
