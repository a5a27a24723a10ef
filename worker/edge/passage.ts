import type { Env } from "../env.ts";
import type { Isolate } from "./isolate.ts";

/** One request on its way through. */
export interface Passage {
  readonly request: Request;
  /** The request's URL, read once: the runtime makes a new string each time. */
  readonly url: string;
  readonly env: Env;
  readonly context: ExecutionContext;
  readonly isolate: Isolate;
}
