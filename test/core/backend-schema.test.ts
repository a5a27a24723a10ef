import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BackendInputSchema, BackendPatchSchema, ListedBackendSchema } from "../../durable/model/backend.ts";
import { parse } from "../../durable/model/parse.ts";
import { ID_RANGE, refusal } from "./support/refusal.ts";

const URL_RANGE = "must be an http:// or https:// URL of at most 2048 characters";
const A = { url: "https://a.example" };

it("fills in what a backend leaves out, except its admin state", () => {
  expect(parse(BackendInputSchema, A)).toEqual({
    ok: true,
    value: { url: "https://a.example", weight: 1, via: null, labels: {}, priority: 0 },
  });
});

it.each([
  ["https://a.example", "https://a.example"],
  ["https://a.example/", "https://a.example"],
  ["https://a.example:8443/base//", "https://a.example:8443/base"],
  ["HTTPS://A.Example:443/Base", "https://a.example/Base"],
  ["http://a.example/a/../b", "http://a.example/b"],
  ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
  ["https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"],
  ["https://bücher.example", "https://xn--bcher-kva.example"],
])("writes the URL %s as %s", (url, written) => {
  expect(parse(BackendInputSchema, { url })).toMatchObject({ ok: true, value: { url: written } });
});

it.each([
  ["ftp://a.example", URL_RANGE],
  ["https:///a.example", URL_RANGE],
  ["https:a.example", URL_RANGE],
  ["ws://a.example", URL_RANGE],
  ["https://a.example?", "must not hold a query or fragment"],
  ["https://a.example?x=1", "must not hold a query or fragment"],
  ["https://a.example/#x", "must not hold a query or fragment"],
])("refuses the URL %s", (url, range) => {
  expect(parse(BackendInputSchema, { url })).toEqual(refusal(["url", url, range]));
});

it.each(["user", "user:secret"])("refuses a URL with %s in it, and does not repeat that", (credentials) => {
  expect(parse(BackendInputSchema, { url: `https://${credentials}@a.example` })).toEqual(
    refusal(["url", "https://…@a.example", "must not hold a user or password"]),
  );
});

it.each([
  "",
  "a.example",
  "/a",
  "https://",
  "https://a b.example",
  "https://a.example:99999",
  "https://[::1",
])("refuses the URL %j, which no URL parser takes", (url) => {
  const parsed = parse(BackendInputSchema, { url });
  expect(parsed).toMatchObject({ refusal: { kind: "invalid" } });
  const errors = parsed.ok || parsed.refusal.kind !== "invalid" ? [] : parsed.refusal.errors;
  // Once, though several rules say so.
  expect(errors.filter(({ range }) => range === URL_RANGE)).toEqual([
    { field: "url", value: url, range: URL_RANGE },
  ]);
});

it("refuses a URL of more than 2048 characters, and repeats only its beginning", () => {
  const url = `https://a.example/${"x".repeat(2_031)}`;
  expect(parse(BackendInputSchema, { url: url.slice(0, 2_048) })).toMatchObject({ ok: true });
  expect(parse(BackendInputSchema, { url })).toEqual(refusal(["url", `${url.slice(0, 200)}…`, URL_RANGE]));
});

it.each([undefined, null, 5, {}])("refuses %j as a URL", (url) => {
  const value = { undefined: "(missing)", object: "(object)" }[typeof url as string] ?? url;
  expect(parse(BackendInputSchema, { url })).toEqual(
    refusal(["url", url === null ? null : value, URL_RANGE]),
  );
});

it.each([
  [-1, -1],
  [1.5, 1.5],
  [1_001, 1_001],
  ["5", "5"],
  [null, null],
  [Number.NaN, Number.NaN],
  [[5], "(a list of 1)"],
])("refuses the weight %j", (weight, value) => {
  expect(parse(BackendInputSchema, { ...A, weight })).toEqual(
    refusal(["weight", value, "must be an integer 0…1000"]),
  );
});

it.each([0, 1, 1_000])("takes the weight %d", (weight) => {
  expect(parse(BackendInputSchema, { ...A, weight })).toMatchObject({ value: { weight } });
});

it.each([-1, 10, 0.5, "1", null])("refuses the priority %j", (priority) => {
  expect(parse(BackendInputSchema, { ...A, priority })).toEqual(
    refusal(["priority", priority, "must be an integer 0…9"]),
  );
});

it.each([0, 9])("takes the priority %d", (priority) => {
  expect(parse(BackendInputSchema, { ...A, priority })).toMatchObject({ value: { priority } });
});

it.each(["", "a-b", "1A", "a".repeat(65), 5])("refuses %j as the name of a binding", (via) => {
  const range = "must be the name of a Fetcher binding: 1…64 characters of A-Z, a-z, 0-9 and '_'";
  expect(parse(BackendInputSchema, { ...A, via })).toEqual(refusal(["via", via, range]));
});

