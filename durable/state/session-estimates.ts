import type { BackendId } from "../model/names.ts";
import { Sketch } from "../model/sketch.ts";
import type { Report } from "../model/sync.ts";
import { type EpochMs, epochMs, later } from "../model/time.ts";
import type { EstimatedSessions } from "../model/view.ts";
import type { LiveRing } from "./ring-state.ts";

/** The window is this many slices of time long, of which the last is not over yet; the oldest is forgotten as a whole. */
const SLICES = 6;

/** Whoever has not come for so long is taken to have gone, milliseconds. */
const WINDOW_MS = 3_600_000;

/** Sketches by the number of their slice, counted from the epoch. */
type Slices = Map<number, Sketch>;

/**
 * How many sessions each backend of a pool has: those that came to it within the last hour, or within the lifetime of a
 * token if that is shorter, whichever isolates they came to. At most 3 MB for 1000 backends. It lives in memory: a restart
 * of the object begins it anew, and so does another length of the window.
 */
export class SessionEstimates {
  #backends: ReadonlyMap<BackendId, Slices> = new Map();
  #sliceMs = Number.POSITIVE_INFINITY;
  #sinceMs: EpochMs = epochMs(0);

  /** Goes by this state of the pool from now on; null: there is no pool. */
  adopt(ring: LiveRing | null, nowMs: EpochMs): void {
    const sliceMs =
      ring === null ? Number.POSITIVE_INFINITY : Math.min(WINDOW_MS, ring.config.tokens.lifetimeMs) / SLICES;
    if (sliceMs !== this.#sliceMs) {
      this.#backends = new Map();
      this.#sliceMs = sliceMs;
      this.#sinceMs = nowMs;
    }
    this.#backends = new Map(
      ring?.backends.map(({ id }) => [id, this.#backends.get(id) ?? new Map<number, Sketch>()]),
    );
  }

  /** Adds a report that has just come. One that comes twice makes no difference but to when its sessions are forgotten. */
  add(report: Report, nowMs: EpochMs): void {
    for (const { id, sessionSketch } of report.backends) {
      const slices = this.#backends.get(id);
      const sketch = sessionSketch === undefined ? null : Sketch.parse(sessionSketch);
      if (slices === undefined || sketch === null) continue;
      const number = this.#sliceAt(nowMs);
      slices.set(number, sketch.merge(slices.get(number) ?? new Sketch()));
      for (const old of slices.keys()) if (old < this.#oldestAt(nowMs)) slices.delete(old);
    }
  }

  /** The sessions of a backend, and since when they were looked for. */
  of(backend: BackendId, nowMs: EpochMs): EstimatedSessions {
    const oldest = this.#oldestAt(nowMs);
    const seen = new Sketch();
    for (const [number, sketch] of this.#backends.get(backend) ?? [])
      if (number >= oldest) seen.merge(sketch);
    return { count: seen.estimate(), sinceMs: later(this.#sinceMs, epochMs(oldest * this.#sliceMs)) };
  }

  #sliceAt(nowMs: EpochMs): number {
    return Math.floor(nowMs / this.#sliceMs);
  }

  /** The number of the oldest slice that counts. */
  #oldestAt(nowMs: EpochMs): number {
    return this.#sliceAt(nowMs) - SLICES + 1;
  }
}
