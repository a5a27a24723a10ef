import type { Occurrence } from "../model/event.ts";
import type { EpochMs } from "../model/time.ts";
import type { RingState } from "./ring-state.ts";

/**
 * The pins that were set, changed or ended between two states of a pool. That of a backend which came or went with it is
 * no event, nor are those of a pool that did.
 */
export function pinEvents(
  before: RingState,
  after: RingState,
  cause: "operator" | "time",
  nowMs: EpochMs,
): readonly Occurrence[] {
  if (before.kind === "absent" || after.kind === "absent") return [];
  const pins = new Map(before.backends.map(({ id, pin }) => [id, pin]));
  return after.backends.flatMap(({ id, pin }): readonly Occurrence[] => {
    const held = pins.get(id);
    if (held === undefined || held === pin) return [];
    const [kind, said] = pin === null ? (["unpinned", held] as const) : (["pinned", pin] as const);
    if (said === null) return [];
    const { health, reason, untilMs } = said;
    return [{ atMs: nowMs, backend: id, kind, cause, evidence: { health, reason, untilMs } }];
  });
}
