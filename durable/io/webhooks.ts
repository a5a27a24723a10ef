import type { HealthMessage } from "../model/delivery.ts";
import type { EpochMs } from "../model/time.ts";

/** One attempt to tell a webhook an event. */
export interface WebhookCall {
  readonly url: string;
  /** Key of the signature. */
  readonly key: string;
  readonly message: HealthMessage;
  readonly incarnation: string;
  readonly nowMs: EpochMs;
  readonly timeoutMs: number;
}

/** The status of an answer, or why there was none. */
export type WebhookAnswer =
  | { readonly kind: "answered"; readonly status: number }
  | { readonly kind: "lost"; readonly reason: string };

/**
 * Tells a webhook one event. Redirects are not followed, and of the answer only its status counts. The signature is over the
 * time too, as Stripe's is, so that who overhears a call cannot send it again later.
 */
export async function callWebhook({
  url,
  key,
  message,
  incarnation,
  nowMs,
  timeoutMs,
}: WebhookCall): Promise<WebhookAnswer> {
  const body = JSON.stringify(message);
  const timestamp = Math.floor(nowMs / 1_000);
  // Not `AbortSignal.timeout`, which would keep the object in memory until it is over, whatever was answered.
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      headers: {
        "content-type": "application/json",
        "user-agent": "Ringmaster",
        "ring-event-id": `${incarnation}.${message.event.id}`,
        "ring-timestamp": String(timestamp),
        "ring-signature": `v1=${await sign(key, `${timestamp}.${body}`)}`,
      },
      body,
      signal: deadline.signal,
    });
    // Left unread it would hold on to its connection, of which an object has six.
    await response.body?.cancel();
    return { kind: "answered", status: response.status };
  } catch (error) {
    return { kind: "lost", reason: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

async function sign(key: string, text: string): Promise<string> {
  const encoder = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", encoder.encode(key), algorithm, false, ["sign"]);
  const mac = await crypto.subtle.sign("HMAC", imported, encoder.encode(text));
  return Array.from(new Uint8Array(mac), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
