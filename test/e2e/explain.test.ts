import type { ServerResponse } from "node:http";
import { expect, inject, it, onTestFinished } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { startBackend } from "../support/backend.ts";
import { type Answer, type Ask, Cluster, connections } from "../support/cluster.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";
import { arrived, CookieClient } from "../support/session.ts";

const SECOND_TOKEN = "second-operator-token";

/** What the tests look at of an explanation. */
interface Explained {
  readonly reproduced: boolean | null;
  readonly reason: string;
  readonly attempts: readonly {
    readonly pool: string;
    readonly version: number;
    readonly cause: string;
    readonly reason: string;
    readonly backend: string | null;
    readonly outcome: string | null;
    readonly reproduced: boolean | null;
  }[];
}

async function start(instances: number): Promise<{ readonly cluster: Cluster; readonly admin: AdminClient }> {
  const cluster = await Cluster.start({
    bundle: inject("bundle"),
    instances,
    backends: ["a", "b", "c"],
    variables: { OPERATOR_TOKENS: `${OPERATOR_TOKEN} alice:${SECOND_TOKEN}` },
  });
  return { cluster, admin: cluster.admin };
}

async function orderTrace(admin: AdminClient, forMs = 60_000): Promise<string> {
  const { body } = await admin.do("POST", "/traces", { forMs });
  return body.value;
}

/** What was sent, as an operator describes it, and the trace that came back. */
async function explain(
  admin: AdminClient,
  { method = "GET", path = "/", host = "127.0.0.1", headers = {} }: Ask,
  answer: Answer,
): Promise<Explained> {
  const trace = answer.headers["ring-trace"];
  const request = { method, url: `http://${host}${path}`, headers };
  return (await admin.do("POST", "/explain", { request, trace })).body;
}

