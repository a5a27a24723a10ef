import type { Occurrence } from "../model/event.ts";
import type { EpochMs } from "../model/time.ts";
import type { HeldBackend, RingState } from "./ring-state.ts";

/** What time or an operator has ended between two states of a pool: ejections, and words that backends said of themselves. */
export function returnEvents(
  before: RingState,
  after: RingState,
  cause: "operator" | "time",
  nowMs: EpochMs,
): readonly Occurrence[] {
  if (before.kind === "absent" || after.kind === "absent") return [];
  const held = new Map(before.backends.map((backend) => [backend.id, backend]));
  return after.backends.flatMap((backend) => {
    const earlier = held.get(backend.id);
    return earlier === undefined ? [] : ended(earlier, backend, cause, nowMs);
  });
}

function ended(
  before: HeldBackend,
  after: HeldBackend,
  cause: "operator" | "time",
  nowMs: EpochMs,
): readonly Occurrence[] {
  const { passive, announced } = before.observed;
  const seen = { atMs: nowMs, backend: before.id, cause };
  const returned: readonly Occurrence[] =
    passive.kind === "ejected" && after.observed.passive.kind !== "ejected"
      ? [
          {
            ...seen,
            kind: "returned",
            evidence: { ejectedBy: passive.cause, outMs: nowMs - passive.sinceMs },
          },
        ]
      : [];
  const unsaid: readonly Occurrence[] =
    announced !== null && after.observed.announced === null
      ? [{ ...seen, kind: "healthy", evidence: { announced: announced.word, untilMs: announced.untilMs } }]
      : [];
  return [...returned, ...unsaid];
}
