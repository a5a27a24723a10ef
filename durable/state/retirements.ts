import type { EpochMs } from "../model/time.ts";

/** Steps remembered; older ones are merged, which can only make the answer later than the truth. */
const MAX_STEPS = 64;

interface Step {
  readonly version: number;
  readonly atMs: EpochMs;
}

/** When versions fell out of use, one isolate after the other: what tells since when a version governs. */
export class Retirements {
  /** By rising version and rising time: whatever is older and fell out of use no later is covered by the next. */
  #steps: readonly Step[] = [];

  /** An isolate could use `version` until `atMs`, and no longer. */
  add(version: number, atMs: EpochMs): void {
    if (this.#steps.some((step) => step.version <= version && step.atMs >= atMs)) return;
    const kept = this.#steps.filter((step) => step.version < version || step.atMs > atMs);
    const steps = [...kept, { version, atMs }].toSorted((a, b) => a.version - b.version);
    const [oldest, second, ...rest] = steps;
    this.#steps =
      steps.length <= MAX_STEPS || oldest === undefined || second === undefined
        ? steps
        : [{ version: oldest.version, atMs: second.atMs }, ...rest];
  }

  /** When the last of what is older than `version` fell out of use; null: nothing older ever did. */
  lastBeforeMs(version: number): EpochMs | null {
    return this.#steps.findLast((step) => step.version < version)?.atMs ?? null;
  }
}
