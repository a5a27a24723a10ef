import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { CookieConfig } from "../../durable/model/token.ts";
import { cookieValues, renderSetCookie, withoutCookies } from "../../worker/core/cookie.ts";

function without(header: string, names: readonly string[]): string | null {
  return withoutCookies(header, (name) => names.includes(name));
}

it.each<[header: string, values: readonly string[]]>([
  ["", []],
  ["ring", []],
  ["ring=", [""]],
  ["ring=a", ["a"]],
  ["ring=a; ring=b", ["a", "b"]],
  ["x=1; ring=a; y=2", ["a"]],
  ["x=1;ring=a;y=2", ["a"]],
  ["  x=1 ;  ring=a  ; y=2 ", ["a"]],
  ["x=1;\tring=a", ["a"]],
  [";;ring=a;;", ["a"]],
  ["ring=a=b==", ["a=b=="]],
  ['ring="a"', ['"a"']],
  ["ringo=a; string=b; my-ring=c", []],
  ["x=ring=a; y=ring", []],
  ["RING=a", []],
  ["x=1; ring", []],
])("finds in %j the values %j of the cookie `ring`", (header, values) => {
  expect(cookieValues(header, "ring")).toEqual(values);
});

it.each<[header: string, left: string | null]>([
  ["ring=a", null],
  ["ring=a; ring=b", null],
  ["ring=a;", null],
  ["; ring=a ;", null],
  ["ring", null],
  ["ring=", null],
  ["ring =a", null],
  ["x=1; ring=a; y=2", "x=1; y=2"],
  ["ring=a; x=1", "x=1"],
  ["x=1; ring=a", "x=1"],
  ["ring=a; x=1; ring=b; y=2; ring=c", "x=1; y=2"],
  ["x=ring=a; ring=b", "x=ring=a"],
  ["ringo=a; string=b; ring=c; my-ring=d", "ringo=a; string=b; my-ring=d"],
  ['x="a b"; ring=c; y==; z', 'x="a b"; y==; z'],
])("leaves of %j, without the cookie `ring`, %j", (header, left) => {
  expect(without(header, ["ring"])).toBe(left);
});

// What happened: a value in UTF-8 that ended in `à`, read byte by byte, lost its last byte, which is a no-break space.
it("leaves of other cookies every byte that is no blank, also one that Unicode calls a space", () => {
  expect(without("x=v\u00c3\u00a0; ring=a", ["ring"])).toBe("x=v\u00c3\u00a0");
  expect(cookieValues("x=1; ring=v\u00c3\u00a0", "ring")).toEqual(["v\u00c3\u00a0"]);
});

it.each(["", "x=1", "  x=1 ;y=2;", ";;", "x=1,y=2"])(
  "leaves %j as it is, which has no such cookie",
  (header) => {
    expect(without(header, ["ring", "token"])).toBe(header);
  },
);

it("takes out the cookies of several names at once", () => {
  expect(without("a=1; b=2; c=3; a=4", ["a", "c"])).toBe("b=2");
  expect(without("a=1; b=2", [])).toBe("a=1; b=2");
});

const NAME = fc.constantFrom("ring", "ringo", "rin", "my-ring", "__Host-ring", "x");
/** What a cookie may hold (RFC 6265 §4.1.1), and what browsers let it hold besides. */
const VALUE = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom("a", "z", "0", "-", "_", ".", "=", "/", "+", "%", '"') },
      fc.constantFrom("ring", "ring=", ",", "é", "\u00a0", "\ufeff"),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(""));
const COOKIES = fc.array(fc.tuple(NAME, VALUE), { maxLength: 8 });
const SPACE = fc.constantFrom("", " ", "  ", "\t");

it("finds every value of a name and no other, in order, however they are spaced", () => {
  fc.assert(
    fc.property(COOKIES, NAME, SPACE, SPACE, (cookies, name, before, behind) => {
      const header = cookies.map(([key, value]) => `${before}${key}=${value}${behind}`).join(";");
      const values = cookies.filter(([key]) => key === name).map(([, value]) => value);
      expect(cookieValues(header, name)).toEqual(values);
    }),
    { numRuns: 500 },
  );
});

it("takes out every cookie of the names, and leaves every byte and the order of the others", () => {
  fc.assert(
    fc.property(COOKIES, fc.uniqueArray(NAME, { maxLength: 2 }), (cookies, names) => {
      const header = cookies.map(([key, value]) => `${key}=${value}`).join("; ");
      const kept = cookies.filter(([key]) => !names.includes(key));
      const left = without(header, names) ?? "";
      expect(left).toBe(kept.map(([key, value]) => `${key}=${value}`).join("; "));
    }),
    { numRuns: 500 },
  );
});

const PLAIN: CookieConfig = {
  name: null,
  sameSite: "Lax",
  path: "/",
  domain: null,
  secure: true,
  persistent: false,
  passOn: false,
};

it.each<[Partial<CookieConfig>, string]>([
  [{}, "n=v; Path=/; Secure; HttpOnly; SameSite=Lax"],
  [{ sameSite: "Strict" }, "n=v; Path=/; Secure; HttpOnly; SameSite=Strict"],
  [{ sameSite: "None" }, "n=v; Path=/; Secure; HttpOnly; SameSite=None"],
  [{ path: "/shop" }, "n=v; Path=/shop; Secure; HttpOnly; SameSite=Lax"],
  [{ domain: "a.example" }, "n=v; Path=/; Domain=a.example; Secure; HttpOnly; SameSite=Lax"],
  [{ secure: false }, "n=v; Path=/; HttpOnly; SameSite=Lax"],
  [{ persistent: true }, "n=v; Path=/; Max-Age=90; Secure; HttpOnly; SameSite=Lax"],
  [{ passOn: true, name: "other" }, "n=v; Path=/; Secure; HttpOnly; SameSite=Lax"],
  [
    { path: "/x", domain: "a.example", persistent: true, secure: false, sameSite: "Strict" },
    "n=v; Path=/x; Domain=a.example; Max-Age=90; HttpOnly; SameSite=Strict",
  ],
])("writes a cookie of %j", (changed, text) => {
  expect(renderSetCookie("n", "v", { ...PLAIN, ...changed }, 90_999)).toBe(text);
});

const CONFIG: fc.Arbitrary<CookieConfig> = fc.record({
  name: fc.constant(null),
  sameSite: fc.constantFrom("Strict", "Lax", "None"),
  path: fc.constantFrom("/", "/shop", "/a/b"),
  domain: fc.constantFrom(null, "a.example"),
  secure: fc.boolean(),
  persistent: fc.boolean(),
  passOn: fc.boolean(),
});

it("writes every configuration so that it says exactly what was configured, each attribute once", () => {
  fc.assert(
    fc.property(CONFIG, fc.integer({ min: 60_000, max: 2_592_000_000 }), (config, lifetimeMs) => {
      const [pair, ...attributes] = renderSetCookie("ring", "token", config, lifetimeMs).split("; ");
      expect(pair).toBe("ring=token");
      const said = new Map(attributes.map((attribute) => [attribute.split("=")[0], attribute.split("=")[1]]));
      expect(said.size).toBe(attributes.length);
      expect(said.get("Path")).toBe(config.path);
      expect(said.get("Domain") ?? null).toBe(config.domain);
      expect(said.get("SameSite")).toBe(config.sameSite);
      expect(said.has("Secure")).toBe(config.secure);
      expect(said.has("HttpOnly")).toBe(true);
      expect(said.get("Max-Age") ?? null).toBe(
        config.persistent ? String(Math.floor(lifetimeMs / 1_000)) : null,
      );
    }),
  );
});
