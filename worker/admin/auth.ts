import type { Context, MiddlewareHandler } from "hono";
import { epochMs } from "../../durable/model/time.ts";
import { type AdminToken, MIN_TOKEN_LENGTH, parseAdminTokens } from "../core/admin-tokens.ts";
import type { GuessLimiter } from "../core/guess-limiter.ts";
import { networkOf } from "../core/identify.ts";
import { problem } from "./answer.ts";
import type { AdminContext } from "./context.ts";

/** A viewer reads; an operator also writes. */
type Role = "viewer" | "operator";

/**
 * Lets a request through whose bearer token (RFC 6750) is one of the secrets `OPERATOR_TOKENS` or `VIEWER_TOKENS`. Each
 * holds one or several tokens, separated by spaces or commas, so that a new one can be given out before the old one goes.
 * `alice:` before a token names whose it is in the history; no token holds a colon (RFC 6750 §2.1). Without any, the API is
 * closed and says what to set. Who guesses has to wait, and meanwhile no token from his network is looked at, be it right or
 * wrong: an answer that told them apart would make waiting needless. No object is called before this, and nothing is waited
 * for either, so that guesses sent at once are counted one after the other.
 */
export function authenticate(limiter: GuessLimiter): MiddlewareHandler<AdminContext> {
  return async (context, next) => {
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
    const given = bearerOf(context);
    if (given === undefined) return unauthorized(context, "send Authorization: Bearer and a token");
    const nowMs = epochMs(Date.now());
    const network = networkOf(context.req.header("cf-connecting-ip") ?? "");
    const waitMs = limiter.waitMs(network, nowMs);
    if (waitMs > 0) return tooMany(context, waitMs);
    const known = find(given, tokens);
    if (known === null) {
      limiter.countWrong(network, nowMs);
      return unauthorized(context, "this token is not known");
    }
    limiter.countRight(network);
    const isReading = context.req.method === "GET" || context.req.method === "HEAD";
    if (known.role === "viewer" && !isReading) {
      return problem(context, { status: 403, title: "Forbidden", detail: "a viewer token may only read" });
    }
    context.set("operator", `${known.role} ${known.name ?? (await digestOf(known.token))}`);
    await next();
    return undefined;
  };
}

function unauthorized(context: Context, detail: string): Response {
  context.header("www-authenticate", 'Bearer realm="ringmaster"');
  return problem(context, { status: 401, title: "Unauthorized", detail });
}

function tooMany(context: Context, waitMs: number): Response {
  const seconds = Math.ceil(waitMs / 1_000);
  context.header("retry-after", String(seconds));
  return problem(context, {
    status: 429,
    title: "Too many wrong tokens",
    detail: `no token is looked at for another ${seconds} s`,
  });
}

/** The token that a request brings; undefined: none. */
export function bearerOf(context: Context<AdminContext>): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(context.req.header("authorization") ?? "")?.[1];
}

interface Token extends AdminToken {
  readonly role: Role;
}

const NAME = /^[\w.-]{1,32}$/;
const NAME_RANGE = "1…32 letters, digits, '.', '_' or '-'";

function tokensOf(env: AdminContext["Bindings"], role: Role): readonly Token[] {
  const secret = env[role === "operator" ? "OPERATOR_TOKENS" : "VIEWER_TOKENS"];
  return parseAdminTokens(secret).map(({ token, name }) => ({ token, role, name }));
}

/** Compares with every token, so that the time taken does not tell which one is near. */
function find(given: string, tokens: readonly Token[]): Token | null {
  const bytes = new TextEncoder().encode(given);
  let found: Token | null = null;
  for (const each of tokens) {
    if (isSame(bytes, new TextEncoder().encode(each.token))) found ??= each;
  }
  return found;
}

/** Compares as many bytes as the secret has, whatever was given, and without stopping at the first that differs. */
function isSame(given: Uint8Array, secret: Uint8Array): boolean {
  const cut = new Uint8Array(secret.length);
  cut.set(given.subarray(0, secret.length));
  const isAlike = crypto.subtle.timingSafeEqual(cut, secret);
  return isAlike && given.length === secret.length;
}

/** The beginning of a token's digest: what stands for it where it has no name. */
async function digestOf(token: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return Array.from(new Uint8Array(digest, 0, 4), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
