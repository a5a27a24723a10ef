import type { Protocol } from "../../durable/model/outcome.ts";
import type { Target } from "./target.ts";

/** What the edge knows of a request, and tells the backend. */
export interface ForwardedFacts {
  /** From `CF-Connecting-IP`, which a client cannot set at the edge; null when unknown. */
  readonly clientAddress: string | null;
  readonly target: Target;
  readonly protocol: Protocol;
  /** Names this deployment: `ringmaster-1f2e3d4c`. */
  readonly deployment: string;
  /** Whether what the client sent in `Forwarded` and `X-Forwarded-*` is kept and appended to. */
  readonly isForwardedTrusted: boolean;
}

/**
 * Never passed on: headers of one hop (RFC 9110 §7.6.1), `Expect` (the edge has answered it) and `Proxy-Authorization`
 * (RFC 9110 §11.7.2, meant for a proxy). `Upgrade` is not here: the runtime drops it except on a WebSocket.
 */
const HOP_BY_HOP = new Set([
  "connection",
  "expect",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
]);

/** Claims about the client that only a trusted one may make. */
const CLAIMS = new Set(["forwarded", "x-real-ip"]);

/** True when the request has passed through this deployment before (RFC 8586). */
export function hasLooped(headers: Headers, deployment: string): boolean {
  const passed = headers.get("cdn-loop");
  return passed !== null && passed.split(",").some((entry) => entry.split(";", 1)[0]?.trim() === deployment);
}

/**
 * The headers a backend gets: the client's, without what is for one hop, for the local runtime (`MF-*`), or an untrusted
 * claim; with `X-Forwarded-For`, `-Proto`, `-Host`, `Via` and `CDN-Loop`.
 */
export function requestHeaders(received: Headers, facts: ForwardedFacts): Headers {
  const headers = new Headers(received);
  const nominated = nominatedBy(received.get("connection"));
  for (const name of received.keys()) {
    if (isDropped(name, facts.isForwardedTrusted) || nominated.has(name)) headers.delete(name);
  }
  const { target, clientAddress, isForwardedTrusted } = facts;
  if (clientAddress !== null) headers.append("x-forwarded-for", clientAddress);
  if (!isForwardedTrusted || !headers.has("x-forwarded-proto"))
    headers.set("x-forwarded-proto", target.scheme);
  if (!isForwardedTrusted || !headers.has("x-forwarded-host")) headers.set("x-forwarded-host", target.host);
  if (isForwardedTrusted && headers.has("forwarded")) headers.append("forwarded", forwardedElement(facts));
  headers.append("via", `${versionOf(facts.protocol)} ${facts.deployment}`);
  headers.append("cdn-loop", facts.deployment);
  return headers;
}

/**
 * Response headers the client must not get: `Alt-Svc` would advertise the backend's own HTTP/3 under our name; the rest is
 * for one hop. Null when there is nothing to drop, which is nearly always, so the response can pass untouched.
 */
export function responseHeadersToDrop(received: Headers): readonly string[] | null {
  const nominated = nominatedBy(received.get("connection"));
  if (nominated.size === 0 && !received.has("alt-svc")) return null;
  return ["alt-svc", ...nominated].filter((name) => received.has(name));
}

function isDropped(name: string, isForwardedTrusted: boolean): boolean {
  if (HOP_BY_HOP.has(name) || name.startsWith("mf-")) return true;
  return !isForwardedTrusted && (CLAIMS.has(name) || name.startsWith("x-forwarded-"));
}

const NONE: ReadonlySet<string> = new Set();

/** Header names a `Connection` header declares to be for this hop only; never what the message needs end to end. */
function nominatedBy(connection: string | null): ReadonlySet<string> {
  if (connection === null) return NONE;
  const names = connection.split(",").map((name) => name.trim().toLowerCase());
  return new Set(
    names.filter((name) => name !== "" && name !== "close" && name !== "keep-alive" && name !== "upgrade"),
  );
}

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
