import type { Labelled } from "../model/receipt.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";

/** The backends of a pool that have a label of exactly this value; refused where there is none, since that is a slip. */
export function withLabel(
  { pool, backends }: LiveRing,
  { label, value }: Labelled,
): Result<readonly HeldBackend[]> {
  const found = backends.filter(({ labels }) => hasLabel(labels, label, value));
  return found.length > 0
    ? ok(found)
    : refuse({ kind: "not-found", detail: `pool ${pool} has no backend whose label ${label} is ${value}` });
}

function hasLabel(labels: Readonly<Record<string, string>>, label: string, value: string): boolean {
  return Object.hasOwn(labels, label) && labels[label] === value;
}
