import * as fc from "fast-check";
import { expect, it } from "vitest";
import { TargetParser } from "../../worker/core/target.ts";

const TARGETS = new TargetParser();

it("cuts a URL into its parts", () => {
  expect(TARGETS.parse("https://API.example.com:8443/a/b?x=1")).toEqual({
    scheme: "https",
    hostname: "api.example.com",
    host: "API.example.com:8443",
    path: "/a/b",
    query: "?x=1",
  });
});

it.each([
  ["http://h", "/", ""],
  ["http://h/", "/", ""],
  ["http://h?x=/a", "/", "?x=/a"],
  ["http://h#/a?x", "/", ""],
  ["http://h/a#b", "/a", ""],
  ["http://h/a?", "/a", "?"],
  ["http://h/a?b#c?d", "/a", "?b"],
  ["http://h/a#b?c", "/a", ""],
  ["http://h/a?b?c/d", "/a", "?b?c/d"],
  ["http://h//a//", "//a//", ""],
  ["http://h/a%2Fb", "/a%2Fb", ""],
])("finds path and query of %s", (url, path, query) => {
  expect(TARGETS.parse(url)).toMatchObject({ path, query });
});

it.each([
  ["http://h:80", "h", "h:80"],
  ["http://[2001:DB8::1]/a", "[2001:db8::1]", "[2001:DB8::1]"],
  ["http://[2001:db8::1]:8080/a", "[2001:db8::1]", "[2001:db8::1]:8080"],
  ["http://127.0.0.1:8080?x=:", "127.0.0.1", "127.0.0.1:8080"],
])("finds the host of %s", (url, hostname, host) => {
  expect(TARGETS.parse(url)).toMatchObject({ scheme: "http", hostname, host });
});

it.each([
  ["/a/./b", "/a/b"],
  ["/a/../b", "/b"],
  ["/../../a", "/a"],
  ["/a/..", "/"],
  ["/a/b/.", "/a/b/"],
  ["/a/%2e/b", "/a/b"],
  ["/a/%2E%2e/b", "/b"],
  ["/a/.%2e/b", "/b"],
  ["/a/%2E.?x", "/"],
  ["/a/%2e%2e#x", "/"],
  ["\\a\\..\\b", "/b"],
  ["/a\\..\\b", "/b"],
])("resolves %s to %s, as URL parsers do", (written, path) => {
  expect(TARGETS.parse(`https://h${written}`)).toMatchObject({ path });
});

it.each(["/a/...", "/a/..b", "/.well-known/x", "/a./b", "/a/%2e%2eb", "/a.%2e/b"])(
  "leaves %s alone, which only looks like a dot segment",
  (path) => {
    expect(TARGETS.parse(`https://h${path}`)).toMatchObject({ path });
  },
);

it("cuts what a URL parser has written as that parser cuts it", () => {
  const url = fc.webUrl({
    validSchemes: ["http", "https"],
    withFragments: true,
    withQueryParameters: true,
    authoritySettings: { withIPv4: true, withIPv6: true, withPort: true },
  });
  fc.assert(
    fc.property(url, (text) => {
      const parsed = new URL(text);
      // A `?` with nothing behind it is no query to a URL parser. Here it stays, as the client wrote it.
      expect(TARGETS.parse(parsed.href.replace(/^([^?#]*)\?(?=#|$)/, "$1"))).toEqual({
        scheme: parsed.protocol.slice(0, -1),
        hostname: parsed.hostname,
        host: parsed.host,
        path: parsed.pathname,
        query: parsed.search,
      });
    }),
    { numRuns: 1_000 },
  );
});

it("never leaves a dot segment in a path, however it is written", () => {
  const segment = fc.constantFrom(".", "..", "%2e", "%2E.", ".%2e", "%2e%2E", "a", "", "...");
  const border = fc.constantFrom("/", "\\");
  fc.assert(
    fc.property(fc.array(fc.tuple(border, segment), { minLength: 1, maxLength: 6 }), (parts) => {
      const path = TARGETS.parse(`https://h${parts.flat().join("")}`)?.path;
      expect(path).toBe(new URL(`https://h${parts.flat().join("")}`).pathname);
      expect(path).not.toMatch(/\\|\/(?:\.|%2e){1,2}(?:\/|$)/i);
    }),
    { numRuns: 1_000 },
  );
});

it("takes the dot off a full host name, and gives up on a URL that would have to be resolved and is none", () => {
  expect(TARGETS.parse("https://api.example.:8443/x")).toMatchObject({ hostname: "api.example" });
  expect(TARGETS.parse("https://[/a/./b")).toBeNull();
});

// What happened: a request with two `Host` lines went out as `X-Forwarded-Host: a.example, b.example`, and the asterisk of
// `OPTIONS *` became part of the host.
it.each([
  "http://a.example, b.example/",
  "http://a.example*",
  "http://u:p@a.example/",
  "http://a.example:x/",
  "http://a.example:123456/",
  "http://a b/",
  "http://é.example/",
  "http://[::1/",
  "http://[::1]x/",
  "http:///x",
  "http://",
])("takes %s for no URL, as it names no host", (url) => {
  expect(TARGETS.parse(url)).toBeNull();
});

it("finds in an origin seen before what it found the first time, however many there are", () => {
  const host = fc.tuple(
    fc.constantFrom("a", "B.example", "c.example.", "[::1]", "d,e"),
    fc.integer({ min: 0, max: 90 }),
  );
  const url = fc
    .tuple(fc.constantFrom("http", "https"), host)
    .map(([scheme, [name, port]]) => `${scheme}://${name}:${port}/x?y`);
  const parser = new TargetParser();
  fc.assert(
    fc.property(url, (text) => {
      expect(parser.parse(text)).toEqual(new TargetParser().parse(text));
    }),
    { numRuns: 5_000 },
  );
});
