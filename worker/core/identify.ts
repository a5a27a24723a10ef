import type { Protocol } from "../../durable/model/outcome.ts";

/**
 * The part of `request.cf` that is used here. The published types leave some of it out and every field may be missing,
 * so each is checked when it is read.
 */
interface CfFacts {
  /** `HTTP/1.1`, `HTTP/2`, `HTTP/3`. */
  readonly httpProtocol?: unknown;
  /**
   * Base64 of the 32-byte ClientHello random (RFC 8446 §4.1.2): one value for all requests of a TLS or QUIC connection,
   * kept when the client migrates to another address. Chosen by the client, so it is only ever hashed under a secret.
   */
  readonly tlsClientRandom?: unknown;
  /** Three letters of the data centre: `FRA`. */
  readonly colo?: unknown;
  /** Two letters of the client's country: `DE`. */
  readonly country?: unknown;
}

/** Reads `request.cf` as what it may hold; it is undefined where nothing in front of us speaks for the client. */
export function readCf(cf: object | undefined): CfFacts {
  return cf ?? NOTHING;
}

const NOTHING: CfFacts = {};

/** The protocol the client spoke, in a string of ours: by the one that was parsed with `cf`, looking up is slow. */
export function protocolOf(cf: CfFacts): Protocol {
  switch (cf.httpProtocol) {
    case "HTTP/1.0":
      return "HTTP/1.0";
    case "HTTP/1.1":
      return "HTTP/1.1";
    case "HTTP/2":
      return "HTTP/2";
    case "HTTP/3":
      return "HTTP/3";
    default:
      return "other";
  }
}

/** The client's connection, as far as it can be named. */
export interface Connection {
  /** What names it, unhashed. */
  readonly identity: string;
  /** Whether it names one connection, and not an address that several may share. */
  readonly isExact: boolean;
  /** Address and colo it came in by. An exact one that changes them has migrated. */
  readonly from: string;
}

/** What is known of a client, from which its connection gets its name. */
export interface ClientFacts {
  readonly cf: CfFacts;
  readonly clientAddress: string | null;
  /** What one's own HTTP/3 front says names the connection; null where there is no such front. */
  readonly front: string | null;
}

/**
 * The client's connection: what its front says, else its ClientHello random, else its address (IPv6: the /64, which one
 * client may roam in), else null. The front comes first because behind one the random is that of the front's own
 * connection, which all its clients share.
 */
export function identifyConnection({ cf, clientAddress, front }: ClientFacts): Connection | null {
  const random = cf.tlsClientRandom;
  const named =
    front !== null ? `front ${front}` : typeof random === "string" && random !== "" ? `tls ${random}` : null;
  const colo = typeof cf.colo === "string" ? cf.colo : "";
  const from = `${clientAddress ?? ""} ${colo}`;
  if (named !== null) return { identity: named, isExact: true, from };
  if (clientAddress === null) return null;
  return { identity: `address ${networkOf(clientAddress)}`, isExact: false, from };
}

/**
 * What a front says names the connection: the header is the front's secret, a colon and the name, because anybody can
 * send a header. Null when there is none, or the secret is wrong.
 */
export function frontIdentity(header: string | null, secret: string): string | null {
  if (header === null || header.length <= secret.length + 1 || header[secret.length] !== ":") return null;
  let difference = 0;
  // All of it every time, so that the time taken tells nothing about the secret.
  for (let at = 0; at < secret.length; at++) difference |= header.charCodeAt(at) ^ secret.charCodeAt(at);
  return difference === 0 ? header.slice(secret.length + 1) : null;
}

/** An IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2). By its first 64 bits, all of IPv4 would be one network. */
const MAPPED_IPV4 = /^(?:0*:)+ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** An IPv4 address as it is; of an IPv6 address the first 64 bits, written in full. */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const mapped = MAPPED_IPV4.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = address.toLowerCase().split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const lastGroups = last.length + (last.at(-1)?.includes(".") ? 1 : 0);
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - lastGroups);
  const groups = [...first, ...Array<string>(zeros).fill("0"), ...last];
  return groups
    .slice(0, 4)
    .map((group) => group.padStart(4, "0"))
    .join(":");
}
