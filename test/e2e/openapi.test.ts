import { createConfig, lintFromString } from "@redocly/openapi-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { FieldError } from "../../durable/model/refusal.ts";
import { type AdminAnswer, AdminClient } from "../support/admin.ts";
import { Cluster } from "../support/cluster.ts";
import { type Endpoint, OpenApi } from "../support/openapi.ts";

const VIEWER_TOKEN = "a-viewer-token-of-ours";

/** Names that a path can hold. */
const NAMES = { pool: "shop", backend: "a", route: "api", version: "1", to: "2" };

/** One request of a day's work. Its body is the documented example unless there is another here. */
interface Step {
  readonly id: string;
  readonly names?: Partial<typeof NAMES>;
  readonly query?: string;
  readonly body?: object;
}

/** Every endpoint at least once, in an order in which all that is named is there. */
const DAY: readonly Step[] = [
  { id: "getOpenApi" },
  { id: "putPool" },
  { id: "putPool", query: "?wait=100ms" },
  { id: "patchPool" },
  { id: "putBackend", names: { backend: "b" } },
  {
    id: "putBackend",
    names: { backend: "c" },
    body: { url: "https://c.example.com", labels: { zone: "eu-1" } },
  },
  { id: "patchBackend" },
  { id: "putRoute" },
  { id: "patchRoute", query: "?wait=100ms" },
  { id: "pinBackend" },
  { id: "getPoolStatus" },
  { id: "issueTrace" },
  { id: "explain" },
  { id: "unpinBackend" },
  { id: "listEvents", query: "?after=0&limit=10" },
  { id: "drainBackend" },
  { id: "getReceipt" },
  { id: "getReceipt", query: "?wait=1ms" },
  { id: "undrainBackend" },
  { id: "disableBackend" },
  { id: "enableBackend" },
  { id: "drainLabelled" },
  { id: "getReceipts", query: "?label=zone&value=eu-1&wait=1ms" },
  { id: "undrainLabelled" },
  { id: "rotateKeys" },
  { id: "getTokens" },
  { id: "exportTokens" },
  { id: "getDirectory" },
  { id: "getRoutesConvergence", query: "?wait=1ms" },
  { id: "getPoolConvergence" },
  { id: "listPools" },
  { id: "getPool" },
  { id: "listBackends" },
  { id: "getBackend" },
  { id: "listRoutes" },
  { id: "getRoute" },
  { id: "listDirectoryVersions" },
  { id: "getDirectoryVersion" },
  { id: "compareDirectoryVersions" },
  { id: "listDirectoryLostLeases" },
  { id: "listPoolVersions", query: "?limit=50" },
  { id: "getPoolVersion" },
  { id: "comparePoolVersions" },
  { id: "listPoolLostLeases" },
  { id: "getDocument" },
  { id: "deleteBackend", names: { backend: "c" } },
  { id: "rollBackPool" },
  { id: "deleteRoute" },
  { id: "rollBackRoutes" },
  { id: "deletePool" },
  { id: "rollBackPool" },
  { id: "putDocument" },
];

let cluster: Cluster;
let source: string;
let api: OpenApi;
let endpoints: readonly Endpoint[];

beforeAll(async () => {
  cluster = await Cluster.launch({
    bundle: inject("bundle"),
    backends: [],
    variables: { VIEWER_TOKENS: VIEWER_TOKEN },
  });
  const viewer = new AdminClient(cluster.edge.urls[0], VIEWER_TOKEN);
  const { body } = await viewer.do("GET", "/openapi.json");
  source = JSON.stringify(body);
  api = new OpenApi(body);
  endpoints = api.endpoints();
});
afterAll(() => cluster.stop());

/** The path of an endpoint, with names put in. */
function pathOf({ path }: Endpoint, names: Partial<typeof NAMES> = {}): string {
  return Object.entries({ ...NAMES, ...names }).reduce(
    (at, [name, value]) => at.replace(`{${name}}`, value),
    path,
  );
}

