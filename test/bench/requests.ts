import { randomBytes } from "node:crypto";

/** Connections that load is sent over, and clients that it claims to come from. */
export const CONNECTIONS = 32;

/** The header that a socket takes `request.cf` from, and removes. */
export const CF_HEADER = "X-Cf-Blob";

/** The header that a socket takes the scheme of the request's URL from, and removes. */
export const SCHEME_HEADER = "X-Bench-Scheme";

/** The host that clients ask for, and that the route is for. */
export const HOST = "shop.example";

/**
 * What a worker is given of a request. `full`: all that the platform adds to what a browser sends, as in production. `lean`:
 * of that only what Ringmaster looks at.
 */
export const REQUEST_KINDS = ["full", "lean"] as const;
export type RequestKind = (typeof REQUEST_KINDS)[number];

/** One client of an HTTP/3 site, seen behind the edge: every request of its connection carries these headers. */
export interface Client {
  readonly headers: Readonly<Record<string, string>>;
}

/** As many different clients as there are connections; floor and variants get the same ones. */
export function createClients(kind: RequestKind): readonly Client[] {
  return Array.from({ length: CONNECTIONS }, (_, index) => {
    const address = `198.51.100.${index + 1}`;
    const cf = { httpProtocol: "HTTP/3", tlsClientRandom: randomBytes(32).toString("base64") };
    return {
      headers: {
        ...BROWSER,
        Cookie: `session=${randomBytes(24).toString("base64url")}; consent=1.2026; theme=dark; _ga=GA1.1.1187204315.1763700000`,
        "CF-Connecting-IP": address,
        "CF-Ray": `${randomBytes(8).toString("hex")}-FRA`,
        ...(kind === "full" ? addedHeaders(address) : {}),
        [SCHEME_HEADER]: "https",
        [CF_HEADER]: JSON.stringify(kind === "full" ? { ...addedCf(), ...cf } : cf),
      },
    };
  });
}

const BROWSER = {
  Host: HOST,
  "User-Agent":
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
  Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Accept-Encoding": "gzip, br",
  "Accept-Language": "en-GB,en;q=0.9,de;q=0.7",
  Referer: `https://${HOST}/catalogue?page=1`,
  "Sec-Fetch-Mode": "navigate",
  "Upgrade-Insecure-Requests": "1",
};

/** The other headers that the platform gives a worker ("Cloudflare HTTP headers" and "Headers" in its documentation). */
function addedHeaders(address: string): Readonly<Record<string, string>> {
  return {
    "CF-IPCountry": "DE",
    "CF-Visitor": '{"scheme":"https"}',
    "X-Forwarded-Proto": "https",
    "X-Real-IP": address,
  };
}

/**
 * The other fields of `request.cf` that its documentation names for every plan, and the exported authenticator, which is seen on
 * every plan, too. Those of bot management and client certificates, which not everybody has, are left out.
 */
function addedCf(): object {
  return {
    asn: 64_496,
    asOrganization: "Example Networks",
    clientAcceptEncoding: "gzip, deflate, br, zstd",
    clientQuicRtt: 18,
    clientTcpRtt: 0,
    colo: "FRA",
    country: "DE",
    isEUCountry: "1",
    city: "Frankfurt am Main",
    continent: "EU",
    latitude: "50.11552",
    longitude: "8.68417",
    postalCode: "60313",
    region: "Hesse",
    regionCode: "HE",
    timezone: "Europe/Berlin",
    edgeL4: { deliveryRate: 1_182_345 },
    edgeRequestKeepAliveStatus: 1,
    requestPriority: "",
    tlsCipher: "AEAD-AES128-GCM-SHA256",
    tlsClientCiphersSha1: randomText(20, "base64"),
    tlsClientExtensionsSha1: randomText(20, "base64"),
    tlsClientExtensionsSha1Le: randomText(20, "base64"),
    tlsClientHelloLength: "1755",
    tlsExportedAuthenticator: {
      clientFinished: randomText(32, "hex"),
      clientHandshake: randomText(32, "hex"),
      serverFinished: randomText(32, "hex"),
      serverHandshake: randomText(32, "hex"),
    },
    tlsVersion: "TLSv1.3",
  };
}

function randomText(bytes: number, encoding: "base64" | "hex"): string {
  return randomBytes(bytes).toString(encoding);
}

/** The path, with query, under which backends hold a body of so many bytes. */
export function pathOf(bodyBytes: number): string {
  return `/bodies/${bodyBytes}?page=2`;
}
