import type { EpochMs } from "../../durable/model/time.ts";
import type { Choosing } from "../core/choice.ts";
import type { PoolView } from "../core/pool-view.ts";
import type { Cause } from "../core/trace.ts";
import type { AttemptTracer } from "../core/tracer.ts";
import type { EdgePool } from "./edge-pool.ts";
import type { Passage } from "./passage.ts";

/** One choice of a backend: in which pool, from what, and what it hangs on. */
export interface Turn {
  readonly pool: EdgePool;
  readonly view: PoolView;
  readonly asked: Choosing;
  /** Takes it down; null: nobody asks. */
  readonly tracer: AttemptTracer | null;
}

/** Begins to take down a choice, if somebody asks for it. */
export function traceAttempt(
  { tracer }: Passage,
  { leased }: EdgePool,
  cause: Cause,
  nowMs: EpochMs,
): AttemptTracer | null {
  return tracer?.attempt(leased.freshness(nowMs), cause) ?? null;
}
