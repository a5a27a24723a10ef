import type { Target } from "../core/target.ts";
import type { Tracer } from "../core/tracer.ts";
import type { Env } from "../env.ts";
import type { Isolate } from "./isolate.ts";
import { TRACE_HEADER } from "./trace-signature.ts";

/** One request on its way through. */
export class Passage {
  readonly request: Request;
  /** The request's, asked for once: each asking goes into the runtime. */
  readonly headers: Headers;
  /** The request's URL, taken apart once: the runtime makes a new string of it each time. */
  readonly target: Target;
  readonly env: Env;
  readonly isolate: Isolate;
  /** By which it asks for a trace, and may not; null: it does not ask. */
  readonly traceHeader: string | null;
  /** Takes down how it is routed; null: nobody asks who may. */
  tracer: Tracer | null = null;
  readonly #context: ExecutionContext;
  #gone: AbortSignal | null = null;

  constructor(request: Request, target: Target, env: Env, context: ExecutionContext, isolate: Isolate) {
    this.request = request;
    this.headers = request.headers;
    this.target = target;
    this.env = env;
    this.isolate = isolate;
    this.traceHeader = this.headers.get(TRACE_HEADER);
    this.#context = context;
  }

  /**
   * Aborted when the client leaves. It costs 4 % of the throughput, so most requests never ask for it; and it has to be
   * asked for while the client is there, or it knows nothing of a departure.
   */
  get gone(): AbortSignal {
    this.#gone ??= this.request.signal;
    return this.#gone;
  }

  /** Whether the client is known to have left. */
  get isAbandoned(): boolean {
    return this.#gone?.aborted ?? false;
  }

  /**
   * Keeps the request alive until `work` is done. A request that nothing keeps ends with its client, and whatever it
   * waits for at a backend is aborted; one that is kept has to see for itself when the client leaves.
   */
  waitUntil(work: Promise<unknown>): void {
    void this.gone;
    this.#context.waitUntil(work);
  }
}
