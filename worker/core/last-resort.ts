import type { Snapshot, SnapshotBackend } from "../../durable/model/snapshot.ts";
import type { Choosing } from "./choice.ts";
import { isInSubset } from "./subset.ts";

/**
 * Who may be tried at last, where everybody who is well has failed a request: backends that are out for their health alone,
 * as one of them may be up again before a probe has found that out. Nobody, where the pool never ignores health.
 */
export function lastResorts(
  { backends, config }: Pick<Snapshot, "backends" | "config">,
  { tried, subset }: Pick<Choosing, "tried" | "subset">,
): readonly SnapshotBackend[] {
  if (config.tiers.panicThresholdPercent === 0) return [];
  const all = backends.filter(({ id, isLastResort }) => isLastResort && !tried.has(id));
  if (subset === null) return all;
  const { label, value, fallback } = subset;
  const within = value === null ? [] : all.filter((backend) => isInSubset(backend, label, value));
  return within.length === 0 && fallback === "any" ? all : within;
}