it("reproduces every traced decision under traffic, on four instances, while the pools change", {
  timeout: 120_000,
}, async () => {
  const { cluster, admin } = await start(4);
  const put = (name: string, config: object) =>
    admin.do("PUT", `/pools/${name}`, {
      sync: { refreshMs: 500, leaseMs: 1_000 },
      ...config,
      backends: ["a", "b", "c"].map((id, index) => cluster.backend(id, index + 1)),
    });
  await put("default", { affinity: [{ by: "token" }, { by: "connection" }] });
  await put("busy", { policy: "peak_ewma" });
  await put("hashed", {
    policy: "maglev",
    hashBalanceFactor: 120,
    affinity: [{ by: "header", name: "x-user" }],
  });
  await admin.do("PUT", "/routes/busy", { path: "/busy", pool: "busy" });
  await admin.do("PUT", "/routes/hashed", { path: "/hashed", pool: "hashed" });
  await admin.do("PUT", "/routes/split", {
    path: "/split",
    split: [
      { pool: "busy", weight: 1 },
      { pool: "default", weight: 2 },
    ],
  });
  await admin.do("PUT", "/routes/rest", { path: "/", pool: "default" });
  const header = await orderTrace(admin);
  const clients = connections(12).map((connection) => new CookieClient(cluster, { connection }));
  const explained: Explained[] = [];
  const paths = ["/", "/busy", "/hashed", "/split"];
  for (let round = 0; round < 10; round++) {
    if (round === 2) await admin.do("POST", `/pools/default/backends/${home(explained)}/drain`);
    if (round === 4) await cluster.stopBackend("b");
    if (round === 6) await admin.do("PATCH", "/pools/busy", { policy: "round_robin" });
    if (round === 8) {
      await admin.do("POST", `/pools/default/backends/${home(explained)}/disable`);
      await cluster.converge("default");
    }
    const traced = await Promise.all(
      clients.map(async (client, index) => {
        const cookie = [...client.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
        const ask = {
          instance: (index + round) % 4,
          path: paths[(index + round) % paths.length] ?? "/",
          headers: { "ring-trace": header, "x-user": `user ${index}` },
        };
        const answer = await client.ask(ask);
        return { ask: { ...ask, headers: { ...ask.headers, cookie } }, answer };
      }),
    );
    for (const { ask, answer } of traced) {
      const each = await explain(admin, ask, answer);
      expect([answer.backend, each]).toMatchObject([each.attempts.at(-1)?.backend, { reproduced: true }]);
      explained.push(each);
    }
  }
  const attempts = explained.flatMap((each) => each.attempts);
  const reasons = new Set(attempts.map(({ reason }) => reason));
  expect(["CP", "TK", "TD", "PF", "HV"].filter((reason) => !reasons.has(reason))).toEqual([]);
  expect(attempts).toContainEqual(
    expect.objectContaining({ cause: "RT", outcome: "answered", reproduced: true }),
  );
  expect(attempts).toContainEqual(
    expect.objectContaining({ cause: "FA", backend: "b", outcome: "unreachable" }),
  );
});

it("tells of hedges and of waiting for room, and reproduces them", async () => {
  const { cluster, admin } = await start(1);
  const held: ServerResponse[] = [];
  const slow = await startBackend("slow", (_, response) => void held.push(response));
  onTestFinished(() => slow.stop());
  const backends = [{ id: "slow", url: slow.url }, cluster.backend("a")];
  const config = { policy: "first", retry: { hedge: { afterMs: 50, percent: 100 } } };
  await admin.do("PUT", "/pools/hedged", { ...config, backends });
  const busy = { maxInFlight: 1, waiting: { timeoutMs: 100 }, backends: backends.slice(0, 1) };
  await admin.do("PUT", "/pools/busy", busy);
  await admin.do("PUT", "/routes/hedged", { path: "/hedged", pool: "hedged" });
  await admin.do("PUT", "/routes/busy", { path: "/busy", pool: "busy" });
  const headers = { "ring-trace": await orderTrace(admin) };
  const hedged = { path: "/hedged", headers };
  expect(await explain(admin, hedged, await cluster.ask(hedged))).toMatchObject({
    reproduced: true,
    attempts: [
      { cause: "FA", backend: "slow", outcome: "outrun" },
      { cause: "HG", backend: "a", outcome: "answered" },
    ],
  });
  held.length = 0;
  const first = cluster.ask({ path: "/busy" });
  await expect.poll(() => held.length).toBe(1);
  const waiting = { path: "/busy", headers };
  const refused = await cluster.ask(waiting);
  expect([refused.status, await explain(admin, waiting, refused)]).toMatchObject([
    503,
    {
      reproduced: true,
      reason: "FL",
      attempts: [
        { cause: "FA", reason: "FL" },
        { cause: "WR", reason: "FL" },
      ],
    },
  ]);
  held[0]?.end();
  expect((await first).status).toBe(200);
});

it("tells nothing to who is not signed for, and the header to no backend", async () => {
  const { cluster, admin } = await start(1);
  await admin.do("PUT", "/pools/default", { backends: [cluster.backend("a")] });
  const [signed, own] = [
    await orderTrace(admin),
    await orderTrace(new AdminClient(cluster.edge.urls[0], SECOND_TOKEN)),
  ];
  const foreign = await signedBy("another-operator-token", 4_000_000_000);
  const expired = await signedBy(OPERATOR_TOKEN, 1_000_000_000);
  const longer = `4${signed}`;
  const answers = new Map<string, Answer>();
  for (const header of [signed, own, foreign, expired, longer, "1", ""])
    answers.set(header, await cluster.ask({ headers: { "ring-trace": header } }));
  expect([...answers].filter(([, { headers }]) => "ring-trace" in headers).map(([header]) => header)).toEqual(
    [signed, own],
  );
  expect([...answers.values()].filter((answer) => "ring-trace" in arrived(answer))).toEqual([]);
  expect([...answers.values()].map(({ status }) => status)).toEqual(
    answers.size === 7 ? Array(7).fill(200) : [],
  );
});

it("takes forged signatures for guesses at an operator's token", async () => {
  const { cluster, admin } = await start(1);
  await admin.do("PUT", "/pools/default", { backends: [cluster.backend("a")] });
  const signed = await orderTrace(admin);
  const from = { "cf-connecting-ip": "192.0.2.1" };
  for (let guess = 0; guess < 5; guess++) {
    const forged = await signedBy(`a-wrong-token-number-${guess}`, 4_000_000_000);
    await cluster.ask({ headers: { ...from, "ring-trace": forged } });
  }
  const { status, headers } = await cluster.ask({ headers: { ...from, "ring-trace": signed } });
  expect([status, "ring-trace" in headers]).toEqual([200, false]);
  // Requests that anybody can send keep nobody from the admin API.
  expect((await admin.send("GET", "/status", undefined, from)).status).toBe(200);
});

it("lets only operators ask, and shows no secret", async () => {
  const { cluster, admin } = await start(1);
  await admin.do("PUT", "/pools/default", {
    affinity: [{ by: "token" }],
    backends: [cluster.backend("a"), cluster.backend("b", 3)],
  });
  const request = { url: "http://shop.example/cart?x=1", headers: { "x-user": "7" } };
  const { body } = await admin.do("POST", "/explain", { request });
  expect(body).toMatchObject({
    route: null,
    split: null,
    pool: { name: "default", version: 1 },
    reason: "PF",
    steps: [{ step: { by: "token" }, found: "nothing" }],
    candidates: [
      { id: "a", admits: "new", weight: 1, probability: 0.25 },
      { id: "b", admits: "new", weight: 3, probability: 0.75 },
    ],
  });
  const secrets = /"(?:secret|key|macKey|configs)"/;
  expect(JSON.stringify(body)).not.toMatch(secrets);
  const answer = await cluster.ask({ headers: { "ring-trace": await orderTrace(admin) } });
  const trace = Buffer.from(String(answer.headers["ring-trace"]), "base64url").toString();
  expect(trace).toContain('"format":1');
  expect(trace).not.toMatch(secrets);
  const refusals = await Promise.all([
    admin.send("POST", "/explain", { request, trace: "bm9uc2Vuc2U" }),
    admin.send("POST", "/explain", { request: { url: "nonsense" } }),
    admin.send("POST", "/explain", { request, version: 99 }),
    new AdminClient(cluster.edge.urls[0], "nobody-knows-this-one").send("POST", "/explain", { request }),
    new AdminClient(cluster.edge.urls[0], "nobody-knows-this-one").send("POST", "/traces", {}),
  ]);
  expect(refusals.map(({ status }) => status)).toEqual([422, 422, 404, 401, 401]);
});

it("explains by a version that is kept, and says when one is not", async () => {
  const { cluster, admin } = await start(1);
  await admin.do("PUT", "/pools/default", {
    policy: "first",
    backends: [cluster.backend("a"), cluster.backend("b")],
  });
  const header = await orderTrace(admin);
  const ask = { headers: { "ring-trace": header } };
  const answer = await cluster.ask(ask);
  await admin.do("DELETE", "/pools/default/backends/a");
  const request = { url: "http://shop.example/" };
  const now = await admin.do("POST", "/explain", { request });
  const before = await admin.do("POST", "/explain", { request, version: 1 });
  expect([now.body.backend, before.body.backend]).toEqual(["b", "a"]);
  expect(await explain(admin, ask, answer)).toMatchObject({
    reproduced: true,
    attempts: [{ backend: "a", version: 1 }],
  });
  await admin.do("DELETE", "/pools/default");
  expect(await explain(admin, ask, answer)).toMatchObject({ reproduced: null });
});

/** A backend where sessions began, and that goes on running. */
function home(explained: readonly Explained[]): string {
  const attempts = explained.flatMap((each) => each.attempts);
  const placed = attempts.find(({ reason, backend }) => reason === "CP" && backend !== "b");
  return placed?.backend ?? "";
}

/** As the edge signs: `<expiry>.<HMAC-SHA-256>`. */
async function signedBy(token: string, untilS: number): Promise<string> {
  const text = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", text.encode(token), algorithm, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", key, text.encode(`ring-trace until ${untilS}`));
  return `${untilS}.${Buffer.from(signature).toString("base64url")}`;
}
