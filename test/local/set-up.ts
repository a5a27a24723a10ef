import type { AdminClient } from "../support/admin.ts";
import type { NamedBackend } from "./options.ts";
import { SAMPLE_IDS, SPARE_ID } from "./samples.ts";

/** Isolates ask for changes this often here, milliseconds, so that whoever tries things out need not wait 5 s. */
export const LOCAL_REFRESH_MS = 500;

const STICKY_ROUTE = {
  path: "/sticky",
  rewritePath: "/",
  pool: "default",
  affinity: [{ by: "connection" }],
};

const SESSION_ROUTE = {
  path: "/session",
  rewritePath: "/",
  pool: "default",
  affinity: [{ by: "token" }, { by: "connection" }],
};

/** Over plain HTTP a client sends back no cookie that is marked as secure. */
const PLAIN_COOKIE = { name: "ring-default", secure: false };

/** The pool as it is once it is set up. */
export interface LocalPool {
  /** An earlier run made it. */
  readonly isKept: boolean;
  readonly backends: readonly { readonly id: string; readonly url: string; readonly weight: number }[];
}

/**
 * Makes the pool `default` and its routes through the admin API. A pool that an earlier run left is kept, and the
 * routes with it: only the backends of this run are put right, and samples that no longer run are taken out.
 */
export async function setUp(
  admin: AdminClient,
  backends: readonly NamedBackend[],
  spareUrl: string,
): Promise<LocalPool> {
  const { pools } = (await admin.do("GET", "/pools")).body as { readonly pools: readonly string[] };
  const isKept = pools.includes("default");
  if (isKept) await putRight(admin, backends, spareUrl);
  else await make(admin, backends);
  return { isKept, backends: await held(admin) };
}

async function make(admin: AdminClient, backends: readonly NamedBackend[]): Promise<void> {
  await admin.do("PUT", "/routes/sticky", STICKY_ROUTE);
  await admin.do("PUT", "/routes/session", SESSION_ROUTE);
  await admin.do("PUT", "/routes/everything", { path: "/", pool: "default" });
  await admin.do("PUT", "/pools/default", {
    sync: { refreshMs: LOCAL_REFRESH_MS },
    tokens: { cookie: PLAIN_COOKIE },
    backends: backends.map(({ id, url, weight }) => ({ id, url, weight: weight ?? 1 })),
  });
}

async function putRight(
  admin: AdminClient,
  backends: readonly NamedBackend[],
  spareUrl: string,
): Promise<void> {
  const ids = new Set((await held(admin)).map(({ id }) => id));
  for (const { id, url, weight } of backends) {
    const fields = { url, ...(weight === null ? {} : { weight }) };
    await admin.do(ids.has(id) ? "PATCH" : "PUT", `/pools/default/backends/${id}`, fields);
  }
  if (ids.has(SPARE_ID)) await admin.do("PATCH", `/pools/default/backends/${SPARE_ID}`, { url: spareUrl });
  const running = new Set(backends.map(({ id }) => id));
  for (const id of SAMPLE_IDS) {
    if (ids.has(id) && !running.has(id)) await admin.do("DELETE", `/pools/default/backends/${id}`);
  }
}

async function held(admin: AdminClient): Promise<LocalPool["backends"]> {
  const { body } = await admin.do("GET", "/pools/default/backends");
  return (body as Pick<LocalPool, "backends">).backends;
}
