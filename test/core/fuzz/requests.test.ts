import * as fc from "fast-check";
import { expect, it } from "vitest";
import { ANNOUNCEMENTS } from "../../../durable/model/health.ts";
import { isPlatformRefusal, mayBePlatformRefusal } from "../../../durable/model/platform.ts";
import type { Route } from "../../../durable/model/route.ts";
import { Client } from "../../../worker/core/client.ts";
import {
  announcementIn,
  hasLooped,
  requestHeaders,
  responseHeadersToDrop,
} from "../../../worker/core/headers.ts";
import { networkOf } from "../../../worker/core/identify.ts";
import { createKeyedHash } from "../../../worker/core/keyed-hash.ts";
import { NO_BACKEND, renderProblem } from "../../../worker/core/problem.ts";
import { matchRoute, prepareRoutes, rewritePath } from "../../../worker/core/route.ts";
import { type Target, TargetParser } from "../../../worker/core/target.ts";
import { parseRetryAfter } from "../../../worker/edge/retry-after.ts";
import { fuzz } from "../../support/fuzz.ts";
import { NASTY_HEADER, NASTY_JSON, NASTY_TEXT } from "../../support/nasties.ts";
import { NOON, poolName, route } from "../support/build.ts";

const TARGETS = new TargetParser();

/** URLs as a runtime might make them of a request line and a `Host`. */
const URLS: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom("http", "https"),
    fc.oneof(fc.constantFrom("a.example", "a.example.", "A.example:8080", "[::1]:80", ""), NASTY_TEXT),
    fc.oneof(
      NASTY_TEXT,
      fc
        .array(
          fc.oneof(
            fc.constantFrom("api", "_ring", "..", ".", "%2e%2e", "%2E.", "", "..;", "%2f", "%5c.."),
            NASTY_TEXT,
          ),
          { maxLength: 6 },
        )
        .chain((segments) => fc.constantFrom("/", "\\", "//").map((slash) => segments.join(slash))),
    ),
  )
  .chain(([scheme, host, path]) =>
    fc.constantFrom(`${scheme}://${host}/${path}`, `${scheme}://${host}${path}`),
  );

/** How many steps below its base a backend is asked; what a URL parser makes of a path must not change that. */
function depthAt(base: string, path: string): number | undefined {
  return URL.parse(`${base}${path}`)?.pathname.split("/").length;
}

/** Tabs and line ends, which URL parsers take out, cannot stand in a request line. */
const UNSENDABLE = /[\t\r\n]/;

