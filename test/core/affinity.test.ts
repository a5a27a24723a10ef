import * as fc from "fast-check";
import { expect, it } from "vitest";
import { type Credentials, type HashedStep, hashedText, usesTokens } from "../../worker/core/affinity.ts";
import { visit } from "./support/visit.ts";

/** What a request brings, besides a token. */
function brings(told: Parameters<typeof visit>[0]): Credentials {
  return visit(told).credentials;
}

const HEADER = { by: "header", name: "x-user" } as const;
const COOKIE = { by: "cookie", name: "user" } as const;
const QUERY = { by: "query", name: "user" } as const;
const ADDRESS = { by: "address" } as const;

it.each<[HashedStep, Parameters<typeof visit>[0], string]>([
  [HEADER, { headers: { "X-User": "u 1" } }, "header x-user u 1"],
  [COOKIE, { headers: { cookie: "a=1; user=u1; user=u2" } }, "cookie user u1"],
  [QUERY, { query: "?user=u1" }, "query user u1"],
  [QUERY, { query: "?a=1&user=u1&user=u2" }, "query user u1"],
  [QUERY, { query: "?userx=1&xuser=2&user=u%31=+&b=user" }, "query user u%31=+"],
  [ADDRESS, { clientAddress: "192.0.2.1" }, "address  192.0.2.1"],
  [ADDRESS, { clientAddress: "2001:db8:1:2:3:4:5:6" }, "address  2001:0db8:0001:0002"],
  [ADDRESS, { clientAddress: "::ffff:192.0.2.1" }, "address  192.0.2.1"],
])("binds by %j a request with %j", (step, told, text) => {
  expect(hashedText(step, brings(told))).toBe(text);
});

it.each<[HashedStep, Parameters<typeof visit>[0]]>([
  [HEADER, {}],
  [HEADER, { headers: { "x-user": "" } }],
  [HEADER, { headers: { "x-users": "u1" } }],
  [COOKIE, {}],
  [COOKIE, { headers: { cookie: "" } }],
  [COOKIE, { headers: { cookie: "user=; user=u2" } }],
  [COOKIE, { headers: { cookie: "users=u1; my-user=u2; a=user=3" } }],
  [QUERY, {}],
  [QUERY, { query: "?" }],
  [QUERY, { query: "?user" }],
  [QUERY, { query: "?user=" }],
  [QUERY, { query: "?users=u1&my-user=u2&a=user=3" }],
  [ADDRESS, {}],
  [ADDRESS, { headers: { "cf-connecting-ip": "192.0.2.1" } }],
])("binds by %j no request with %j", (step, told) => {
  expect(hashedText(step, brings(told))).toBeNull();
});

it("tells the values of different kinds and names apart", () => {
  const told = {
    headers: { "x-user": "v", user: "v", cookie: "user=v; x-user=v" },
    query: "?user=v&x-user=v",
    clientAddress: "v",
  };
  const steps: readonly HashedStep[] = [
    HEADER,
    { by: "header", name: "user" },
    COOKIE,
    { by: "cookie", name: "x-user" },
    QUERY,
    { by: "query", name: "x-user" },
    ADDRESS,
  ];
  expect(new Set(steps.map((step) => hashedText(step, brings(told)))).size).toBe(steps.length);
});

it("finds any value of a query, among any others", () => {
  const word = fc.stringMatching(/^[a-z0-9%+=]{1,6}$/);
  const pair = fc.tuple(fc.stringMatching(/^[a-z]{1,5}$/), word);
  fc.assert(
    fc.property(fc.array(pair), pair, ([...pairs], [name, value]) => {
      const others = pairs.filter(([other]) => other !== name).map(([key, text]) => `${key}=${text}`);
      const query = `?${[...others, `${name}=${value}`].join("&")}`;
      expect(hashedText({ by: "query", name }, brings({ query }))).toBe(`query ${name} ${value}`);
    }),
  );
});

it("knows whether a chain binds by tokens, wherever in it", () => {
  expect(usesTokens([])).toBe(false);
  expect(usesTokens([{ by: "connection" }, HEADER, COOKIE, QUERY, ADDRESS])).toBe(false);
  expect(usesTokens([{ by: "token" }])).toBe(true);
  expect(usesTokens([{ by: "connection" }, { by: "token" }])).toBe(true);
});
