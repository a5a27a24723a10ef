import { isDeepStrictEqual } from "node:util";
import type { AdminClient } from "../support/admin.ts";
import type { NamedBackend } from "./options.ts";
import { isSample, SAMPLE_IDS, SPARE_ID } from "./samples.ts";

/** Isolates ask for changes this often here, milliseconds, so that whoever tries things out need not wait 5 s. */
export const LOCAL_REFRESH_MS = 500;

/** Snapshots are good for this long here, milliseconds, so that a receipt need not wait 30 s for an isolate without requests. */
const LOCAL_LEASE_MS = 5_000;

/** The routes, by id. */
const ROUTES = {
  sticky: { path: "/sticky", rewritePath: "/", pool: "default", affinity: [{ by: "connection" }] },
  session: {
    path: "/session",
    rewritePath: "/",
    pool: "default",
    affinity: [{ by: "token" }, { by: "connection" }],
  },
  everything: { path: "/", pool: "default" },
} as const;

/** Id of a route that is there from the start. */
export type LocalRoute = keyof typeof ROUTES;

/** Over plain HTTP a client sends back no cookie that is marked as secure. */
const PLAIN_COOKIE = { name: "ring-default", secure: false };

interface HeldBackend {
  readonly id: string;
  readonly url: string;
  readonly weight: number;
}

/** The pool as an earlier run left it. */
export interface KeptPool {
  readonly backends: readonly HeldBackend[];
}

/** The pool as it is once it is set up. */
export interface LocalPool {
  readonly backends: readonly HeldBackend[];
  /** Routes that are as this set them up, and neither deleted nor changed. */
  readonly routes: readonly LocalRoute[];
}

/** What this run brings into the pool. */
export interface Brought {
  readonly own: readonly NamedBackend[];
  readonly samples: readonly { readonly id: string; readonly url: string }[];
  readonly spareUrl: string;
}

/** The pool `default` that an earlier run left; null: there is none. */
export async function findKept(admin: AdminClient): Promise<KeptPool | null> {
  const { pools } = (await admin.do("GET", "/pools")).body as { readonly pools: readonly string[] };
  return pools.includes("default") ? { backends: await held(admin) } : null;
}

/**
 * Ids of the samples to start: all of them for a new pool and for one without backends, else those that it still has.
 * None, where the command line names backends.
 */
export function samplesFor(own: readonly NamedBackend[], kept: KeptPool | null): readonly string[] {
  if (own.length > 0) return [];
  if (kept === null || kept.backends.length === 0) return SAMPLE_IDS;
  const left = new Set(kept.backends.filter(isSample).map(({ id }) => id));
  return SAMPLE_IDS.filter((id) => left.has(id));
}

/**
 * Makes the pool `default` and its routes through the admin API. A pool that an earlier run left is kept, and the
 * routes with it: only the backends of this run are put right, and samples that no longer run are taken out.
 */
export async function setUp(admin: AdminClient, kept: KeptPool | null, brought: Brought): Promise<LocalPool> {
  if (kept === null) await make(admin, brought);
  else await putRight(admin, kept, brought);
  return { backends: await held(admin), routes: await intactRoutes(admin) };
}

async function make(admin: AdminClient, { own, samples }: Brought): Promise<void> {
  for (const [id, route] of Object.entries(ROUTES)) await admin.do("PUT", `/routes/${id}`, route);
  await admin.do("PUT", "/pools/default", {
    sync: { refreshMs: LOCAL_REFRESH_MS, leaseMs: LOCAL_LEASE_MS },
    tokens: { cookie: PLAIN_COOKIE },
    backends: [...own.map(({ id, url, weight }) => ({ id, url, weight: weight ?? 1 })), ...samples],
  });
}

async function putRight(
  admin: AdminClient,
  kept: KeptPool,
  { own, samples, spareUrl }: Brought,
): Promise<void> {
  const ids = new Set(kept.backends.map(({ id }) => id));
  const put = async (
    id: string,
    fields: { readonly url: string; readonly weight?: number },
  ): Promise<void> => {
    await admin.do(ids.has(id) ? "PATCH" : "PUT", `/pools/default/backends/${id}`, fields);
  };
  for (const { id, url, weight } of own) await put(id, weight === null ? { url } : { url, weight });
  for (const { id, url } of samples) await put(id, { url });
  const running = new Set([...own, ...samples].map(({ id }) => id));
  for (const backend of kept.backends) {
    if (!isSample(backend) || running.has(backend.id)) continue;
    if (backend.id === SPARE_ID) await put(SPARE_ID, { url: spareUrl });
    else await admin.do("DELETE", `/pools/default/backends/${backend.id}`, { force: true });
  }
}

async function held(admin: AdminClient): Promise<readonly HeldBackend[]> {
  const { body } = await admin.do("GET", "/pools/default/backends");
  return (body as KeptPool).backends;
}

async function intactRoutes(admin: AdminClient): Promise<readonly LocalRoute[]> {
  const { routes } = (await admin.do("GET", "/routes")).body as { readonly routes: readonly unknown[] };
  return (Object.keys(ROUTES) as LocalRoute[]).filter((id) =>
    routes.some((route) => isDeepStrictEqual(route, { id, headers: [], ...ROUTES[id] })),
  );
}
