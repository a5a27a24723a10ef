import { type FixedRateRun, sendAtFixedRate } from "./fixed-rate.ts";
import type { Options } from "./options.ts";
import { measurePairs, type Pair } from "./pairs.ts";
import type { Processes } from "./processes.ts";
import type { Client } from "./requests.ts";
import { type SaturatedRun, saturate } from "./saturate.ts";
import type { RunningWorker } from "./workerd.ts";

/**
 * Saturation before anything counts, seconds: by then the code is compiled and the heap has grown. The optimizing compiler has
 * work for 10 s with Ringmaster and for none with the floor, and what it takes is not what a request costs.
 */
const WARM_UP_SECONDS = 12;

/** Traffic at the fixed rate before anything counts, seconds: by then the garbage of saturation is gone. */
const CALM_DOWN_SECONDS = 1;

/** All that was measured of one variant at one size of body. */
export interface Comparison {
  readonly saturated: readonly Pair<SaturatedRun>[];
  readonly fixedRate: readonly Pair<FixedRateRun>[];
}

/** What to compare, and how thoroughly. */
export interface Contest {
  readonly floor: RunningWorker;
  readonly variant: RunningWorker;
  readonly bodyBytes: number;
  readonly clients: readonly Client[];
  /** Path of the script for wrk. */
  readonly script: string;
  readonly options: Options;
}

/** Compares a variant with the floor, first under all the load they take, then at a rate both take with ease. */
export async function compare(
  processes: Processes,
  contest: Contest,
  onProgress: (line: string) => void,
): Promise<Comparison> {
  const { floor, variant, bodyBytes, clients, script, options } = contest;
  const { pairs, rate } = options;

  const press = (worker: RunningWorker, seconds: number): Promise<SaturatedRun> =>
    saturate(processes, { worker, script, bodyBytes, seconds });
  await press(floor, WARM_UP_SECONDS);
  await press(variant, WARM_UP_SECONDS);
  const saturated = await measurePairs(
    pairs,
    () => press(floor, options.seconds),
    () => press(variant, options.seconds),
    (pair, index) => onProgress(`saturated ${index + 1}/${pairs}: ${describe(pair, describeSaturated)}`),
  );

  const tick = (worker: RunningWorker, seconds: number): Promise<FixedRateRun> =>
    sendAtFixedRate({ worker, clients, bodyBytes, rate, seconds });
  await tick(floor, CALM_DOWN_SECONDS);
  await tick(variant, CALM_DOWN_SECONDS);
  const fixedRate = await measurePairs(
    pairs,
    () => tick(floor, options.seconds),
    () => tick(variant, options.seconds),
    (pair, index) => onProgress(`fixed rate ${index + 1}/${pairs}: ${describe(pair, describeFixedRate)}`),
  );
  return { saturated, fixedRate };
}

/** How long all comparisons take together, seconds. */
export function estimateSeconds({ pairs, seconds, sizes, only }: Options): number {
  const perComparison = 2 * (2 * pairs * seconds + WARM_UP_SECONDS + CALM_DOWN_SECONDS);
  return sizes.length * only.length * perComparison;
}

function describe<Run>({ floor, variant }: Pair<Run>, describeRun: (run: Run) => string): string {
  return `floor ${describeRun(floor)}; variant ${describeRun(variant)}`;
}

function describeSaturated({ requestsPerSecond, cpuUs }: SaturatedRun): string {
  return `${requestsPerSecond.toFixed(0)} requests/s, ${cpuUs.toFixed(0)} µs`;
}

function describeFixedRate({ p50Ms, p99Ms }: FixedRateRun): string {
  return `p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
}
