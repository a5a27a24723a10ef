import * as fc from "fast-check";
import { expect, inject, it } from "vitest";
import { BACKEND, POOL, ROUTE } from "../core/support/whole-documents.ts";
import type { AdminAnswer } from "../support/admin.ts";
import { Cluster } from "../support/cluster.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";
import { casesOf, countCases, SEED } from "../support/fuzz.ts";
import { NASTY_JSON, NASTY_TEXT, spoiled } from "../support/nasties.ts";

/** Brackets in brackets, as many as a body has room for. */
const DEEP = 500_000;

/** A body that is no JSON, or hardly. */
const TEXTS: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 6,
    arbitrary: spoiled(fc.constantFrom<unknown>(POOL, BACKEND, ROUTE, {}, { forMs: 0 })).map((body) =>
      JSON.stringify(body),
    ),
  },
  { weight: 3, arbitrary: NASTY_JSON.map((body) => JSON.stringify(body)) },
  { weight: 2, arbitrary: NASTY_TEXT },
  fc.constantFrom(
    '{"__proto__":{"policy":"random"}}',
    '{"weight":1e999}',
    '{"weight":1,"weight":2}',
    '{"backends":null}',
    "[".repeat(DEEP),
    "[".repeat(DEEP) + "]".repeat(DEEP),
    `{"health":${'{"a":'.repeat(150_000)}1${"}".repeat(150_000)}}`,
    `{"labels":{${Array.from({ length: 20_000 }, (_, index) => `"l${index}":""`).join(",")}}}`,
    `[${"0,".repeat(500_000)}0]`,
    `{"backends":[${"{},".repeat(300_000)}{}]}`,
    `"${"\\ud800".repeat(100_000)}"`,
    `"${"x".repeat(1_000_000)}"`,
  ),
);

/** A part of a path, as `encodeURIComponent` would never write it. */
const PART = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("shop", "a", "b", "default", "backends", "tokens") },
  NASTY_TEXT.map((text) => encodeURIComponent(text.toWellFormed())),
  NASTY_TEXT.map((text) => text.replaceAll(/[^!-~]|[?#]/g, "")),
);

/** Those that lead out of the prefix are for backends. */
const PATH = fc
  .oneof(
    { weight: 4, arbitrary: fc.constant("/pools/shop") },
    { weight: 4, arbitrary: PART.map((id) => `/pools/shop/backends/${id}`) },
    { weight: 2, arbitrary: PART.map((id) => `/routes/${id}`) },
    fc
      .tuple(PART, fc.constantFrom("drain", "undrain", "disable", "enable", "pin"))
      .map(([id, action]) => `/pools/shop/backends/${id}/${action}`),
    NASTY_TEXT.map((text) => `/pools/shop/events?after=${encodeURIComponent(text.toWellFormed())}`),
    PART.map((query) => `/pools/shop/events?${query}=1&limit=5`),
    PART.map((name) => `/pools/${name}`),
    fc.tuple(PART, PART, PART).map((parts) => `/${parts.join("/")}`),
  )
  .filter((path) => URL.parse(`http://h/_ring${path}`)?.pathname.startsWith("/_ring/") === true);

const CONDITION = fc.oneof(
  { weight: 5, arbitrary: fc.constant({}) },
  NASTY_TEXT.map((text) => ({ "if-match": text.replaceAll(/[^ -~]/g, "") })),
  fc.constantFrom(
    { "if-match": '"1","2", "99999999999999999"' },
    { "if-match": "*" },
    { "if-none-match": "*" },
    { "if-none-match": '"1"' },
  ),
);

const ASKED = fc.record({
  method: fc.constantFrom("PUT", "PUT", "PATCH", "PATCH", "POST", "GET", "DELETE"),
  path: PATH,
  text: TEXTS,
  headers: CONDITION,
});

it("answers every request of an operator with what was done, or what is wrong with it, and then nothing was done", async () => {
  const logged: string[] = [];
  const { admin } = await Cluster.start({
    bundle: inject("bundle"),
    backends: [],
    onLog: (line) => logged.push(line),
  });
  const cases = fc.sample(ASKED, { numRuns: casesOf("admin"), seed: SEED });
  const read = async (): Promise<string> => {
    const pool = await admin.send("GET", "/pools/shop");
    const { version, routes, pools } = (await admin.send("GET", "/status")).body;
    return JSON.stringify([pool.status, pool.body, version, routes, pools]);
  };
  for (const [index, { method, path, text, headers }] of cases.entries()) {
    // It is made again every so often: some of what comes deletes it.
    if (index % 20 === 0)
      await admin.do("PUT", "/pools/shop", { backends: [{ id: "a", url: "https://a.example" }] });
    const before = await read();
    const answer = await admin.send(method, path, method === "GET" ? undefined : text, headers);
    const shown = JSON.stringify({ method, path, headers, text: text.slice(0, 500), answer }).slice(0, 2_000);
    const left = answer.status >= 400 ? await read() : before;
    expect({ shown, fault: findFault(answer), left }).toEqual({ shown, fault: null, left: before });
  }
  expect(logged).toEqual([]);
  countCases("admin", cases.length);
}, 300_000);

/** What is wrong with an answer; null: nothing. */
function findFault({ status, headers, body }: AdminAnswer): string | null {
  const text = JSON.stringify(body);
  if (![200, 201, 400, 404, 409, 412, 413, 422].includes(status)) return "has another status";
  if (text.includes(OPERATOR_TOKEN)) return "tells a secret";
  if (/\.[jt]s:\d|\n\s+at |itty|sqlite/i.test(text)) return "tells how it is made";
  if (status < 400) return null;
  if (headers.get("content-type") !== "application/problem+json") return "is no problem";
  if (text.length > 60_000) return "is long";
  if (status !== 422) return null;
  const errors: readonly { field: unknown; value: unknown; range: unknown }[] = body.errors;
  const isNamed = errors.every(
    ({ field, value, range }) =>
      typeof field === "string" && value !== undefined && typeof range === "string",
  );
  return isNamed && errors.length > 0 ? null : "names no field, value and range";
}
