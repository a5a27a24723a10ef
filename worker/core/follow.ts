import type { Admits } from "../../durable/model/snapshot.ts";

/** Bodies longer than this may take a while, bytes. */
const LONG_BODY_BYTES = 256 * 1_024;

/**
 * Whether a response is followed to its end before it stops counting as in flight: an event stream, a long body, and
 * whatever a draining backend sends, because a drain must know when it is over. All others pass untouched, since
 * following costs a third of the throughput.
 */
export function mustFollow(headers: Headers, admits: Admits): boolean {
  if (admits !== "new") return true;
  const length = headers.get("content-length");
  if (length !== null) return Number(length) > LONG_BODY_BYTES;
  return headers.get("content-type")?.toLowerCase().startsWith("text/event-stream") ?? false;
}
