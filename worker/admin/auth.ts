import type { MiddlewareHandler } from "hono";
import { problem } from "./answer.ts";
import type { AdminContext } from "./context.ts";

const MIN_TOKEN_LENGTH = 16;

/** A viewer reads; an operator also writes. */
type Role = "viewer" | "operator";

/**
 * Lets a request through whose bearer token (RFC 6750) is one of the secrets `OPERATOR_TOKENS` or `VIEWER_TOKENS`. Each
 * holds one or several tokens, separated by spaces or commas, so that a new one can be given out before the old one goes.
 * Without any, the API is closed and says what to set. No object is called before this.
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
  const given = /^Bearer +(\S+) *$/i.exec(context.req.header("authorization") ?? "")?.[1];
  const role = given === undefined ? null : await roleOf(given, tokens);
  if (role === null) {
    context.header("www-authenticate", 'Bearer realm="ringmaster"');
    return problem(context, {
      status: 401,
      title: "Unauthorized",
      detail: given === undefined ? "send Authorization: Bearer and a token" : "this token is not known",
    });
  }
  const isReading = context.req.method === "GET" || context.req.method === "HEAD";
  if (role === "viewer" && !isReading) {
    return problem(context, { status: 403, title: "Forbidden", detail: "a viewer token may only read" });
  }
  await next();
  return undefined;
};

interface Token {
  readonly token: string;
  readonly role: Role;
}

function tokensOf(env: AdminContext["Bindings"], role: Role): readonly Token[] {
  const secret = env[role === "operator" ? "OPERATOR_TOKENS" : "VIEWER_TOKENS"];
  if (typeof secret !== "string") return [];
  return secret
    .split(/[\s,]+/)
    .filter((token) => token !== "")
    .map((token) => ({ token, role }));
}

/** Compares with every token, and by digests of equal length, so that the time taken tells nothing about any of them. */
async function roleOf(given: string, tokens: readonly Token[]): Promise<Role | null> {
  const givenDigest = await digest(given);
  let found: Role | null = null;
  for (const { token, role } of tokens) {
    if (crypto.subtle.timingSafeEqual(givenDigest, await digest(token))) found ??= role;
  }
  return found;
}

function digest(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
