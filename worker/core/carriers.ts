import type { PoolName } from "../../durable/model/names.ts";
import type { CookieConfig, Tokens } from "../../durable/model/token.ts";
import { cookieValues, renderSetCookie, withoutCookies } from "./cookie.ts";

/** How the tokens of one pool travel between client and edge. */
export class Carriers {
  readonly #cookieName: string;
  readonly #cookie: CookieConfig | null;
  readonly #header: string | null;
  readonly #lifetimeMs: number;

  constructor(pool: PoolName, { cookie, header, lifetimeMs }: Tokens) {
    this.#cookieName = cookie?.name ?? `__Host-ring-${pool}`;
    this.#cookie = cookie;
    this.#header = header;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Every token that a request carries, likely ones first. */
  read(headers: { get(name: string): string | null }): readonly string[] {
    const cookies = this.#cookie === null ? null : headers.get("cookie");
    const fromCookies = cookies === null ? [] : cookieValues(cookies, this.#cookieName);
    const fromHeader = this.#header === null ? null : headers.get(this.#header);
    return fromHeader === null || fromHeader === "" ? fromCookies : [...fromCookies, fromHeader];
  }

  /** Takes out of a request's headers what its backend is not meant to see. */
  strip(headers: Headers): void {
    if (this.#header !== null) headers.delete(this.#header);
    if (this.#cookie === null || this.#cookie.passOn) return;
    const cookies = headers.get("cookie");
    if (cookies === null) return;
    const kept = withoutCookies(cookies, [this.#cookieName]);
    if (kept === null) headers.delete("cookie");
    else if (kept !== cookies) headers.set("cookie", kept);
  }

  /** The response headers that give a token to the client. */
  write(token: string): readonly (readonly [name: string, value: string])[] {
    const headers: [string, string][] = [];
    if (this.#cookie !== null) {
      headers.push(["set-cookie", renderSetCookie(this.#cookieName, token, this.#cookie, this.#lifetimeMs)]);
    }
    if (this.#header !== null) headers.push([this.#header, token]);
    return headers;
  }
}
