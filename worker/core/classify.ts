import type { Outcome } from "../../durable/model/outcome.ts";
import { PLATFORM_FAILURES, PLATFORM_TIMEOUT } from "../../durable/model/platform.ts";

/** Above it there are no statuses (RFC 9110 §15), and no response can be made with one. */
const HIGHEST_STATUS = 599;

/** Statuses by which a gateway says that there is nobody behind it. */
const GATEWAY = new Set([502, 503, 504]);

/** What became of an attempt that brought a response with this status. `blamed`: those that the pool holds against backends. */
export function classifyStatus(status: number, blamed: ReadonlySet<number>): Outcome {
  if (status < 500) return "answered";
  if (PLATFORM_FAILURES.has(status) || status > HIGHEST_STATUS) return "unreachable";
  if (status === PLATFORM_TIMEOUT) return "timed_out";
  if (!blamed.has(status)) return "deliberate_error";
  return GATEWAY.has(status) ? "gateway_error" : "server_error";
}
