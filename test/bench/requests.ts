import { randomBytes } from "node:crypto";

/** Connections that load is sent over, and clients that it claims to come from. */
export const CONNECTIONS = 32;

/** The header that a socket takes `request.cf` from, and removes. */
export const CF_HEADER = "X-Cf-Blob";

/** The header that a socket takes the scheme of the request's URL from. */
export const PROTO_HEADER = "X-Forwarded-Proto";

/** The host that clients ask for, and that the route is for. */
export const HOST = "shop.example";

/** One client of an HTTP/3 site, seen behind the edge: every request of its connection carries these headers. */
export interface Client {
  readonly headers: Readonly<Record<string, string>>;
}

/** As many different clients as there are connections; floor and variants get the same ones. */
export function createClients(): readonly Client[] {
  return Array.from({ length: CONNECTIONS }, (_, index) => ({
    headers: {
      Host: HOST,
      "User-Agent":
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
      Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
      "Accept-Encoding": "gzip, br",
      "Accept-Language": "en-GB,en;q=0.9,de;q=0.7",
      Cookie: `session=${randomBytes(24).toString("base64url")}; consent=1.2026; theme=dark; _ga=GA1.1.1187204315.1763700000`,
      Referer: `https://${HOST}/catalogue?page=1`,
      "Sec-Fetch-Mode": "navigate",
      "Upgrade-Insecure-Requests": "1",
      "CF-Connecting-IP": `198.51.100.${index + 1}`,
      "CF-Ray": `${randomBytes(8).toString("hex")}-FRA`,
      [PROTO_HEADER]: "https",
      [CF_HEADER]: JSON.stringify({
        httpProtocol: "HTTP/3",
        tlsClientRandom: randomBytes(32).toString("base64"),
      }),
    },
  }));
}

/** The path, with query, under which backends hold a body of so many bytes. */
export function pathOf(bodyBytes: number): string {
  return `/bodies/${bodyBytes}?page=2`;
}
