import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { buildBundle } from "../support/bundle.ts";
import { Complaint } from "./complaint.ts";
import { chooseCores } from "./cores.ts";
import { Processes } from "./processes.ts";
import { median } from "./stats.ts";
import type { Teardown } from "./teardown.ts";
import { requireTools } from "./tools.ts";
import { findRuntime, type RunningWorker, readWorkerConfig, serveWorker } from "./workerd.ts";

/** How often everything is timed, after a round that warms up. */
export const ROUNDS = 11;

/** The shorter run: what the two differ by is neither the request nor the way to the worker. */
const SHORT_SHARE = 0.1;

/** How long the longer of two runs takes when nobody says how many repetitions it has, milliseconds. */
const FITTING_MS = 60;

/** The least that a long run is made of; a tenth of that is none. */
const MIN_COUNT = 2;

/** A worker that does nothing but repeat what it is told to. */
export interface Loop {
  readonly worker: RunningWorker;
  /** Of the workerd it runs in. */
  readonly version: string;
  /** Rejects when the worker ends by itself. */
  readonly broken: Promise<never>;
}

/** What is repeated: what the worker is asked for, and how often in the longer of two runs. */
interface Repetition {
  readonly title: string;
  readonly query: Readonly<Record<string, string>>;
  readonly count: number;
}

/** Builds the worker of that file and serves it until the teardown. `flags`: of compatibility, besides Ringmaster's own. */
export async function serveLoop(
  teardown: Teardown,
  main: string,
  flags: readonly string[] = [],
): Promise<Loop> {
  const name = basename(main, ".ts");
  await requireTools(["taskset"]);
  const folder = await mkdtemp(join(tmpdir(), `ringmaster-${name}-`));
  teardown.defer(() => rm(folder, { recursive: true }));
  // Whatever else makes temporary files makes them in there.
  process.env["TMPDIR"] = folder;
  const processes = new Processes();
  teardown.defer(() => processes.stop());
  const own = readWorkerConfig();
  const config = { ...own, compatibilityFlags: [...own.compatibilityFlags, ...flags] };
  const cores = await chooseCores();
  const serving = { runtime: findRuntime(), config, folder, core: cores?.proxy ?? null };
  const { compatibilityDate, compatibilityFlags } = config;
  const building = build(folder, {
    name,
    main,
    compatibility_date: compatibilityDate,
    compatibility_flags: compatibilityFlags,
  });
  // A build takes seconds and cannot be stopped, so the teardown waits for it.
  teardown.defer(async () => {
    await Promise.allSettled([building]);
  });
  const source = await building;
  const worker = await serveWorker(processes, serving, { name, source, variables: {}, objects: {} });
  return { worker, version: serving.runtime.version, broken: processes.broken };
}

/** What wrangler is told of a worker. */
interface Configured {
  readonly name: string;
  readonly main: string;
  readonly compatibility_date: string;
  readonly compatibility_flags: readonly string[];
}

/** It has no objects, so it needs a configuration of its own. */
async function build(folder: string, configured: Configured): Promise<string> {
  const config = join(folder, "wrangler.json");
  await writeFile(config, JSON.stringify(configured));
  const bundle = await buildBundle(config, configured.name);
  return readFile(bundle, "utf8");
}

/** Repetitions for a run of about `FITTING_MS`. Finding out warms up too. */
export async function fittingCount(
  { worker }: Loop,
  query: Readonly<Record<string, string>>,
): Promise<number> {
  for (let count = 1; ; count *= 4) {
    // What takes longer the first time is not what is to be timed.
    const first = await timeRun(worker, query, count);
    const tookMs = Math.min(first, await timeRun(worker, query, count)) / 1_000;
    if (tookMs > FITTING_MS / 4) return Math.max(MIN_COUNT, Math.round((count * FITTING_MS) / tookMs));
  }
}

/** The median of all rounds, microseconds per repetition. Every single round goes to standard error. */
export async function medianOf({ worker }: Loop, repetition: Repetition): Promise<number> {
  const times: number[] = [];
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++) times.push(await timeOnce(worker, repetition, round));
  const [, ...warm] = times;
  console.error(`${repetition.title}: ${warm.map((time) => time.toFixed(3)).join(" ")} µs`);
  return median(warm);
}

/** Microseconds per repetition: a long run less a short one, in turned order every second time. */
async function timeOnce(worker: RunningWorker, { query, count }: Repetition, round: number): Promise<number> {
  const short = Math.round(count * SHORT_SHARE);
  const counts = round % 2 === 0 ? [short, count] : [count, short];
  const took = new Map<number, number>();
  for (const times of counts) took.set(times, await timeRun(worker, query, times));
  return ((took.get(count) ?? 0) - (took.get(short) ?? 0)) / (count - short);
}

/** Microseconds from request to answer. */
async function timeRun(
  { port }: RunningWorker,
  query: Readonly<Record<string, string>>,
  count: number,
): Promise<number> {
  const params = new URLSearchParams({ ...query, count: String(count) });
  const startedMs = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/?${params.toString()}`);
  const answer = await response.text();
  const tookMs = performance.now() - startedMs;
  if (!response.ok) throw new Complaint(`the worker answered ${response.status}: ${answer}`);
  return tookMs * 1_000;
}

/** One row of a table. */
export function renderRow(title: string, cells: readonly string[]): string {
  return `  ${title.padEnd(30)}${cells.map((cell) => cell.padStart(12)).join("")}`;
}
