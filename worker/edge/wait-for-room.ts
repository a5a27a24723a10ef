import type { PoolConfig } from "../../durable/model/pool.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import type { Choice, Choosing } from "../core/choice.ts";
import type { WaitingLine } from "../core/waiting-line.ts";
import type { Living } from "./header-watch.ts";
import { clock } from "./leased.ts";

/**
 * Waits in line until there is room, the time is up, or the client leaves. Null: it does not wait. Who is called resumes in
 * its own request (compatibility flag `handle_cross_request_promise_resolution`), and only there its timer may be touched.
 */
export function waitForRoom(
  passage: Living,
  line: WaitingLine,
  choosing: Choosing,
  { timeoutMs, maxRequests }: PoolConfig["waiting"],
  nowMs: EpochMs,
): Promise<Choice> | null {
  if (timeoutMs <= 0) return null;
  const { promise, resolve: call } = Promise.withResolvers<void>();
  const waiting = { choosing, untilMs: after(nowMs, timeoutMs), call };
  if (!line.join(waiting, { timeoutMs, maxRequests }, nowMs)) return null;
  const timer = setTimeout(call, timeoutMs);
  passage.gone.addEventListener("abort", () => call(), { once: true });
  const found = promise.then((): Choice => {
    clearTimeout(timer);
    if (!passage.isAbandoned) return line.claim(waiting, clock());
    line.leave(waiting);
    return { kind: "full" };
  });
  // Or it would end with its client, and whatever place it was given with it.
  passage.waitUntil(found);
  if (passage.isAbandoned) call();
  return found;
}
