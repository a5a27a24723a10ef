/** Statuses the platform answers with when it could not reach a backend, or got nothing from it that makes sense. */
export const PLATFORM_FAILURES: ReadonlySet<number> = new Set([520, 521, 522, 523, 525, 526, 527, 530]);

/** Those of them that prove that the backend has not acted; after the others nobody knows. */
export const NOT_SENT: ReadonlySet<number> = new Set([521, 522, 523, 525, 526, 530]);

/** The platform waited for a backend in vain. */
export const PLATFORM_TIMEOUT = 524;

/** Length of the longest body that is such a refusal. */
export const LONGEST_REFUSAL_BYTES = "error code: 1003\r\n".length;

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