it("is clean by a linter's strictest rules, which hold its examples against its schemas", async () => {
  const config = await createConfig({ extends: ["recommended-strict"] });
  const problems = await lintFromString({ source, config });
  expect(problems.map(({ ruleId, message, location }) => [ruleId, location[0]?.pointer, message])).toEqual(
    [],
  );
});

it("says of a day's work what is answered: every endpoint, with its example", async () => {
  const faults: string[] = [];
  for (const { id, names, query = "", body } of DAY) {
    const endpoint = endpoints.find((candidate) => candidate.id === id);
    if (endpoint === undefined) throw new Error(`the document has no ${id}`);
    const sent = body ?? endpoint.example ?? undefined;
    const answer = await cluster.admin.send(endpoint.method, pathOf(endpoint, names) + query, sent);
    faults.push(
      ...api.faults(endpoint, answer),
      ...(answer.status < 300 ? [] : [`${id}: ${JSON.stringify(answer.body)}`]),
    );
  }
  expect(faults).toEqual([]);
  expect(new Set(DAY.map(({ id }) => id))).toEqual(new Set(endpoints.map(({ id }) => id)));
});

it("says what is explained of requests: with a trace, led nowhere, and led by a split and a subset", async () => {
  const split = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b"] });
  await split.putPool("shop", ["a", "b"], { affinity: [{ by: "token" }, { by: "connection" }] });
  const subset = { by: "country", label: "country" };
  await split.admin.do("PUT", "/routes/r", { path: "/r", split: [{ pool: "shop", weight: 1 }], subset });
  const { header, value } = (await split.admin.do("POST", "/traces")).body;
  const traced = await split.ask({ path: "/r", headers: { [header]: value }, connection: "one" });
  const request = { url: "http://127.0.0.1/r" };
  const questions = [
    { request, trace: traced.headers["ring-trace"] },
    { request: { url: "http://127.0.0.1/elsewhere" } },
    { request: { ...request, cf: { country: "DE" } } },
  ];
  const endpoint = endpoints.find(({ id }) => id === "explain");
  if (endpoint === undefined) throw new Error("the document has no explain");
  for (const question of questions) {
    const answer = await split.admin.do("POST", "/explain", question);
    expect(api.faults(endpoint, answer)).toEqual([]);
  }
});

it("says what is previewed, of every write and nothing else, and nothing is done", async () => {
  const { admin } = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  const put = (path: string, id: string) =>
    admin.do("PUT", path, endpoints.find((endpoint) => endpoint.id === id)?.example);
  const making = await sendAll({ query: "?dry_run=1", names: { pool: "new", route: "new" } }, admin);
  await put("/pools/shop", "putPool");
  await admin.do("PATCH", "/pools/shop/backends/a", { labels: { zone: "eu-1" } });
  await put("/routes/api", "putRoute");
  const before = (await admin.do("GET", "/document")).body;
  const changing = await sendAll({ query: "?dry_run=1" }, admin);
  expect([...making, ...changing].flatMap(({ endpoint, answer }) => api.faults(endpoint, answer))).toEqual(
    [],
  );
  const writes = changing.filter(({ endpoint }) => endpoint.parameters.includes("dry_run"));
  const isPreview = ({ answer }: (typeof writes)[number]) =>
    answer.status === 200 && "nextVersion" in answer.body;
  const others = writes
    .filter((write) => !isPreview(write))
    .map(({ endpoint, answer }) => [endpoint.id, answer.status]);
  // The route leads to the pool; a document has previews of pools inside of it.
  expect(others).toEqual([
    ["putDocument", 200],
    ["deletePool", 409],
  ]);
  expect((await admin.do("GET", "/document")).body).toEqual(before);
});

