import type { CookieConfig } from "../../durable/model/token.ts";

/** Every value that a `Cookie` header (RFC 6265 §4.2) gives to a name; a browser may send two of different paths. */
export function cookieValues(header: string, name: string): readonly string[] {
  if (!header.includes(name)) return NONE;
  return header
    .split(";")
    .map((pair) => withoutBlanks(pair))
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
}

const NONE: readonly string[] = [];

/**
 * A `Cookie` header without the cookies of some names; the others, and a header that has none of these, as they were. Null
 * when nothing is left of it.
 */
export function withoutCookies(header: string, isHidden: (name: string) => boolean): string | null {
  const pairs = header
    .split(";")
    .map((pair) => withoutBlanks(pair))
    .filter((pair) => pair !== "");
  const kept = pairs.filter((pair) => !isHidden(withoutBlanks(pair.split("=", 1)[0] ?? "")));
  if (kept.length === pairs.length) return header;
  return kept.length === 0 ? null : kept.join("; ");
}

/** A `Set-Cookie` header (RFC 6265 §4.1; `SameSite` after RFC 6265bis). Never for scripts: `HttpOnly`. */
export function renderSetCookie(
  name: string,
  value: string,
  cookie: CookieConfig,
  lifetimeMs: number,
): string {
  const { path, domain, sameSite, secure, persistent } = cookie;
  return [
    `${name}=${value}`,
    `Path=${path}`,
    ...(domain === null ? [] : [`Domain=${domain}`]),
    ...(persistent ? [`Max-Age=${Math.floor(lifetimeMs / 1_000)}`] : []),
    ...(secure ? ["Secure"] : []),
    "HttpOnly",
    `SameSite=${sameSite}`,
  ].join("; ");
}

/**
 * A text without the spaces and tabs around it (RFC 6265 §5.2). `trim` would take a no-break space too, which is the last
 * byte of many a letter in UTF-8; an expression would take quadratic time over a long row of blanks.
 */
function withoutBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
