import type { Admits } from "../../durable/model/snapshot.ts";

/** Bodies longer than this may take a while, bytes. */
const LONG_BODY_BYTES = 256 * 1_024;

/** What a stream or a download says that it is, when it does not say how long. Pages and ordinary JSON do not. */
const LONG_TYPES =
  /^(?:text\/event-stream|application\/(?:octet-stream|(?:x-)?ndjson|zip|(?:x-)?gzip|x-tar|grpc(?:[-+][^;]*)?)|(?:audio|video|multipart)\/[^;]*)\s*(?:;|$)/i;

/**
 * Whether a response is followed to its end before it stops counting as in flight: a long body, a stream or download of unknown
 * length, and whatever a draining backend sends, because a drain must know when it is over. All others pass untouched, since
 * following costs a third of the throughput.
 */
export function mustFollow(headers: Headers, admits: Admits): boolean {
  if (admits !== "new") return true;
  const length = headers.get("content-length");
  if (length !== null) return Number(length) > LONG_BODY_BYTES;
  return LONG_TYPES.test(headers.get("content-type") ?? "");
}
