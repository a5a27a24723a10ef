import type { PoolName } from "../../durable/model/names.ts";
import type { CookieConfig, Tokens } from "../../durable/model/token.ts";
import { cookieValues, renderSetCookie, withoutCookies } from "./cookie.ts";

/** What the cookie of a pool is called that says nothing else: this, and the pool's name. */
const COOKIE_PREFIX = "__Host-ring-";

/** How the tokens of one pool travel between client and edge. */
export class Carriers {
  readonly cookieName: string;
  /** Null: the pool's tokens travel in no header. */
  readonly header: string | null;
  readonly #cookie: CookieConfig | null;
  readonly #lifetimeMs: number;

  constructor(pool: PoolName, { cookie, header, lifetimeMs }: Tokens) {
    this.cookieName = cookie?.name ?? `${COOKIE_PREFIX}${pool}`;
    this.header = header;
    this.#cookie = cookie;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Whether a backend may see the cookie. */
  get isCookieShown(): boolean {
    return this.#cookie?.passOn === true;
  }

  /** Every token that a request carries, likely ones first. */
  read(headers: { get(name: string): string | null }): readonly string[] {
    const cookies = this.#cookie === null ? null : headers.get("cookie");
    const fromCookies = cookies === null ? [] : cookieValues(cookies, this.cookieName);
    const fromHeader = this.header === null ? null : headers.get(this.header);
    return fromHeader === null || fromHeader === "" ? fromCookies : [...fromCookies, fromHeader];
  }

  /** The response headers that give a token to the client. */
  write(token: string): readonly (readonly [name: string, value: string])[] {
    const headers: [string, string][] = [];
    if (this.#cookie !== null) {
      headers.push(["set-cookie", renderSetCookie(this.cookieName, token, this.#cookie, this.#lifetimeMs)]);
    }
    if (this.header !== null) headers.push([this.header, token]);
    return headers;
  }
}

/**
 * Keeps tokens from backends, whichever pool they are of: one that another pool's backend sees could be used by it. Cookies
 * whose names begin with `__Host-ring-` are tokens of some pool, known here or not.
 */
export class TokenCurtain {
  readonly #headers: readonly string[];
  readonly #hidden: ReadonlySet<string>;
  readonly #shown: ReadonlySet<string>;

  constructor(carriers: readonly Carriers[]) {
    this.#headers = carriers.flatMap(({ header }) => header ?? []);
    this.#shown = new Set(carriers.filter((each) => each.isCookieShown).map((each) => each.cookieName));
    this.#hidden = new Set(carriers.map(({ cookieName }) => cookieName));
  }

  /** Takes out of a request's headers what no backend is meant to see. */
  draw(headers: Headers): void {
    for (const name of this.#headers) headers.delete(name);
    const cookies = headers.get("cookie");
    if (cookies === null || (this.#hidden.size === 0 && !cookies.includes(COOKIE_PREFIX))) return;
    const kept = withoutCookies(cookies, (name) => this.#isHidden(name));
    if (kept === null) headers.delete("cookie");
    else if (kept !== cookies) headers.set("cookie", kept);
  }

  #isHidden(name: string): boolean {
    return !this.#shown.has(name) && (this.#hidden.has(name) || name.startsWith(COOKIE_PREFIX));
  }
}
