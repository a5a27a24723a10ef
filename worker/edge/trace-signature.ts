import { type EpochMs, epochMs } from "../../durable/model/time.ts";
import { MIN_TOKEN_LENGTH, parseAdminTokens } from "../core/admin-tokens.ts";
import { decodeBase64url, encodeBase64url } from "../core/base64url.ts";

/** Asks for a trace on a request, and holds it on the answer. */
export const TRACE_HEADER = "ring-trace";

/** Until when, in seconds since the epoch; HMAC-SHA-256 of that. */
const SIGNED = /^(\d{1,12})\.([\w-]{43})$/;

/** What a request asks for a trace by until then: signed with an operator's token, so it is void when the token goes. */
export async function signTrace(operatorToken: string, untilMs: EpochMs): Promise<string> {
  const untilS = Math.floor(untilMs / 1_000);
  const signature = await crypto.subtle.sign("HMAC", await keyOf(operatorToken), messageOf(untilS));
  return `${untilS}.${encodeBase64url(new Uint8Array(signature))}`;
}

/**
 * What the header of a request that asks for a trace is worth. `void`: nothing, since it is none, too old, or nobody could have
 * signed it. `forged`: somebody has, and no operator. `operatorTokens`: the secret of that name.
 */
export async function checkTrace(
  header: string,
  operatorTokens: unknown,
  nowMs: EpochMs,
): Promise<"signed" | "forged" | "void"> {
  const [, until = "", text = ""] = SIGNED.exec(header) ?? [];
  const signature = decodeBase64url(text);
  const tokens = parseAdminTokens(operatorTokens);
  const isOpen = tokens.length > 0 && tokens.every(({ token }) => token.length >= MIN_TOKEN_LENGTH);
  if (until === "" || signature === null || !isOpen || nowMs >= epochMs(Number(until) * 1_000)) return "void";
  for (const { token } of tokens) {
    const key = await keyOf(token);
    if (await crypto.subtle.verify("HMAC", key, signature, messageOf(Number(until)))) return "signed";
  }
  return "forged";
}

function keyOf(token: string): Promise<CryptoKey> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  return crypto.subtle.importKey("raw", new TextEncoder().encode(token), algorithm, false, [
    "sign",
    "verify",
  ]);
}

/** Begins with what it is for: nothing else that is ever signed with a token may pass for it. */
function messageOf(untilS: number): Uint8Array {
  return new TextEncoder().encode(`ring-trace until ${untilS}`);
}
