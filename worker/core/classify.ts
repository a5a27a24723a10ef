import type { Outcome } from "../../durable/model/outcome.ts";

/** Statuses the platform answers with when it could not reach a backend, or got nothing from it that makes sense. */
const UNREACHABLE = new Set([520, 521, 522, 523, 525, 526, 527, 530]);

/** Above it there are no statuses (RFC 9110 §15), and no response can be made with one. */
const HIGHEST_STATUS = 599;

/** The platform waited for a backend in vain. */
const PLATFORM_TIMEOUT = 524;

/** Statuses by which a gateway says that there is nobody behind it. */
const GATEWAY = new Set([502, 503, 504]);

/** What became of an attempt that brought a response with this status. `blamed`: those that the pool holds against backends. */
export function classifyStatus(status: number, blamed: ReadonlySet<number>): Outcome {
  if (status < 500) return "answered";
  if (UNREACHABLE.has(status) || status > HIGHEST_STATUS) return "unreachable";
  if (status === PLATFORM_TIMEOUT) return "timed_out";
  if (!blamed.has(status)) return "deliberate_error";
  return GATEWAY.has(status) ? "gateway_error" : "server_error";
}

const LONGEST_REFUSAL_BYTES = "error code: 1003\r\n".length;

/**
 * Whether a 403 may be the platform's refusal to fetch an address (`error code: 1003`), so that its body is worth reading:
 * it is short, plain, and says whose it is.
 */
export function mayBePlatformRefusal(response: {
  readonly status: number;
  readonly headers: Headers;
}): boolean {
  const { status, headers } = response;
  return (
    status === 403 &&
    headers.get("server")?.toLowerCase() === "cloudflare" &&
    !headers.has("content-encoding") &&
    Number(headers.get("content-length") ?? Number.POSITIVE_INFINITY) <= LONGEST_REFUSAL_BYTES
  );
}

/** Whether a body is that refusal. */
export function isPlatformRefusal(body: string): boolean {
  return /^error code: 1003\s*$/.test(body);
}
