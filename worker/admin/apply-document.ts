import type { Context } from "hono";
import type { Applied, Precondition } from "../../durable/model/command.ts";
import type { DirectoryDocument } from "../../durable/model/document.ts";
import type { PoolName } from "../../durable/model/names.ts";
import { ok, type Result } from "../../durable/model/result.ts";
import type { DirectoryView } from "../../durable/model/view.ts";
import { ObjectUnavailable } from "../core/object-unavailable.ts";
import { refused, unavailable } from "./answer.ts";
import { changeDirectory, changePool, isThere } from "./change.ts";
import type { AdminContext } from "./context.ts";
import { directoryOf } from "./routes.ts";
import { convergenceOf, type Publisher } from "./wait.ts";

/** What a document is to be applied to, as it was when it was checked. */
export interface Base {
  readonly directory: DirectoryView;
  readonly areRoutesNew: boolean;
  readonly pools: readonly {
    readonly name: PoolName;
    /** Under which it is changed; null: it is so already. */
    readonly precondition: Precondition | null;
  }[];
  /** Pools that are not in the document. `version` null: listed, but not there. */
  readonly removed: readonly { readonly name: PoolName; readonly version: number | null }[];
}

/** One change, all or nothing. */
interface Step {
  /** For people: `pool shop`. */
  readonly name: string;
  /** The object that publishes what is changed. */
  readonly publisher: Publisher;
  run(): Promise<Result<Applied>>;
}

/**
 * What has to be done, in an order in which no route ever leads to a pool that is not there: pools that are new or changed,
 * the routes, pools that go.
 */
export function createSteps(
  context: Context<AdminContext>,
  sent: DirectoryDocument,
  base: Base,
): readonly Step[] {
  const listing = new Listing(context, base.directory);
  const ring = (name: PoolName): Publisher => ({ namespace: context.env.RING, name });
  const documents = new Map(sent.pools.map(({ name, document }) => [name, document]));
  const puts = base.pools.flatMap(({ name, precondition }): readonly Step[] => {
    const document = documents.get(name);
    if (document === undefined || (precondition === null && listing.has(name))) return [];
    const put = (): Promise<Result<Applied>> | null =>
      precondition === null
        ? null
        : changePool(context, name, { kind: "put-pool", document }, ok(precondition));
    return [{ name: `pool ${name}`, publisher: ring(name), run: () => putListed(listing, name, put) }];
  });
  const routes: readonly Step[] = base.areRoutesNew
    ? [{ name: "routes", publisher: directoryOf(context), run: () => listing.putRoutes(sent.routes) }]
    : [];
  const removals = base.removed.map(({ name, version }): Step => {
    const precondition = ok({ ifMatch: version === null ? null : [version], ifAbsent: false });
    const remove = (): Promise<Result<Applied>> | null =>
      version === null ? null : changePool(context, name, { kind: "delete-pool" }, precondition);
    return {
      name: `removal of pool ${name}`,
      publisher: ring(name),
      run: () => removeListed(listing, name, remove),
    };
  });
  return [...puts, ...routes, ...removals];
}

/** Puts a pool, which has to be listed first: the directory knows how many there may be. One listed in vain is taken off. */
async function putListed(
  listing: Listing,
  name: PoolName,
  put: () => Promise<Result<Applied>> | null,
): Promise<Result<Applied>> {
  const listed = listing.has(name) ? null : await listing.add(name);
  if (listed?.ok === false) return listed;
  const applied = await put();
  if (applied === null) return listed ?? listing.add(name);
  if (!applied.ok && listed !== null && !isThere(applied.refusal)) await listing.remove(name);
  return applied;
}

/** Deletes a pool, which has to be taken off the list first: the directory knows who uses it. One that stays is listed again. */
async function removeListed(
  listing: Listing,
  name: PoolName,
  remove: () => Promise<Result<Applied>> | null,
): Promise<Result<Applied>> {
  const unlisted = await listing.remove(name);
  if (!unlisted.ok) return unlisted;
  try {
    const removed = await remove();
    if (removed?.ok === false && isThere(removed.refusal)) await listing.add(name);
    return removed ?? unlisted;
  } catch (error) {
    // Whether it is gone is unknown: while it is listed, repeating the document removes it.
    await listing.add(name);
    throw error;
  }
}

/**
 * Takes one step after the other. Where one is refused, the answer says which were taken and which remain. Where the caller
 * waits, it comes when all of them govern everywhere, or with 202 when that takes longer.
 */
export async function applySteps(
  context: Context<AdminContext>,
  steps: readonly Step[],
  waitMs: number | null,
): Promise<Response> {
  const applied: (Applied & { readonly step: string })[] = [];
  for (const [index, step] of steps.entries()) {
    const progress = { applied, remaining: steps.slice(index).map(({ name }) => name) };
    try {
      const done = await step.run();
      if (!done.ok) return refused(context, done.refusal, progress);
      applied.push({ step: step.name, ...done.value });
    } catch (error) {
      if (!(error instanceof ObjectUnavailable)) throw error;
      console.error(error);
      return unavailable(context, progress);
    }
  }
  if (waitMs === null) return context.json({ applied, remaining: [] });
  const waited = await Promise.all(
    steps.map(async ({ publisher }, index) => {
      const change = applied[index];
      if (change === undefined) throw new Error("a step was not taken");
      const convergence = await convergenceOf(context, publisher, { version: change.version, waitMs });
      return { ...change, convergence };
    }),
  );
  const isGoverning = waited.every(({ convergence }) => convergence?.governsAtMs === null);
  return context.json({ applied: waited, remaining: [] }, isGoverning ? 200 : 202);
}

/** The directory as this document finds and changes it. Where anybody else changes it meanwhile, nothing more succeeds. */
class Listing {
  readonly #context: Context<AdminContext>;
  readonly #pools: ReadonlySet<PoolName>;
  #version: number;

  constructor(context: Context<AdminContext>, { pools, version }: DirectoryView) {
    this.#context = context;
    this.#pools = new Set(pools);
    this.#version = version;
  }

  /** Whether it was listed from the beginning. */
  has(name: PoolName): boolean {
    return this.#pools.has(name);
  }

  add(name: PoolName): Promise<Result<Applied>> {
    return this.#change({ kind: "add-pool", name });
  }

  remove(name: PoolName): Promise<Result<Applied>> {
    return this.#change({ kind: "remove-pool", name });
  }

  putRoutes(routes: DirectoryDocument["routes"]): Promise<Result<Applied>> {
    return this.#change({ kind: "put-routes", routes, pools: [] });
  }

  async #change(command: Parameters<typeof changeDirectory>[1]): Promise<Result<Applied>> {
    // What is being added is not there yet, so no version of it can be asked for; it does no harm.
    const precondition: Precondition = {
      ifMatch: command.kind === "add-pool" ? null : [this.#version],
      ifAbsent: false,
    };
    const applied = await changeDirectory(this.#context, command, precondition);
    // Of a version that is not the next one, somebody else made those between: then the old one goes on to be asked for.
    if (applied.ok && applied.value.version === this.#version + 1) this.#version = applied.value.version;
    return applied;
  }
}
