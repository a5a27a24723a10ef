import { ANNOUNCEMENTS, type Announcement } from "../../durable/model/health.ts";
import type { Protocol } from "../../durable/model/outcome.ts";
import type { Inheritance } from "./choice.ts";
import type { Target } from "./target.ts";

/** What the edge knows of a request, and tells the backend. */
export interface ForwardedFacts {
  /** From `CF-Connecting-IP`, which a client cannot set at the edge; null when unknown. */
  readonly clientAddress: string | null;
  readonly target: Target;
  readonly protocol: Protocol;
  /** Names this deployment: `ringmaster-1f2e3d4c`. */
  readonly deployment: string;
  /** Whether this is a local runtime, which leaves its own headers on a request. */
  readonly isLocal: boolean;
  /** Whether what the client sent in `Forwarded` and `X-Forwarded-*` is kept and appended to. */
  readonly isForwardedTrusted: boolean;
}

/**
 * Never passed on. They are deleted by name, since looking through all names of a request costs 4 % of the throughput;
 * `Expect` because the edge has answered it, `Proxy-Authorization` because it is meant for a proxy (RFC 9110 §11.7.2).
 */
const NEVER_PASSED = ["expect", "proxy-authorization", "trailer"] as const;

/**
 * For one hop only (RFC 9110 §7.6.1). HTTP/2 and HTTP/3 have none of them (RFC 9113 §8.2.2). `Upgrade` is not here: the
 * runtime drops it except on a WebSocket; `TE` it always drops.
 */
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "transfer-encoding"] as const;

/**
 * Claims about the client and its connection that only a trusted one may make, and that servers and frameworks in wide use
 * believe. By name for the same reason, and few, since each costs 0.4 % of the throughput. Those that are set anew anyway
 * are not here.
 */
const CLAIMS = [
  "forwarded",
  "true-client-ip",
  "x-client-ip",
  "x-forwarded-client-cert",
  "x-forwarded-email",
  "x-forwarded-groups",
  "x-forwarded-port",
  "x-forwarded-preferred-username",
  "x-forwarded-prefix",
  "x-forwarded-scheme",
  "x-forwarded-ssl",
  "x-forwarded-user",
] as const;

/** True when the request has passed through this deployment before (RFC 8586). */
export function hasLooped(headers: Headers, deployment: string): boolean {
  const passed = headers.get("cdn-loop");
  if (passed === null || !passed.includes(deployment)) return false;
  return passed.split(",").some((entry) => entry.split(";", 1)[0]?.trim() === deployment);
}

/**
 * The headers a backend gets: the client's, without what must not pass or is an untrusted claim, and with
 * `X-Forwarded-For`, `-Proto`, `-Host`, `X-Real-IP`, `Via` and `CDN-Loop`.
 */
export function requestHeaders(received: Headers, facts: ForwardedFacts): Headers {
  const headers = new Headers(received);
  for (const name of NEVER_PASSED) headers.delete(name);
  if (facts.protocol !== "HTTP/2" && facts.protocol !== "HTTP/3") deleteHopByHop(headers);
  if (facts.isLocal) deleteLocal(headers, received);
  if (facts.isForwardedTrusted) appendToClaims(headers, facts);
  else replaceClaims(headers, facts);
  headers.append("via", `${versionOf(facts.protocol)} ${facts.deployment}`);
  headers.append("cdn-loop", facts.deployment);
  return headers;
}

/** Tells a backend whose session it takes over; and lets no client claim that it does. */
export function tellInheritance(headers: Headers, inheritance: Inheritance | null): void {
  headers.delete("ring-session");
  headers.delete("ring-previous-backend");
  if (inheritance === null) return;
  headers.set("ring-session", inheritance.sessionId);
  headers.set("ring-previous-backend", inheritance.previous);
}

function deleteHopByHop(headers: Headers): void {
  for (const name of nominatedBy(headers.get("connection"))) headers.delete(name);
  for (const name of HOP_BY_HOP) headers.delete(name);
}

/** What the local runtime takes orders from, `MF-*`: a backend that is another local runtime would obey. */
function deleteLocal(headers: Headers, received: Headers): void {
  for (const name of received.keys()) if (name.startsWith("mf-")) headers.delete(name);
}

