import type { PoolName } from "../model/names.ts";
import type { Route } from "../model/route.ts";
import type { RoutingTable } from "../model/snapshot.ts";

/** The directory's truth. */
export interface DirectoryState {
  readonly incarnation: string;
  readonly version: number;
  /** Names this deployment to other proxies: `ringmaster-` and 8 hexadecimal digits. */
  readonly deployment: string;
  /** 32 hexadecimal digits: the key of the hash that splits clients between pools. */
  readonly secret: string;
  /** In the order they were made. */
  readonly pools: readonly PoolName[];
  readonly routes: readonly Route[];
}

/** A directory nobody has written to yet. Version 1, because isolates hold it under a lease like any other. */
export function newDirectory(incarnation: string, secret: string): DirectoryState {
  const deployment = `ringmaster-${incarnation.replaceAll("-", "").slice(0, 8)}`;
  return { incarnation, version: 1, deployment, secret, pools: [], routes: [] };
}

/** A directory as any version of this code may have stored it; the secret is absent in what was stored before splits. */
export type StoredDirectory = Omit<DirectoryState, "routes" | "secret"> & { readonly secret?: string };

/** Gives a directory that was stored without a secret this one, in a version of its own. */
export function upgradeDirectory(
  head: StoredDirectory,
  routes: readonly Route[],
  secret: string,
): DirectoryState {
  return head.secret === undefined
    ? { ...head, version: head.version + 1, secret, routes }
    : { ...head, secret: head.secret, routes };
}

/** What operators can change of a directory. */
export function toDirectoryDocument({
  pools,
  routes,
}: DirectoryState): Pick<DirectoryState, "pools" | "routes"> {
  return { pools, routes };
}

/** The view of the directory that isolates route from. */
export function projectTable(state: DirectoryState): RoutingTable {
  return {
    incarnation: state.incarnation,
    version: state.version,
    deployment: state.deployment,
    secret: state.secret,
    routes: state.routes,
  };
}
