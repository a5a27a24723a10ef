import type { DirectoryCommand, Precondition } from "../model/command.ts";
import { LIMITS } from "../model/limits.ts";
import { DEFAULT_POOL, type PoolName, type RouteId } from "../model/names.ts";
import { parse } from "../model/parse.ts";
import { type FieldError, invalid, type Refusal } from "../model/refusal.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import { poolsOf, type Route, type RouteInput, RouteInputSchema, type RoutePatch } from "../model/route.ts";
import { diff } from "./diff.ts";
import type { DirectoryState } from "./directory-state.ts";
import { checkPrecondition } from "./precondition.ts";
import type { Transition } from "./ring-command.ts";
import { isTie } from "./route-conflict.ts";

/** Applies one command to the directory. The version grows by one if anything changed, and not at all if nothing did. */
export function applyDirectoryCommand(
  state: DirectoryState,
  command: DirectoryCommand,
  precondition: Precondition,
): Result<Transition<DirectoryState>> {
  const blocked = checkPrecondition(precondition, {
    exists: targetExists(state, command),
    hasHolder: true,
    version: state.version,
  });
  if (blocked !== null) return refuse(blocked);
  const next = change(state, command);
  if (!next.ok) return next;
  const { state: changed, applied } = conclude(state, next.value);
  // All routes together were there before, even if there was none.
  return ok({
    state: changed,
    applied: command.kind === "put-routes" ? { ...applied, created: false } : applied,
  });
}

function targetExists(state: DirectoryState, command: DirectoryCommand): boolean {
  if (command.kind === "put-routes") return true;
  return "name" in command
    ? state.pools.includes(command.name)
    : state.routes.some((route) => route.id === command.id);
}

type Body = Pick<DirectoryState, "pools" | "routes">;

function change(state: DirectoryState, command: DirectoryCommand): Result<Body> {
  switch (command.kind) {
    case "put-route":
      return putRoute(state, command.id, command.route);
    case "patch-route":
      return patchRoute(state, command.id, command.patch);
    case "remove-route":
      return state.routes.some((route) => route.id === command.id)
        ? ok({ pools: state.pools, routes: state.routes.filter((route) => route.id !== command.id) })
        : refuse(noRoute(command.id));
    case "put-routes":
      return putRoutes(state, command.routes, command.pools);
    case "add-pool":
      return listPools(state, [command.name]);
    case "remove-pool":
      return removePool(state, command.name);
  }
}

function listPools(state: DirectoryState, names: readonly PoolName[]): Result<Body> {
  const pools = [...new Set([...state.pools, ...names])];
  return pools.length <= LIMITS.pools
    ? ok({ pools, routes: state.routes })
    : refuse(invalid("pools", pools.length, `must be a list of at most ${LIMITS.pools}`));
}

/** All routes at once, each held against those before it, so that nothing that is refused one by one passes together. */
function putRoutes(
  state: DirectoryState,
  routes: readonly Route[],
  pools: readonly PoolName[],
): Result<Body> {
  const listed = listPools(state, pools);
  if (!listed.ok) return listed;
  let made: Body = { pools: listed.value.pools, routes: [] };
  for (const [index, { id, ...input }] of routes.entries()) {
    if (made.routes.some((other) => other.id === id))
      return refuse(invalid(`routes.${index}.id`, id, "must be unique in the list"));
    const next = putRoute({ ...state, ...made }, id, input);
    if (!next.ok) return refuse(within(`routes.${index}.`, next.refusal));
    made = next.value;
  }
  return ok(made);
}

/** A refusal with its fields named from further outside. */
function within(prefix: string, refusal: Refusal): Refusal {
  if (refusal.kind !== "invalid") return refusal;
  const [first, ...rest] = refusal.errors;
  const named = (error: FieldError): FieldError => ({ ...error, field: prefix + error.field });
  return { ...refusal, errors: [named(first), ...rest.map(named)] };
}

function putRoute(state: DirectoryState, id: RouteId, input: RouteInput): Result<Body> {
  const route: Route = { id, ...input };
  const lost = findLostPool(state, route);
  if (lost !== null) return refuse(lost);
  const tied = state.routes.find((other) => other.id !== id && isTie(other, route));
  if (tied !== undefined) {
    return refuse({
      kind: "conflict",
      detail: `route ${id} and route ${tied.id} would match the same requests, neither more specific than the other`,
    });
  }
  const isKnown = state.routes.some((other) => other.id === id);
  if (!isKnown && state.routes.length >= LIMITS.routes) {
    return refuse(invalid("routes", state.routes.length + 1, `must be a list of at most ${LIMITS.routes}`));
  }
  const routes = isKnown
    ? state.routes.map((other) => (other.id === id ? route : other))
    : [...state.routes, route];
  return ok({ pools: state.pools, routes });
}

/** A pool that a route leads to and that does not exist; null: there is none. */
function findLostPool(state: DirectoryState, route: Route): Refusal | null {
  const pools = new Set([DEFAULT_POOL, ...state.pools]);
  const named = poolsOf(route);
  const index = named.findIndex((pool) => !pools.has(pool));
  if (index === -1) return null;
  const field = route.split === undefined ? "pool" : `split.${index}.pool`;
  return invalid(field, named[index], `must be an existing pool: ${[...pools].join(", ")}`);
}

function patchRoute(state: DirectoryState, id: RouteId, patch: RoutePatch): Result<Body> {
  const held = state.routes.find((route) => route.id === id);
  if (held === undefined) return refuse(noRoute(id));
  const { id: _, ...input } = held;
  const given = Object.entries(patch).filter(([, value]) => value !== undefined);
  const merged: Record<string, unknown> = { ...input, ...Object.fromEntries(given) };
  const kept = Object.entries(merged).filter(([, value]) => value !== null);
  const route = parse(RouteInputSchema, Object.fromEntries(kept));
  return route.ok ? putRoute(state, id, route.value) : route;
}

function removePool(state: DirectoryState, name: DirectoryState["pools"][number]): Result<Body> {
  const users = state.routes.filter((route) => poolsOf(route).includes(name)).map((route) => route.id);
  if (users.length > 0) {
    return refuse({
      kind: "conflict",
      detail: `pool ${name} is used by routes ${users.join(", ")}; remove them first`,
    });
  }
  return ok({ pools: state.pools.filter((pool) => pool !== name), routes: state.routes });
}

function noRoute(id: RouteId): Refusal {
  return { kind: "not-found", detail: `there is no route ${id}` };
}

function conclude(state: DirectoryState, body: Body): Transition<DirectoryState> {
  const changes = diff({ pools: state.pools, routes: state.routes }, body);
  if (changes.length === 0) return { state, applied: { version: state.version, created: false, changes } };
  const next = { ...state, ...body, version: state.version + 1 };
  const created = next.routes.length > state.routes.length || next.pools.length > state.pools.length;
  return { state: next, applied: { version: next.version, created, changes } };
}
