import { Readable } from "node:stream";
import { expect, it } from "vitest";
import { type Header, namesOf, valuesOf } from "./support-client.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {} });

/** The headers a backend gets when a client sends these. */
async function passedOn(...headers: readonly Header[]): Promise<readonly Header[]> {
  return (await stage.scene("any").delivers({ headers })).headers;
}

it.each([
  ["Keep-Alive", "timeout=5"],
  ["Proxy-Authorization", "Basic c2VjcmV0"],
  ["Proxy-Connection", "keep-alive"],
  ["TE", "trailers"],
  ["Upgrade", "h2c"],
] as const)("keeps %s to the hop it was sent on", async (name, value) => {
  expect(namesOf(await passedOn([name, value]))).not.toContain(name.toLowerCase());
});

it("keeps Trailer to the hop it was sent on", async () => {
  const { headers, body } = await stage.scene("any").delivers({
    method: "POST",
    headers: [
      ["Trailer", "X-Checksum"],
      ["Transfer-Encoding", "chunked"],
    ],
    body: Readable.from(["the body"]),
  });
  expect(namesOf(headers)).not.toContain("trailer");
  expect(body.toString()).toBe("the body");
});

it("answers Expect itself, and sends the body on without it", async () => {
  const { headers, body } = await stage.scene("any").delivers({
    method: "POST",
    headers: [["Expect", "100-continue"]],
    body: "the body",
  });
  expect(namesOf(headers)).not.toContain("expect");
  expect(body.toString()).toBe("the body");
});

it.each([
  "MF-CF-Blob",
  "MF-Custom-Fetch-Service",
  "MF-Custom-Node-Service",
  "MF-Disable-Pretty-Error",
  "MF-Original-Hostname",
  "MF-Original-URL",
  "MF-Route-Override",
])("keeps %s, an order to the local runtime, from the backend", async (name) => {
  expect(namesOf(await passedOn([name, "{}"]))).not.toContain(name.toLowerCase());
});

it.each([
  ["one", [["Connection", "X-Hop"]]],
  ["several, in any spelling", [["Connection", "close ,x-hop,  X-OTHER"]]],
  [
    "two Connection headers",
    [
      ["Connection", "x-hop"],
      ["Connection", "x-other"],
    ],
  ],
] as const)("drops what Connection nominates: %s", async (_, connection) => {
  const got = await passedOn(...connection, ["X-Hop", "1"], ["x-kept", "2"]);
  expect(namesOf(got)).not.toContain("x-hop");
  expect(namesOf(got)).not.toContain("connection");
  expect(valuesOf(got, "x-kept")).toEqual(["2"]);
});

it("adds what it has to say even when Connection nominates it", async () => {
  const got = await passedOn(
    ["Connection", "x-forwarded-for, x-forwarded-proto, x-forwarded-host, via, cdn-loop"],
    ["CF-Connecting-IP", "203.0.113.9"],
  );
  expect(valuesOf(got, "x-forwarded-for")).toEqual(["203.0.113.9"]);
  expect(valuesOf(got, "x-forwarded-host")).toEqual(["any.test"]);
  expect(valuesOf(got, "x-forwarded-proto")).toEqual(["http"]);
  expect(valuesOf(got, "via")).toEqual([expect.stringMatching(/^1\.1 ringmaster-/)]);
  expect(valuesOf(got, "cdn-loop")).toEqual([expect.stringMatching(/^ringmaster-/)]);
});

it.each([
  ["Accept-Encoding", "zstd, br;q=0.5"],
  ["Authorization", "Bearer a.b-c_d"],
  ["Content-Type", "text/plain; charset=iso-8859-1"],
  ["Cookie", 'a=b; c="d e"; __Host-f=%20'],
  ["Early-Data", "1"],
  ["If-None-Match", 'W/"1", "2"'],
  ["Range", "bytes=0-99,-5"],
  ["X-Custom", "1, 2 ;x=\ty"],
  ["X-Empty", ""],
  ["X-Long", "x".repeat(16_000)],
  // Node reads and writes a byte of a header as one character: é in Latin-1, and € in the three bytes of UTF-8.
  ["X-Latin", "caf\u00e9"],
  ["X-Utf-8", "\u00e2\u0082\u00ac"],
] as const)("passes %s on as it is", async (name, value) => {
  expect(valuesOf(await passedOn([name, value]), name)).toEqual([value]);
});

it("passes every value of a repeated header on, in order", async () => {
  const got = await passedOn(["X-Many", "1"], ["x-many", "2, 3"], ["X-Many", "1"]);
  expect(valuesOf(got, "x-many").join(", ")).toBe("1, 2, 3, 1");
});

it("tells the backend who asked, by which scheme and for which host", async () => {
  const got = await passedOn(["CF-Connecting-IP", "203.0.113.9"]);
  expect(valuesOf(got, "x-forwarded-for")).toEqual(["203.0.113.9"]);
  expect(valuesOf(got, "x-forwarded-proto")).toEqual(["http"]);
  expect(valuesOf(got, "x-forwarded-host")).toEqual(["any.test"]);
  expect(valuesOf(got, "host")).toEqual([new URL(stage.scene("any").backend.url).host]);
});

it("claims no address when it does not know one", async () => {
  expect(namesOf(await passedOn(["X-Forwarded-For", "192.0.2.1"]))).not.toContain("x-forwarded-for");
});

it("believes nothing a client says about itself", async () => {
  const got = await passedOn(
    ["CF-Connecting-IP", "203.0.113.9"],
    ["Forwarded", "for=192.0.2.1;proto=https"],
    ["X-Forwarded-For", "192.0.2.1, 192.0.2.2"],
    ["X-Forwarded-Groups", "admin"],
    ["X-Forwarded-Host", "evil.test"],
    ["X-Forwarded-Port", "443"],
    ["X-Forwarded-Preferred-Username", "root"],
    ["X-Forwarded-Proto", "https"],
    ["X-Real-IP", "192.0.2.1"],
  );
  const claims = got.filter(([name]) => /^(?:x-)?forwarded|^x-real-ip/i.test(name));
  expect(new Map(claims.map(([name, value]) => [name.toLowerCase(), value]))).toEqual(
    new Map([
      ["x-forwarded-for", "203.0.113.9"],
      ["x-forwarded-host", "any.test"],
      ["x-forwarded-proto", "http"],
      ["x-real-ip", "203.0.113.9"],
    ]),
  );
});

it.each([
  ["HTTP/1.0", "1.0"],
  ["HTTP/1.1", "1.1"],
  ["HTTP/2", "2"],
  ["HTTP/3", "3"],
])("names itself in Via after those before it: a client that spoke %s", async (httpProtocol, version) => {
  const got = await passedOn(["Via", "1.0 fred"], ["MF-CF-Blob", JSON.stringify({ httpProtocol })]);
  expect(valuesOf(got, "via").join(", ")).toMatch(
    new RegExp(`^1\\.0 fred, ${version} ringmaster-[0-9a-f]{8}$`),
  );
});
