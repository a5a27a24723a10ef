/** A point in time: milliseconds since the Unix epoch, by the clock of whoever made it. */
export type EpochMs = number & { readonly __brand: "EpochMs" };

/** Names a number of milliseconds since the epoch as a point in time. */
export function epochMs(value: number): EpochMs {
  return value as EpochMs;
}

/** The point in time `durationMs` later (earlier when negative). */
export function after(time: EpochMs, durationMs: number): EpochMs {
  return epochMs(time + durationMs);
}

/** The later of two points in time. */
export function later(a: EpochMs, b: EpochMs): EpochMs {
  return a > b ? a : b;
}

/** The earliest of some points in time; null: there is none. */
export function earliest(times: readonly (EpochMs | null)[]): EpochMs | null {
  return times.reduce(
    (first, time) => (first === null || (time !== null && time < first) ? time : first),
    null,
  );
}
