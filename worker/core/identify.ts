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
}

/** Reads `request.cf` as what it may hold; it is undefined where nothing in front of us speaks for the client. */
export function readCf(cf: object | undefined): CfFacts {
  return cf ?? NOTHING;
}

const NOTHING: CfFacts = {};

/** The protocol the client spoke. */
export function protocolOf(cf: CfFacts): Protocol {
  switch (cf.httpProtocol) {
    case "HTTP/1.0":
    case "HTTP/1.1":
    case "HTTP/2":
    case "HTTP/3":
      return cf.httpProtocol;
    default:
      return "other";
  }
}

/**
 * What names the client's connection, before hashing: its ClientHello random, else its address (IPv6: the /64, which one
 * client may roam in), else null.
 */
export function connectionIdentity(cf: CfFacts, clientAddress: string | null): string | null {
  const random = cf.tlsClientRandom;
  if (typeof random === "string" && random !== "") return `tls ${random}`;
  return clientAddress === null ? null : `address ${networkOf(clientAddress)}`;
}

/** An IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2). By its first 64 bits, all of IPv4 would be one network. */
const MAPPED_IPV4 = /^(?:0*:)+ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** An IPv4 address as it is; of an IPv6 address the first 64 bits, written in full. */
function networkOf(address: string): string {
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