describe("what is refused", () => {
  const wrongs: readonly [string, About][] = [
    [
      "things that are not there",
      { names: { pool: "nowhere", backend: "nobody", route: "nothing", version: "99" } },
    ],
    ["names that make no sense", { names: { pool: "No!", backend: "No!", route: "No!", version: "no" } }],
    ["a version that is not", { headers: { "if-match": '"123456"' } }],
    ["a body that is none", { body: "{" }],
    ["a body that is too long", { body: " ".repeat(1_048_577) }],
  ];

  it.each(wrongs)("is told of, with %s", async (_, wrong) => {
    const answers = await sendAll(wrong);
    expect(answers.flatMap(({ endpoint, answer }) => api.faults(endpoint, answer))).toEqual([]);
    expect(answers.some(({ answer }) => answer.status >= 400)).toBe(true);
  });

  it("is told of, with a token that only reads", async () => {
    const answers = await sendAll({}, new AdminClient(cluster.edge.urls[0], VIEWER_TOKEN));
    const changes = answers.filter(({ endpoint }) => endpoint.method !== "GET");
    expect(changes.flatMap(({ endpoint, answer }) => api.faults(endpoint, answer))).toEqual([]);
    expect(changes.every(({ answer }) => answer.status === 403)).toBe(true);
  });

  it("is told of, with tokens that nobody has, before and after guessing is slowed", async () => {
    const { edge } = await Cluster.start({ bundle: inject("bundle"), backends: [] });
    const answers = await sendAll({}, new AdminClient(edge.urls[0], "nobody-has-this-token"));
    expect(answers.flatMap(({ endpoint, answer }) => api.faults(endpoint, answer))).toEqual([]);
    expect(new Set(answers.map(({ answer }) => answer.status))).toEqual(new Set([401, 429]));
  });
});

it("has the fields of bodies that are known, and no others", async () => {
  const answers = await sendAll({ body: JSON.stringify({ unheardOf: 1 }) });
  const known = answers.map(({ endpoint: { id, fields }, answer }) => {
    const error = answer.body.errors?.find(({ field }: FieldError) => field === "unheardOf");
    return {
      id,
      fields: fields === null ? null : (error?.range.split("known: ")[1].split(", ").toSorted() ?? []),
    };
  });
  expect(endpoints.map(({ id, fields }) => ({ id, fields: fields?.toSorted() ?? null }))).toEqual(known);
});

it.each([
  ["wait", { query: "?wait=soon" }],
  ["If-Match", { headers: { "if-match": "nonsense" } }],
  ["If-None-Match", { headers: { "if-none-match": "nonsense" } }],
  ["Ring-Reason", { headers: { "ring-reason": "\u00e4" } }],
])("tells of %s where it is read, and nowhere else", async (parameter, about) => {
  const answers = await sendAll(about);
  const heeding = answers.filter(({ answer }) =>
    answer.body.errors?.some(
      ({ field, range }: FieldError) =>
        field.toLowerCase() === parameter.toLowerCase() &&
        !/^(?:is not known|must not be sent) here/.test(range),
    ),
  );
  expect(heeding.map(({ endpoint }) => endpoint.id)).toEqual(
    endpoints.filter(({ parameters }) => parameters.includes(parameter)).map(({ id }) => id),
  );
});

/** What is sent other than an endpoint says. */
interface About {
  readonly names?: Partial<typeof NAMES>;
  readonly query?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** Asks every endpoint, with something about it. */
async function sendAll({ names = {}, query = "", headers = {}, body }: About, client = cluster.admin) {
  const answers: { readonly endpoint: Endpoint; readonly answer: AdminAnswer }[] = [];
  for (const endpoint of endpoints) {
    const sent = endpoint.method === "GET" ? undefined : (body ?? endpoint.example ?? undefined);
    const answer = await client.send(endpoint.method, pathOf(endpoint, names) + query, sent, headers);
    answers.push({ endpoint, answer });
  }
  return answers;
}
