/** Where a request wants to go, cut out of its URL. */
export interface Target {
  readonly scheme: "http" | "https";
  /** Lower-case, without port and without the dot that may end a full name. */
  readonly hostname: string;
  /** With port, as the client wrote it. */
  readonly host: string;
  /** Beginning with `/`, without query. */
  readonly path: string;
  /** With its `?`; empty when there is none. */
  readonly query: string;
}

/** Dot segments, encoded or not, and backslashes: what URL parsers resolve and a prefix match would be fooled by. */
const NEEDS_RESOLVING = /\\|\/(?:\.|%2e){1,2}(?:[/?#]|$)/i;

/**
 * A host and perhaps a port. Two `Host` lines come as one with a comma, and what is no path as part of the host (`*`): both
 * have to be refused (RFC 9112 §3.2), or we and a backend could take it for different hosts.
 */
const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{0,5})?$/i;

/** So many origins are remembered. A deployment has few; whoever makes up others only has them forgotten. */
const MAX_ORIGINS = 200;

/** The beginning of a URL, up to its path: whom the request is for. */
type Origin = Pick<Target, "scheme" | "hostname" | "host">;

/**
 * Cuts the URLs of requests into their parts. By hand, since a `URL` object on every request costs more than the pick; a URL
 * whose path a backend might read in another way than we do is resolved first. What it finds out of an origin it remembers, as
 * nearly all requests are for the same few.
 */
export class TargetParser {
  readonly #origins = new Map<string, Origin>();

  /** Null when the URL names no host, or would have to be resolved and is no URL. */
  parse(requestUrl: string): Target | null {
    const url = NEEDS_RESOLVING.test(requestUrl) ? URL.parse(requestUrl)?.href : requestUrl;
    if (url === undefined) return null;
    const hostAt = url.indexOf("://") + 3;
    const pathAt = indexOrEnd(url, "/", hostAt);
    const queryAt = indexOrEnd(url, "?", hostAt);
    const endAt = indexOrEnd(url, "#", hostAt);
    const origin = this.#origin(url.slice(0, Math.min(pathAt, queryAt, endAt)), hostAt);
    if (origin === null) return null;
    const path = pathAt < Math.min(queryAt, endAt) ? url.slice(pathAt, Math.min(queryAt, endAt)) : "/";
    const query = queryAt < endAt ? url.slice(queryAt, endAt) : "";
    return { scheme: origin.scheme, hostname: origin.hostname, host: origin.host, path, query };
  }

  #origin(text: string, hostAt: number): Origin | null {
    const known = this.#origins.get(text);
    if (known !== undefined) return known;
    const host = text.slice(hostAt);
    if (!HOST.test(host)) return null;
    const scheme = text.startsWith("https:") ? "https" : "http";
    const origin: Origin = { scheme, hostname: hostnameOf(host), host };
    if (this.#origins.size >= MAX_ORIGINS) this.#origins.clear();
    this.#origins.set(text, origin);
    return origin;
  }
}

function indexOrEnd(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at === -1 ? text.length : at;
}

function hostnameOf(host: string): string {
  const colonAt = host.lastIndexOf(":");
  const hasPort = colonAt > host.lastIndexOf("]") && colonAt !== -1;
  const hostname = (hasPort ? host.slice(0, colonAt) : host).toLowerCase();
  return hostname.endsWith(".") ? hostname.slice(0, -1) : hostname;
}
