import type { Change } from "../model/command.ts";

/**
 * The differences between two plain documents, by path. Objects are compared field by field, lists of objects with an
 * `id` by that id and their order, everything else as a whole.
 */
export function diff(before: unknown, after: unknown, path = ""): readonly Change[] {
  const from = fields(before);
  const to = fields(after);
  if (from === null || to === null) {
    return JSON.stringify(before) === JSON.stringify(after)
      ? []
      : [{ path, before: before ?? null, after: after ?? null }];
  }
  const names = new Set([...from.keys(), ...to.keys()]);
  const changes = [...names].flatMap((name) =>
    diff(from.get(name), to.get(name), path === "" ? name : `${path}.${name}`),
  );
  if (!isReordered(before, after)) return changes;
  return [...changes, { path, before: [...from.keys()], after: [...to.keys()] }];
}

/** Whether two lists hold the same ids in another order. */
function isReordered(before: unknown, after: unknown): boolean {
  if (!Array.isArray(before) || !Array.isArray(after) || before.length !== after.length) return false;
  const was = before.filter(hasId).map(({ id }) => id);
  const is = after.filter(hasId).map(({ id }) => id);
  const known = new Set(was);
  return is.some((id, index) => id !== was[index]) && is.every((id) => known.has(id));
}

function fields(value: unknown): ReadonlyMap<string, unknown> | null {
  if (Array.isArray(value)) {
    return value.every(hasId) ? new Map(value.map(({ id, ...rest }) => [id, rest])) : null;
  }
  return typeof value === "object" && value !== null ? new Map(Object.entries(value)) : null;
}

function hasId(value: unknown): value is { readonly id: string } {
  return typeof value === "object" && value !== null && "id" in value && typeof value.id === "string";
}
