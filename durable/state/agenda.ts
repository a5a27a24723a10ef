import type { EpochMs } from "../model/time.ts";
import type { HeldBackend, RingState } from "./ring-state.ts";

/** When the ring next has something to do by itself; null: never. */
export function nextDeadlineMs(state: RingState): EpochMs | null {
  if (state.kind === "absent") return null;
  return state.backends.reduce<EpochMs | null>((earliest, backend) => {
    const untilMs = openDrainUntilMs(backend);
    return untilMs !== null && (earliest === null || untilMs < earliest) ? untilMs : earliest;
  }, null);
}

/** Whether a drain is running, during which isolates ask more often. */
export function isDraining(state: RingState): boolean {
  return nextDeadlineMs(state) !== null;
}

/**
 * Closes every drain whose deadline has passed, in a version of its own. Returns the state itself when there was none,
 * so an alarm that comes early, twice or late does no harm.
 */
export function passDeadlines(state: RingState, nowMs: EpochMs): RingState {
  const nextMs = nextDeadlineMs(state);
  if (state.kind === "absent" || nextMs === null || nextMs > nowMs) return state;
  return {
    ...state,
    version: state.version + 1,
    backends: state.backends.map((backend) => {
      const untilMs = openDrainUntilMs(backend);
      return untilMs !== null && untilMs <= nowMs ? { ...backend, isDrained: true } : backend;
    }),
  };
}

/** Deadline of a drain that is still open; null when there is none or it has passed. */
export function openDrainUntilMs(backend: HeldBackend): EpochMs | null {
  return backend.admin.kind === "draining" && !backend.isDrained ? backend.admin.untilMs : null;
}
