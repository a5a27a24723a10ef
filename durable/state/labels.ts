import type { BackendId, PoolName } from "../model/names.ts";
import type { Labelled } from "../model/receipt.ts";
import type { Refusal } from "../model/refusal.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";

/** The backends of a pool that have a label of exactly this value; refused where there is none, since that is a slip. */
export function withLabel(
  { pool, backends }: LiveRing,
  { label, value }: Labelled,
): Result<readonly HeldBackend[]> {
  const found = backends.filter(({ labels }) => hasLabel(labels, label, value));
  return found.length > 0 ? ok(found) : refuse(nobodyHas(pool, { label, value }));
}

/**
 * Those that have a label, and those that had it when their drain began, when they were closed, or when they were removed
 * lately; refused where there is none.
 */
export function everWithLabel(
  { pool, backends, stops }: LiveRing,
  { label, value }: Labelled,
): Result<readonly BackendId[]> {
  const have = backends.filter(({ labels }) => hasLabel(labels, label, value));
  const had = stops.leaving.filter(
    ({ labels, lastLabels }) => hasLabel(labels, label, value) || hasLabel(lastLabels, label, value),
  );
  const found = new Set([...have, ...had].map(({ id }) => id));
  return found.size > 0 ? ok([...found]) : refuse(nobodyHas(pool, { label, value }));
}

function nobodyHas(pool: PoolName, { label, value }: Labelled): Refusal {
  return { kind: "not-found", detail: `pool ${pool} has no backend whose label ${label} is ${value}` };
}

function hasLabel(labels: Readonly<Record<string, string>>, label: string, value: string): boolean {
  return Object.hasOwn(labels, label) && labels[label] === value;
}
