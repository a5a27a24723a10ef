import type { EpochMs } from "../../durable/model/time.ts";

/** The form that senders must use (RFC 9110 §5.6.7); dates in others are made of nearly anything. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** The wait that `Retry-After` asks for, in seconds or as a date (RFC 9110 §10.2.3); null when it says nothing. */
export function parseRetryAfter(value: string | null, nowMs: EpochMs): number | null {
  if (value === null) return null;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1_000;
  if (!HTTP_DATE.test(value)) return null;
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? null : Math.max(0, atMs - nowMs);
}
