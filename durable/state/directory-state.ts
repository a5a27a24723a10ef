import type { PoolName } from "../model/names.ts";
import type { Route } from "../model/route.ts";
import type { RoutingTable } from "../model/snapshot.ts";

/** The directory's truth. */
export interface DirectoryState {
  readonly incarnation: string;
  readonly version: number;
  /** Names this deployment to other proxies: `ringmaster-` and 8 hexadecimal digits. */
  readonly deployment: string;
  /** In the order they were made. */
  readonly pools: readonly PoolName[];
  readonly routes: readonly Route[];
}

/** A directory nobody has written to yet. Version 1, because isolates hold it under a lease like any other. */
export function newDirectory(incarnation: string): DirectoryState {
  const deployment = `ringmaster-${incarnation.replaceAll("-", "").slice(0, 8)}`;
  return { incarnation, version: 1, deployment, pools: [], routes: [] };
}

/** The view of the directory that isolates route from. */
export function projectTable(state: DirectoryState): RoutingTable {
  return {
    incarnation: state.incarnation,
    version: state.version,
    deployment: state.deployment,
    routes: state.routes,
  };
}
