import type { MiddlewareHandler } from "hono";
import { problem } from "./answer.ts";
import type { AdminContext } from "./context.ts";

const MIN_TOKEN_LENGTH = 16;

/** A viewer reads; an operator also writes. */
type Role = "viewer" | "operator";

/**
 * Lets a request through whose bearer token (RFC 6750) is one of the secrets `OPERATOR_TOKENS` or `VIEWER_TOKENS`. Each
 * holds one or several tokens, separated by spaces or commas, so that a new one can be given out before the old one goes.
 * `alice:` before a token names whose it is in the history; no token holds a colon (RFC 6750 §2.1). Without any, the API is closed and says what to set. No object is called before this.
 */
export const authenticate: MiddlewareHandler<AdminContext> = async (context, next) => {
  const tokens = [...tokensOf(context.env, "operator"), ...tokensOf(context.env, "viewer")];
  if (tokens.length === 0) {
    return problem(context, {
      status: 503,
      title: "Not configured",
      detail: "no admin token is set; set one with: wrangler secret put OPERATOR_TOKENS",
    });
  }
  if (tokens.some(({ token }) => token.length < MIN_TOKEN_LENGTH)) {
    return problem(context, {
      status: 503,
      title: "Not configured",
      detail: `a token in OPERATOR_TOKENS or VIEWER_TOKENS is too short; each must be at least ${MIN_TOKEN_LENGTH} characters`,
    });
  }
  const misnamed = tokens.find(({ name }) => name !== null && !NAME.test(name));
  if (misnamed !== undefined) {
    return problem(context, {
      status: 503,
      title: "Not configured",
      detail: `a name before a token in OPERATOR_TOKENS or VIEWER_TOKENS must be ${NAME_RANGE}`,
    });
  }
  const given = /^Bearer +(\S+) *$/i.exec(context.req.header("authorization") ?? "")?.[1];
  const known = given === undefined ? null : await find(given, tokens);
  if (known === null) {
    context.header("www-authenticate", 'Bearer realm="ringmaster"');
    return problem(context, {
      status: 401,
      title: "Unauthorized",
      detail: given === undefined ? "send Authorization: Bearer and a token" : "this token is not known",
    });
  }
  const isReading = context.req.method === "GET" || context.req.method === "HEAD";
  if (known.role === "viewer" && !isReading) {
    return problem(context, { status: 403, title: "Forbidden", detail: "a viewer token may only read" });
  }
  context.set("operator", `${known.role} ${known.name}`);
  await next();
  return undefined;
};

interface Token {
  readonly token: string;
  readonly role: Role;
  /** Whose it is; null: the secret does not say. */
  readonly name: string | null;
}

const NAME = /^[\w.-]{1,32}$/;
const NAME_RANGE = "1…32 letters, digits, '.', '_' or '-'";

function tokensOf(env: AdminContext["Bindings"], role: Role): readonly Token[] {
  const secret = env[role === "operator" ? "OPERATOR_TOKENS" : "VIEWER_TOKENS"];
  if (typeof secret !== "string") return [];
  return secret
    .split(/[\s,]+/)
    .filter((token) => token !== "")
    .map((entry) => {
      const colon = entry.indexOf(":");
      const name = colon === -1 ? null : entry.slice(0, colon);
      return { token: entry.slice(colon + 1), role, name };
    });
}

/** Whoever a token belongs to; without a name, the beginning of the token's digest has to do. */
interface Known {
  readonly role: Role;
  readonly name: string;
}

/** Compares with every token, and by digests of equal length, so that the time taken tells nothing about any of them. */
async function find(given: string, tokens: readonly Token[]): Promise<Known | null> {
  const givenDigest = await digest(given);
  const beginning = Array.from(new Uint8Array(givenDigest, 0, 4), (byte) =>
    byte.toString(16).padStart(2, "0"),
  );
  let found: Known | null = null;
  for (const { token, role, name } of tokens) {
    const isIt = crypto.subtle.timingSafeEqual(givenDigest, await digest(token));
    if (isIt) found ??= { role, name: name ?? beginning.join("") };
  }
  return found;
}

function digest(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
