import type { Edge } from "./edge.ts";

/** The classes of objects, as `wrangler.toml` names them. */
export type ObjectClass = "Ring" | "Directory";

/**
 * What is the matter with the objects of a class. `throw`: every call throws. `hang`: none is answered. `status`: every call
 * is answered 503. `overloaded`: the platform turns every call away, which no object can make it do; so the stubs of the
 * instance that was told do. `evict`: with the next call an object loses its memory, once.
 */
export type Ailment = "throw" | "hang" | "status" | "overloaded" | "evict";

/** Where an instance is told what ails its objects. */
const FLAKY_PATH = "/_flaky";

/** A main module around the built worker, for each instance: its objects fail as they are told, and all else is real. */
export const FLAKY = `
import worker, { Directory as RealDirectory, Ring as RealRing } from "./index.js";

const NAMES = { RING: "Ring", DIRECTORY: "Directory" };
const ails = { Ring: null, Directory: null };
const calls = { Ring: 0, Directory: 0 };
let failAlarms = false;

function makeFlaky(name, Real) {
  return class extends Real {
    #ctx;
    constructor(ctx, env) {
      super(ctx, env);
      this.#ctx = ctx;
    }
    async fetch(request) {
      calls[name]++;
      switch (ails[name]) {
        case "throw":
          throw new Error("this object fails");
        case "hang":
          await scheduler.wait(600_000);
          throw new Error("this object hung");
        case "status":
          return new Response("this object answers like this", { status: 503 });
        case "evict":
          ails[name] = null;
          this.#ctx.abort("this object is evicted");
      }
      const reply = await super.fetch(request);
      return name === "Directory" && request.url.endsWith("/sync") ? shorten(reply) : reply;
    }
    async alarm(info) {
      if (failAlarms) throw new Error("this alarm fails");
      return super.alarm(info);
    }
  };
}

export const Ring = makeFlaky("Ring", RealRing);
export const Directory = makeFlaky("Directory", RealDirectory);

/** A directory's leases cannot be set; the sooner isolates let go of them, the more there is to see in a short time. */
async function shorten(reply) {
  const { value, ...rest } = await reply.json();
  return Response.json({ ...rest, value: { ...value, leaseMs: 1_000, nextSyncMs: 500 } });
}

/** A namespace whose stubs fail as the platform makes them when an object has too much to do. */
function overloadable(namespace, name) {
  const overloaded = async () => {
    calls[name]++;
    throw Object.assign(new Error("Durable Object is overloaded. Too many requests queued."), { overloaded: true });
  };
  const turnAway = (stub) => (ails[name] === "overloaded" ? { fetch: overloaded } : stub);
  return {
    getByName: (id) => turnAway(namespace.getByName(id)),
    idFromName: (id) => namespace.idFromName(id),
    get: (id) => turnAway(namespace.get(id)),
  };
}

export default {
  async fetch(request, env, context) {
    if (new URL(request.url).pathname === "${FLAKY_PATH}") {
      const told = await request.json();
      if ("fails" in told) failAlarms = told.fails;
      if ("name" in told) ails[told.name] = told.ailment;
      return Response.json(calls);
    }
    const bindings = Object.entries(NAMES).map(([binding, name]) => [binding, overloadable(env[binding], name)]);
    return worker.fetch(request, { ...env, ...Object.fromEntries(bindings) }, context);
  },
};
`;

/** Tells objects what ails them, and what they were asked meanwhile. Their edge was started `around: FLAKY`. */
export class Flaky {
  readonly #edge: Edge;

  constructor(edge: Edge) {
    this.#edge = edge;
  }

  /** From now on all objects of a class fail like this; null: they are well. */
  async strike(name: ObjectClass, ailment: Ailment | null): Promise<void> {
    await this.#tell({ name, ailment });
  }

  /** From now on no alarm succeeds, or all do. */
  async strikeAlarms(fails: boolean): Promise<void> {
    await this.#tell({ fails });
  }

  /** How often objects of a class were called so far, in vain or not. */
  async calls(name: ObjectClass): Promise<number> {
    const counts = await this.#tell({});
    return counts.reduce((sum, each) => sum + each[name], 0);
  }

  #tell(body: object): Promise<readonly Readonly<Record<ObjectClass, number>>[]> {
    const told = { method: "POST", body: JSON.stringify(body) };
    return Promise.all(
      this.#edge.urls.map(async (url) => {
        const response = await fetch(url + FLAKY_PATH, told);
        return (await response.json()) as Readonly<Record<ObjectClass, number>>;
      }),
    );
  }
}
