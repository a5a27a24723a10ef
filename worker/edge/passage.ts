import type { Target } from "../core/target.ts";
import type { Env } from "../env.ts";
import type { Isolate } from "./isolate.ts";

/** One request on its way through. */
export interface Passage {
  readonly request: Request;
  /** The request's URL, taken apart once: the runtime makes a new string of it each time. */
  readonly target: Target;
  readonly env: Env;
  readonly context: ExecutionContext;
  readonly isolate: Isolate;
}