function replaceClaims(headers: Headers, { clientAddress, target }: ForwardedFacts): void {
  for (const name of CLAIMS) headers.delete(name);
  if (clientAddress === null) {
    headers.delete("x-forwarded-for");
    headers.delete("x-real-ip");
  } else {
    headers.set("x-forwarded-for", clientAddress);
    // The platform gives it to us, and makes `CF-Connecting-IP` of it for a backend in the same zone.
    headers.set("x-real-ip", clientAddress);
  }
  headers.set("x-forwarded-proto", target.scheme);
  headers.set("x-forwarded-host", target.host);
}

function appendToClaims(headers: Headers, facts: ForwardedFacts): void {
  const { clientAddress, target } = facts;
  if (clientAddress !== null) {
    headers.append("x-forwarded-for", clientAddress);
    if (!headers.has("x-real-ip")) headers.set("x-real-ip", clientAddress);
  }
  if (!headers.has("x-forwarded-proto")) headers.set("x-forwarded-proto", target.scheme);
  if (!headers.has("x-forwarded-host")) headers.set("x-forwarded-host", target.host);
  if (headers.has("forwarded")) headers.append("forwarded", forwardedElement(facts));
}

/**
 * Response headers the client must not get: `Alt-Svc` would advertise the backend's own HTTP/3 under our name, `Ring-Health`
 * is for us; the rest is for one hop. Null when there is nothing to drop, which is nearly always, so the response can pass
 * untouched. Each header asked for costs 0.4 % of the throughput, so those of proxies are only where they mean something.
 */
export function responseHeadersToDrop(received: Headers, status: number): readonly string[] | null {
  const connection = received.get("connection");
  const nominated = nominatedBy(connection);
  const isOfProxy =
    status === PROXY_AUTHENTICATION_REQUIRED || (connection !== null && received.has("proxy-connection"));
  if (nominated.size === 0 && !isOfProxy && !received.has("alt-svc") && !received.has(HEALTH_HEADER))
    return null;
  return [...NEVER_FOR_CLIENTS, ...nominated].filter((name) => received.has(name));
}

const HEALTH_HEADER = "ring-health";

/** A proxy before the backend asks its client, which is us, for credentials (RFC 9110 §15.5.8). */
const PROXY_AUTHENTICATION_REQUIRED = 407;

const NEVER_FOR_CLIENTS = ["alt-svc", HEALTH_HEADER, "proxy-authenticate", "proxy-connection"];

/** What a backend says of itself with its response, last; null when it says nothing, or nothing that makes sense. */
export function announcementIn(received: Headers): Announcement | null {
  const said = received.get(HEALTH_HEADER)?.split(",").at(-1)?.trim().toLowerCase();
  return ANNOUNCEMENTS.find((word) => word === said) ?? null;
}

const NONE: ReadonlySet<string> = new Set();

/** Header names a `Connection` header declares to be for this hop only. */
function nominatedBy(connection: string | null): ReadonlySet<string> {
  if (connection === null || connection === "keep-alive" || connection === "close") return NONE;
  const names = connection.split(",").map((name) => name.trim().toLowerCase());
  return new Set(names.filter((name) => TOKEN.test(name) && !CONNECTION_OPTIONS.has(name)));
}

/** What `Connection` may hold that is no header name, or one the runtime needs on a WebSocket. */
const CONNECTION_OPTIONS = new Set(["cdn-loop", "close", "keep-alive", "upgrade", "via"]);

const TOKEN = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;

/** One element of `Forwarded` (RFC 7239 §4); an IPv6 address is bracketed and quoted. */
function forwardedElement({ clientAddress, target }: ForwardedFacts): string {
  const node =
    clientAddress === null ? "unknown" : clientAddress.includes(":") ? `"[${clientAddress}]"` : clientAddress;
  return `for=${node};host="${target.host}";proto=${target.scheme}`;
}

/** The received protocol as `Via` writes it (RFC 9110 §7.6.3). */
function versionOf(protocol: Protocol): string {
  switch (protocol) {
    case "HTTP/1.0":
      return "1.0";
    case "HTTP/2":
      return "2";
    case "HTTP/3":
      return "3";
    case "HTTP/1.1":
    case "other":
      return "1.1";
  }
}
