import type { IncomingHttpHeaders } from "node:http";
import type { Answer, Ask, Cluster } from "./cluster.ts";

/** A client that keeps cookies, as a browser does. */
export class CookieClient {
  readonly cookies = new Map<string, string>();
  readonly #cluster: Cluster;
  readonly #ask: Ask;

  constructor(cluster: Cluster, ask: Ask = {}) {
    this.#cluster = cluster;
    this.#ask = ask;
  }

  /** Sends a request with all cookies, and keeps those that come back. */
  async ask(ask: Ask = {}): Promise<Answer> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { ...this.#ask.headers, ...ask.headers, ...(cookie === "" ? {} : { cookie }) };
    const answer = await this.#cluster.ask({ ...this.#ask, ...ask, headers });
    for (const [name, value] of setCookies(answer.headers)) this.cookies.set(name, value);
    return answer;
  }
}

/** Names and values of the cookies that a response sets. */
export function setCookies(
  headers: IncomingHttpHeaders,
): readonly (readonly [name: string, value: string])[] {
  return (headers["set-cookie"] ?? []).map((line) => {
    const pair = line.split(";", 1)[0] ?? "";
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}

/** The headers that a backend of the cluster got, as it says in its answer's body. */
export function arrived(answer: Answer): Readonly<Record<string, string>> {
  return (JSON.parse(answer.body) as { readonly headers: Readonly<Record<string, string>> }).headers;
}