it("cuts every URL so that no backend can read its path in another way, or says that it makes no sense", () => {
  fuzz(
    "urls",
    URLS.filter((url) => !UNSENDABLE.test(url)),
    (url) => {
      const target = TARGETS.parse(url);
      const { path, query, hostname } = target ?? { path: "/", query: "", hostname: "" };
      expect(path).toMatch(/^\//);
      expect(query).toMatch(/^(?:$|\?)/);
      expect(hostname).toBe(hostname.toLowerCase());
      expect(path).not.toMatch(/[\\?#]/);
      expect(depthAt("http://b.example/base", path)).toBe(1 + path.split("/").length);
    },
  );
});

const ROUTES: readonly Route[] = [
  route("api", { path: "/api", rewritePath: "/v2" }),
  route("deep", { path: "/api/deep", rewritePath: "/" }),
  route("host", { host: "a.example" }),
  route("wild", { host: "*.example", path: "/_ring" }),
  route("root", { rewritePath: "/base" }),
  route("named", { headers: [{ name: "x-stage", value: "1" }] }),
];

const INDEX = prepareRoutes(ROUTES, createKeyedHash("00".repeat(16)));

it("leads every request to a route, and what is rewritten stays below what it is rewritten to", () => {
  fuzz(
    "routes",
    fc.tuple(
      URLS.filter((url) => !UNSENDABLE.test(url)),
      NASTY_TEXT,
      NASTY_HEADER,
    ),
    ([url, method, stage]) => {
      const target = TARGETS.parse(url) ?? NOWHERE;
      const headers = new Headers({ "x-stage": stage });
      const destination = matchRoute(INDEX, { target, request: { method, headers } });
      const path = rewritePath(destination ?? NO_DESTINATION, target.path);
      expect(destination).not.toBeNull();
      expect(path).toMatch(/^\//);
      expect(depthAt("http://b.example/base", path)).toBe(1 + path.split("/").length);
      expect(path.startsWith(destination?.rewrite?.to ?? "/")).toBe(true);
    },
  );
});

const NOWHERE: Target = { scheme: "http", hostname: "", host: "", path: "/", query: "" };
const NO_DESTINATION = {
  route: null,
  to: poolName("default"),
  policy: undefined,
  affinity: undefined,
  subset: undefined,
  headerTimeoutMs: undefined,
  bodyIdleTimeoutMs: undefined,
  webSocketIdleTimeoutMs: undefined,
  retry: undefined,
  rewrite: null,
};

const CF: fc.Arbitrary<object | undefined> = fc
  .oneof(
    fc.record(
      { tlsClientRandom: NASTY_JSON, httpProtocol: NASTY_JSON, colo: NASTY_JSON, country: NASTY_JSON },
      { requiredKeys: [] },
    ),
    NASTY_JSON,
  )
  // Whatever JSON a blob is, it comes as the type says.
  .map((cf) => cf as object | undefined);

it("names no client by anything but text, whatever `request.cf` and its headers hold", () => {
  const front = { header: "x-front", secret: "a secret of the front" };
  fuzz(
    "clients",
    fc.tuple(
      CF,
      NASTY_HEADER,
      fc.oneof(
        NASTY_HEADER,
        NASTY_HEADER.map((name) => `${front.secret}:${name}`),
      ),
    ),
    ([cf, address, named]) => {
      const client = new Client(
        new Headers({ "cf-connecting-ip": address, "x-front": named }),
        cf,
        "",
        front,
      );
      const { connection, country, colo, protocol } = client;
      expect(["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3", "other"]).toContain(protocol);
      expect([country, colo].every((word) => word === null || typeof word === "string")).toBe(true);
      expect(typeof (connection?.identity ?? "")).toBe("string");
      expect(connection?.identity.startsWith("front ") ?? false).toBe(
        new Headers({ named }).get("named")?.startsWith(`${front.secret}:`) === true &&
          (new Headers({ named }).get("named")?.length ?? 0) > front.secret.length + 1,
      );
      expect(networkOf(address).length).toBeLessThanOrEqual(Math.max(address.length, 4) + 40);
    },
  );
});

const NAMES: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    "connection",
    "Connection",
    "x-forwarded-for",
    "X-Forwarded-Host",
    "x-forwarded-proto",
    "forwarded",
    "via",
    "cdn-loop",
    "x-real-ip",
    "true-client-ip",
    "transfer-encoding",
    "content-length",
    "host",
    "expect",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "mf-cf-blob",
    "MF-Original-URL",
    "cf-connecting-ip",
    "cookie",
    "alt-svc",
    "ring-health",
    "ring-session",
    "accept",
  ),
  fc.stringMatching(/^[a-cX-Z0_.!-]{1,8}$/),
);

const HEADERS: fc.Arbitrary<Headers> = fc
  .array(
    fc.tuple(
      NAMES,
      fc.oneof(
        NASTY_HEADER,
        fc.array(fc.oneof(NAMES, NASTY_HEADER), { maxLength: 4 }).map((names) => names.join(", ")),
      ),
    ),
    { maxLength: 10 },
  )
  .map((pairs) => {
    const headers = new Headers();
    for (const [name, value] of pairs) headers.append(name, value);
    return headers;
  });

it("passes on no claim, order or hop of the client, whatever headers it sends", () => {
  fuzz(
    "headers",
    fc.tuple(HEADERS, fc.boolean(), NASTY_HEADER),
    ([received, isForwardedTrusted, address]) => {
      const target: Target = {
        scheme: "https",
        hostname: "a.example",
        host: "a.example",
        path: "/",
        query: "",
      };
      const clientAddress = address.trim() === "" ? null : address.trim();
      const deployment = "ringmaster-00000000";
      const facts = {
        clientAddress,
        target,
        protocol: "HTTP/1.1",
        deployment,
        isLocal: true,
        isForwardedTrusted,
      } as const;
      const before = [...received];
      const sent = requestHeaders(received, facts);
      expect([...received]).toEqual(before);
      const names = [...sent.keys()];
      expect(names.filter((name) => name.startsWith("mf-"))).toEqual([]);
      for (const name of ["connection", "keep-alive", "transfer-encoding", "expect", "proxy-authorization"])
        expect(names).not.toContain(name);
      expect(hasLooped(sent, deployment)).toBe(true);
      expect(sent.get("via")).toMatch(/1\.1 ringmaster-00000000$/);
      const claims = ["true-client-ip", "forwarded"].filter((name) => sent.has(name));
      expect(isForwardedTrusted ? [] : claims).toEqual([]);
      expect(isForwardedTrusted || sent.get("x-forwarded-host") === "a.example").toBe(true);
      expect(isForwardedTrusted || sent.get("x-forwarded-proto") === "https").toBe(true);
      expect(isForwardedTrusted || sent.get("x-forwarded-for") === clientAddress).toBe(true);
      expect(isForwardedTrusted || sent.get("x-real-ip") === clientAddress).toBe(true);
      const dropped = responseHeadersToDrop(received, 200) ?? [];
      expect(dropped.every((name) => received.has(name))).toBe(true);
      expect(dropped.includes("alt-svc")).toBe(received.has("alt-svc"));
    },
  );
});

const ACCEPT: fc.Arbitrary<string> = fc.oneof(
  { weight: 50, arbitrary: NASTY_HEADER },
  {
    weight: 50,
    arbitrary: fc
      .array(
        fc.tuple(
          fc.constantFrom("text/html", "application/json", "application/problem+json", "*/*", "a/b"),
          NASTY_HEADER,
        ),
        { maxLength: 8 },
      )
      .map((parts) => parts.map((part) => part.join(";q=")).join(",")),
  },
  fc.constantFrom("*/*,", "text/html;q=0,", ",", "application/x+json,").map((part) => part.repeat(20_000)),
);

it("answers with a problem that says nothing of the request but its id, whatever is accepted", () => {
  fuzz("problems", fc.tuple(ACCEPT, NASTY_HEADER), ([accept, id]) => {
    const { status, headers } = renderProblem(NO_BACKEND, accept, id);
    expect(status).toBe(503);
    expect(headers.get("content-type")).toMatch(/^(?:application\/problem\+json|text\/html; charset=utf-8)$/);
    expect(headers.get("retry-after")).toBe("5");
  });
});

it("takes nothing that a backend says for more than it is", () => {
  fuzz("words", fc.tuple(NASTY_HEADER, NASTY_TEXT), ([value, body]) => {
    const waitMs = parseRetryAfter(value, NOON);
    expect(waitMs === null || (waitMs >= 0 && Number.isFinite(waitMs))).toBe(true);
    const headers = new Headers({ "ring-health": value, "content-length": value, server: "cloudflare" });
    expect([null, ...ANNOUNCEMENTS]).toContain(announcementIn(headers));
    const length = Number(headers.get("content-length"));
    expect(mayBePlatformRefusal({ status: 403, headers })).toBe(length <= 18);
    expect(isPlatformRefusal(body)).toBe(
      body.startsWith("error code: 1003") && body.trim() === "error code: 1003",
    );
  });
});
