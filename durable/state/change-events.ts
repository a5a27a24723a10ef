import type { Occurrence } from "../model/event.ts";
import type { EpochMs } from "../model/time.ts";
import { pinEvents } from "./pin-events.ts";
import { returnEvents } from "./return-events.ts";
import type { RingState } from "./ring-state.ts";

/** All that a change of a pool by an operator, or by time, has to tell of the health of its backends. */
export function changeEvents(
  before: RingState,
  after: RingState,
  cause: "operator" | "time",
  nowMs: EpochMs,
): readonly Occurrence[] {
  return [...pinEvents(before, after, cause, nowMs), ...returnEvents(before, after, cause, nowMs)];
}
