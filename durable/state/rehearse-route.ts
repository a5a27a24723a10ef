import type { DirectoryChange, DirectoryCommand } from "../model/command.ts";
import type { RouteRehearsal } from "../model/preview.ts";
import { ok, type Result } from "../model/result.ts";
import type { Route } from "../model/route.ts";
import { applyDirectoryCommand } from "./directory-command.ts";
import type { DirectoryState } from "./directory-state.ts";

/** Carries a change of the directory out on paper. */
export function rehearseRoute(
  state: DirectoryState,
  { command, precondition }: Omit<DirectoryChange, "author">,
): Result<RouteRehearsal> {
  const next = applyDirectoryCommand(state, command, precondition);
  if (!next.ok) return next;
  return ok({
    basedOn: state.version,
    applied: next.value.applied,
    before: routeOf(state, command),
    after: routeOf(next.value.state, command),
  });
}

function routeOf({ routes }: DirectoryState, command: DirectoryCommand): Route | null {
  return "id" in command ? (routes.find(({ id }) => id === command.id) ?? null) : null;
}
