import * as fc from "fast-check";
import { expect, it } from "vitest";
import { Carriers, TokenCurtain } from "../../worker/core/carriers.ts";
import { poolName } from "./support/build.ts";
import { poolConfig } from "./support/visit.ts";

/** The carriers of a pool, from what its tokens are told. */
function carriers(tokens: Readonly<Record<string, unknown>> = {}, pool = "shop"): Carriers {
  return new Carriers(poolName(pool), poolConfig({ tokens }).tokens);
}

/** A request's headers as its backend gets them. */
function stripped(
  told: Readonly<Record<string, string>>,
  ...each: readonly Carriers[]
): Readonly<Record<string, string>> {
  const headers = new Headers(told);
  new TokenCurtain(each).draw(headers);
  return Object.fromEntries(headers);
}

const COOKIE = "__Host-ring-shop";
const BOTH = { header: "ring-token" };
const HEADER_ONLY = { cookie: null, header: "Ring-Token" };
const NEITHER = { cookie: null };

it("reads tokens from the pool's own cookie by default, every one of them", () => {
  const headers = new Headers({ cookie: `x=1; ${COOKIE}=one; ${COOKIE}=two`, "ring-token": "three" });
  expect(carriers().read(headers)).toEqual(["one", "two"]);
});

it.each<[string, Readonly<Record<string, unknown>>, readonly string[]]>([
  ["cookie", {}, ["c"]],
  ["header", HEADER_ONLY, ["h"]],
  ["both", BOTH, ["c", "h"]],
  ["neither", NEITHER, []],
])("reads, with tokens in the carrier: %s, what a request has there", (_, told, tokens) => {
  const headers = new Headers({ cookie: `${COOKIE}=c`, "ring-token": "h" });
  expect(carriers(told).read(headers)).toEqual(tokens);
});

it("reads nothing where there is nothing", () => {
  expect(carriers(BOTH).read(new Headers())).toEqual([]);
  expect(carriers(BOTH).read(new Headers({ cookie: "x=1", "ring-token": "" }))).toEqual([]);
});

it.each<[string, Readonly<Record<string, unknown>>, readonly (readonly [string, string])[]]>([
  ["cookie", {}, [["set-cookie", `${COOKIE}=t; Path=/; Secure; HttpOnly; SameSite=Lax`]]],
  ["header", HEADER_ONLY, [["ring-token", "t"]]],
  [
    "both",
    { ...BOTH, cookie: { name: "sid", path: "/x", secure: false, persistent: true }, lifetimeMs: 60_000 },
    [
      ["set-cookie", "sid=t; Path=/x; Max-Age=60; HttpOnly; SameSite=Lax"],
      ["ring-token", "t"],
    ],
  ],
  ["neither", NEITHER, []],
])("writes a token into the carrier: %s", (_, told, headers) => {
  expect(carriers(told).write("t")).toEqual(headers);
});

it("takes its cookie and header away from what the backend gets, and nothing else", () => {
  const told = { cookie: `a=1; ${COOKIE}=t; b=2`, "ring-token": "t", "x-other": "o" };
  expect(stripped(told, carriers(BOTH))).toEqual({ cookie: "a=1; b=2", "x-other": "o" });
  expect(stripped(told, carriers())).toEqual({ ...told, cookie: "a=1; b=2" });
  expect(stripped(told, carriers(HEADER_ONLY))).toEqual({ cookie: "a=1; b=2", "x-other": "o" });
  expect(stripped(told, carriers(NEITHER))).toEqual({ ...told, cookie: "a=1; b=2" });
  const renamed = carriers({ cookie: { name: "b" } });
  expect(stripped(told, renamed)).toEqual({ ...told, cookie: "a=1" });
});

it("takes the whole Cookie header away when nothing else is in it, and adds none", () => {
  expect(stripped({ cookie: `${COOKIE}=t` }, carriers())).toEqual({});
  expect(stripped({}, carriers(BOTH))).toEqual({});
  expect(stripped({ cookie: "a=1;b=2 " }, carriers())).toEqual({ cookie: "a=1;b=2" });
});

it("passes the cookie on where the pool asks for it, and still not the header", () => {
  const told = { cookie: `a=1;  ${COOKIE}=t`, "ring-token": "t" };
  expect(stripped(told, carriers({ ...BOTH, cookie: { passOn: true } }))).toEqual({ cookie: told.cookie });
});

it("reads back what it wrote, through any carrier", () => {
  const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,60}$/);
  fc.assert(
    fc.property(token, fc.constantFrom({}, HEADER_ONLY, BOTH), (text, told) => {
      const own = carriers(told);
      const sent = own
        .write(text)
        .map(([name, value]) =>
          name === "set-cookie" ? ["cookie", value.split(";")[0] ?? ""] : [name, value],
        );
      expect(new Set(own.read(new Headers(Object.fromEntries(sent))))).toEqual(new Set([text]));
    }),
  );
});

it("keeps the cookies of several pools on one host apart, also of names that begin alike", () => {
  const names = ["shop", "shop-2", "sho", "api"];
  const pools = names.map((name) => carriers({}, name));
  const cookie = names.map((name) => `__Host-ring-${name}=${name}`).join("; ");
  expect(pools.map((pool) => pool.read(new Headers({ cookie })))).toEqual(names.map((name) => [name]));
  expect(stripped({ cookie }, ...pools)).toEqual({});
  expect(new Set(pools.map((pool) => pool.write("t")[0]?.[1])).size).toBe(names.length);
});

it("keeps the tokens of pools it does not know from backends too, as far as they have the default name", () => {
  const cookie = "theme=dark; __Host-ring-unknown=t; x__Host-ring-y=1";
  expect(stripped({ cookie })).toEqual({ cookie: "theme=dark; x__Host-ring-y=1" });
  expect(stripped({ cookie }, carriers({}, "other"))).toEqual({ cookie: "theme=dark; x__Host-ring-y=1" });
  expect(stripped({ cookie }, carriers({ cookie: { passOn: true } }, "unknown"))).toEqual({ cookie });
});
