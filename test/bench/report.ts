import type { Comparison } from "./compare.ts";
import type { Pair } from "./pairs.ts";
import { type Counted, sum } from "./ringmaster.ts";
import { intervalRanks, median, medianInterval } from "./stats.ts";

/** Below this share of a core a worker was not what limited the throughput. */
const BUSY_ENOUGH = 0.9;

/** Explains the ratios of so many pairs. */
export function renderMethod(pairs: number): string {
  const { lowRank, highRank, coverage } = intervalRanks(pairs);
  const shortfall =
    coverage < 0.95
      ? "; that is less than 95 %, for which it takes at least 6 pairs, and 15 to be of use"
      : "";
  return `Each ratio is variant ÷ floor, taken pair by pair: the median of ${pairs}, and in brackets the order statistics ${lowRank} and ${highRank}, which cover the true median with ${percent(coverage, 1)} probability${shortfall}.`;
}

/** One comparison as a table. */
export function renderComparison(title: string, { saturated, fixedRate }: Comparison): string {
  return [
    `${title.padEnd(38)}${"ratio".padEnd(24)}${"variant".padStart(14)}${"floor".padStart(14)}`,
    renderRow("throughput, higher is better", saturated, (run) => run.requestsPerSecond, "/s", 0),
    renderRow("p50", fixedRate, (run) => run.p50Ms, " ms", 2),
    renderRow("p99", fixedRate, (run) => run.p99Ms, " ms", 2),
    renderRow("CPU per request", saturated, (run) => run.cpuUs, " µs", 0),
    ...renderIdleWarning(saturated),
  ].join("\n");
}

/** What the ring says it counted meanwhile, as shares. */
export function renderCounted(counted: Counted): string {
  const total = sum(counted);
  const shares = [...counted].map(([id, count]) => `${id} ${percent(count / total, 2)}`);
  return `  the ring has counted ${total} requests: ${shares.join(", ")}`;
}

function renderRow<Run>(
  name: string,
  pairs: readonly Pair<Run>[],
  read: (run: Run) => number,
  unit: string,
  digits: number,
): string {
  const ratio = medianInterval(pairs.map(({ floor, variant }) => read(variant) / read(floor)));
  const raw = (side: keyof Pair<Run>): string =>
    `${median(pairs.map((pair) => read(pair[side]))).toFixed(digits)}${unit}`.padStart(14);
  const interval = `[${ratio.low.toFixed(3)}, ${ratio.high.toFixed(3)}]`;
  return `  ${name.padEnd(36)}${`${ratio.median.toFixed(3)}  ${interval}`.padEnd(24)}${raw("variant")}${raw("floor")}`;
}

/** A worker that waits, for a slow load generator or for a core that others use too, is not measured by its throughput. */
function renderIdleWarning(saturated: Comparison["saturated"]): readonly string[] {
  const busy = (side: keyof Pair<unknown>): number => median(saturated.map((pair) => pair[side].busyRatio));
  if (Math.min(busy("floor"), busy("variant")) >= BUSY_ENOUGH) return [];
  return [
    `  ! variant and floor used ${percent(busy("variant"), 0)} and ${percent(busy("floor"), 0)} of their core: trust CPU per request, not throughput`,
  ];
}

function percent(ratio: number, digits: number): string {
  return `${(ratio * 100).toFixed(digits)} %`;
}
