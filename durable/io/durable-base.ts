import { createDurable } from "itty-durable/itty-durable.js";
import { LIMITS } from "../model/limits.ts";

/** The part of itty-durable's class that is used here; its published types say `any` or nothing. */
interface IttyDurable {
  readonly state: {
    readonly storage: DurableObjectStorage;
    defaultState: string | undefined;
    blockConcurrencyWhile<Value>(callback: () => Promise<Value>): Promise<Value>;
  };
  fetch(request: Request): Promise<Response>;
  getPersistable(): object;
  loadFromStorage(): Promise<void>;
  onLoad(): Promise<void>;
}

// The cast gives the class the shape it has when it runs; see the interface above.
const Itty = createDurable({ onError: (error: unknown) => internalError(error) }) as unknown as new (
  state: DurableObjectState,
  env: unknown,
) => IttyDurable;

/**
 * Largest body of a call. Larger than an admin request may be, because the command made of one outgrows it: defaults are
 * filled in, and a character of a URL's path may become nine (`%E7%92%B0`), of three bytes.
 */
const MAX_CALL_BYTES = 4 * LIMITS.bodyBytes;

const CALL = /^\/do\/call\/([A-Za-z]+)$/;

type Write = (argument: unknown, gone: AbortSignal) => Promise<unknown>;

/** Names the methods that may be called from outside, by how their arguments travel. */
export interface Callable {
  /** `GET`, no arguments: through itty-durable's own router. */
  readonly reads: readonly string[];
  /**
   * `POST` with one JSON argument in the body, which unlike itty's header may be large. The method is also given a signal
   * that its caller has left.
   */
  readonly writes: readonly string[];
}

/**
 * The safe ground on itty-durable that both Durable Objects stand on.
 *
 * - State is loaded once, before anything else runs: bare, an alarm after an eviction runs on defaults and two first
 *   calls both load.
 * - Only the named methods can be called through the stub's URL. Bare, whoever reaches the stub can set any property,
 *   `__proto__` included, and call any method, `destroy` included.
 * - Nothing is persisted by itself. Subclasses write what they have to say and then replace their memory.
 */
export abstract class DurableBase extends Itty {
  protected abstract readonly callable: Callable;

  /** What `wrangler.toml` and the secrets bind. Nothing of it is ever persisted, answered or named in an error. */
  declare protected readonly environment: Readonly<Record<string, unknown>>;

  constructor(state: DurableObjectState, environment: Readonly<Record<string, unknown>>) {
    // Without the environment: itty-durable copies each binding onto its state, and one named `storage` would break it.
    super(state, {});
    // Not enumerable: itty-durable takes every enumerable property of this for something to persist, and asks bindings for
    // their `toJSON`, which on a service binding is a call. No getter over a private field: its proxy would not find that.
    Object.defineProperty(this, "environment", { value: environment });
    void this.state.blockConcurrencyWhile(async () => {
      this.state.defaultState = JSON.stringify(this.getPersistable());
      await this.loadFromStorage();
    });
  }

  /** Reads the truth from storage into memory. Runs once, and nothing else runs meanwhile. */
  protected abstract load(storage: DurableObjectStorage): Promise<void>;

  /** What the worker's environment binds to a name: a secret, or something to fetch through; undefined: nothing. */
  protected binding(name: string): unknown {
    return Object.hasOwn(this.environment, name) ? this.environment[name] : undefined;
  }

  /** Called by itty-durable when it loads, which the constructor sees to. */
  override async onLoad(): Promise<void> {
    await this.load(this.state.storage);
  }

  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const method = url.host === "itty-durable" ? CALL.exec(url.pathname)?.[1] : undefined;
    if (method !== undefined && request.method === "GET" && this.callable.reads.includes(method)) {
      return (request.headers.get("do-content") ?? "[]") === "[]"
        ? super.fetch(request)
        : refusal(403, `${method} takes no arguments`);
    }
    if (method !== undefined && request.method === "POST" && this.callable.writes.includes(method)) {
      return this.#write(method, request);
    }
    return refusal(403, "not a method of this object");
  }

  async #write(method: string, request: Request): Promise<Response> {
    const body = await request.arrayBuffer();
    if (body.byteLength > MAX_CALL_BYTES)
      return refusal(413, `a call's body must be at most ${MAX_CALL_BYTES} bytes`);
    try {
      // The name was held against `callable.writes`, so this is one of the subclass's own async methods.
      const call = (this as unknown as Record<string, Write>)[method];
      return call === undefined
        ? refusal(403, "not a method of this object")
        : Response.json(await call.call(this, JSON.parse(new TextDecoder().decode(body)), request.signal));
    } catch (error) {
      return internalError(error);
    }
  }
}

function refusal(status: number, error: string): Response {
  return Response.json({ status, error }, { status });
}

/** A bug, or storage that failed: logged here in full, told to the caller without a stack. */
function internalError(error: unknown): Response {
  console.error(error);
  return refusal(500, error instanceof Error ? error.message : String(error));
}