describe("labels", () => {
  it("are free words of at most 256 characters under plain names", () => {
    const labels = { zone: "Zürich 🏔", release: "", "a.b_c-d": "x".repeat(256) };
    expect(parse(BackendInputSchema, { ...A, labels })).toMatchObject({ value: { labels } });
  });

  it.each([
    [
      "too long a value",
      { a: "x".repeat(257) },
      "labels.a",
      `${"x".repeat(200)}…`,
      "must be a string of at most 256 characters",
    ],
    ["a number", { a: 5 }, "labels.a", 5, "must be a string of at most 256 characters"],
    ["a bad name", { Zone: "x" }, "labels.Zone", "Zone", ID_RANGE],
    ["no object", "zone=x", "labels", "zone=x", "must be an object of strings"],
  ])("refuses %s", (_, labels, field, value, range) => {
    expect(parse(BackendInputSchema, { ...A, labels })).toEqual(refusal([field, value, range]));
  });

  it("are 32 at most", () => {
    const names = Array.from({ length: 33 }, (_, index) => [`l${index}`, ""] as const);
    const labels = Object.fromEntries(names);
    expect(parse(BackendInputSchema, { ...A, labels: Object.fromEntries(names.slice(1)) })).toMatchObject({
      ok: true,
    });
    expect(parse(BackendInputSchema, { ...A, labels })).toEqual(
      refusal(["labels", "(object)", "must hold at most 32 labels"]),
    );
  });
});

describe("an admin state", () => {
  it.each([{ kind: "active" }, { kind: "draining", untilMs: 0 }, { kind: "disabled" }])(
    "may be %j",
    (admin) => {
      expect(parse(BackendInputSchema, { ...A, admin })).toMatchObject({ ok: true, value: { admin } });
    },
  );

  it.each([
    ["a word", "active", "admin", "active"],
    ["an unknown kind", { kind: "drained" }, "admin.kind", "drained"],
    ["no kind", {}, "admin.kind", "(missing)"],
  ])("may not be %s", (_, admin, field, value) => {
    expect(parse(BackendInputSchema, { ...A, admin })).toEqual(
      refusal([
        field,
        value,
        'must be an object whose kind is "active", "draining" (with untilMs) or "disabled"',
      ]),
    );
  });

  it.each([
    ["without its deadline", undefined, "(missing)", "is required"],
    ["until a date in words", "noon", "noon", "must be an integer 0…9007199254740991"],
    ["until a fraction", 1.5, 1.5, "must be an integer 0…9007199254740991"],
    ["until before the epoch", -1, -1, "must be an integer 0…9007199254740991"],
  ])("may not be draining %s", (_, untilMs, value, range) => {
    const admin = { kind: "draining", ...(untilMs === undefined ? {} : { untilMs }) };
    expect(parse(BackendInputSchema, { ...A, admin })).toEqual(refusal(["admin.untilMs", value, range]));
  });

  it("may hold nothing that its kind has no use for", () => {
    expect(parse(BackendInputSchema, { ...A, admin: { kind: "active", untilMs: 5 } })).toEqual(
      refusal(["admin.untilMs", 5, "is not known here; known: kind"]),
    );
  });
});

it.each([
  ["backend", BackendInputSchema, A, "url, weight, via, labels, priority, admin"],
  ["patch", BackendPatchSchema, {}, "url, weight, via, labels, priority, admin"],
  ["listed backend", ListedBackendSchema, { ...A, id: "a" }, "id, url, weight, via, labels, priority, admin"],
])("refuses an unknown field of a %s by its name", (_, schema, rest, known) => {
  expect(parse(schema, { ...rest, wieght: 5 })).toEqual(
    refusal(["wieght", 5, `is not known here; known: ${known}`]),
  );
});

it.each([
  [null, null],
  ["a", "a"],
  [5, 5],
  [undefined, "(missing)"],
])("refuses %j in the place of a backend", (input, value) => {
  const range = "must be an object with url, weight, via, labels, priority, admin";
  expect(parse(BackendInputSchema, input)).toEqual(refusal(["", value, range]));
});

it("adds nothing to a patch", () => {
  expect(parse(BackendPatchSchema, {})).toEqual({ ok: true, value: {} });
  expect(parse(BackendPatchSchema, { via: null, weight: 0 })).toEqual({
    ok: true,
    value: { via: null, weight: 0 },
  });
});

it("names everything that is wrong at once", () => {
  expect(parse(BackendInputSchema, { url: 5, weight: -1, colour: "red" })).toEqual(
    refusal(
      ["url", 5, URL_RANGE],
      ["weight", -1, "must be an integer 0…1000"],
      ["colour", "red", "is not known here; known: url, weight, via, labels, priority, admin"],
    ),
  );
});

it("takes what it has written, and writes it the same again", () => {
  const url = fc
    .webUrl({ authoritySettings: { withIPv4: true, withIPv6: true, withPort: true } })
    .filter((text) => text.length < 200 && new URL(text).port !== "0");
  fc.assert(
    fc.property(url, fc.nat({ max: 1_000 }), (text, weight) => {
      const once = parse(BackendInputSchema, { url: text, weight });
      expect(once).toMatchObject({ ok: true });
      expect(parse(BackendInputSchema, once.ok ? once.value : null)).toEqual(once);
    }),
  );
});
