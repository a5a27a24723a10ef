import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { GeneratorName } from "../../durable/model/token.ts";
import { buildBundle } from "../support/bundle.ts";
import { Complaint } from "./complaint.ts";
import { chooseCores } from "./cores.ts";
import { Processes } from "./processes.ts";
import { median } from "./stats.ts";
import type { Teardown } from "./teardown.ts";
import { requireTools } from "./tools.ts";
import { findRuntime, type RunningWorker, readWorkerConfig, serveWorker } from "./workerd.ts";

const LOOP = fileURLToPath(new URL("./token-loop.ts", import.meta.url));

/** One layout of tokens, as the table in `worker/README.md` lists it. */
interface Layout {
  readonly title: string;
  readonly generator: GeneratorName;
  readonly serverIdBytes: number;
  readonly nonceBytes: number;
}

const LAYOUTS: readonly Layout[] = [
  { title: "plaintext 4 + 12", generator: "plaintext", serverIdBytes: 4, nonceBytes: 12 },
  { title: "one block 4 + 12", generator: "encrypted", serverIdBytes: 4, nonceBytes: 12 },
  { title: "regional 4 + 12, one block", generator: "regional", serverIdBytes: 4, nonceBytes: 12 },
  { title: "four passes 1 + 4", generator: "encrypted", serverIdBytes: 1, nonceBytes: 4 },
  { title: "four passes 2 + 8", generator: "encrypted", serverIdBytes: 2, nonceBytes: 8 },
  { title: "four passes 9 + 8", generator: "encrypted", serverIdBytes: 9, nonceBytes: 8 },
  { title: "four passes 1 + 18", generator: "encrypted", serverIdBytes: 1, nonceBytes: 18 },
];

/** What is timed, and how often it is done in the longer one of two runs: some tenths of a second. */
const TASKS = [
  { task: "read", title: "read", count: 60_000 },
  { task: "issue", title: "issue", count: 60_000 },
  { task: "repeat", title: "read again", count: 600_000 },
] as const;
type Task = (typeof TASKS)[number];

/** The shorter run: what the two differ by is neither the request nor the way to the worker. */
const SHORT_SHARE = 0.1;

const ROUNDS = 11;

/** Times reading and issuing tokens inside workerd, and prints a median per layout. */
export async function benchTokens(teardown: Teardown): Promise<void> {
  await requireTools(["taskset"]);
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-tokens-"));
  teardown.defer(() => rm(folder, { recursive: true }));
  // Whatever else makes temporary files makes them in there.
  process.env["TMPDIR"] = folder;
  const processes = new Processes();
  teardown.defer(() => processes.stop());
  const config = readWorkerConfig();
  const cores = await chooseCores();
  const serving = { runtime: findRuntime(), config, folder, core: cores?.proxy ?? null };
  const building = build(folder, config.compatibilityDate);
  // A build takes seconds and cannot be stopped, so the teardown waits for it.
  teardown.defer(async () => {
    await Promise.allSettled([building]);
  });
  const source = await building;
  const worker = await serveWorker(processes, serving, {
    name: "token-loop",
    source,
    variables: {},
    objects: {},
  });
  console.log(`\nTokens in workerd ${serving.runtime.version}: µs each, medians of ${ROUNDS} rounds.`);
  console.log(
    renderRow(
      "server id + nonce",
      TASKS.map(({ title }) => title),
    ),
  );
  await Promise.race([measure(worker), processes.broken]);
}

/** Builds the worker that repeats what it is told to. It has no objects, so it needs a configuration of its own. */
async function build(folder: string, compatibilityDate: string): Promise<string> {
  const config = join(folder, "wrangler.json");
  await writeFile(
    config,
    JSON.stringify({ name: "token-loop", main: LOOP, compatibility_date: compatibilityDate }),
  );
  const bundle = await buildBundle(config, "token-loop");
  return readFile(bundle, "utf8");
}

async function measure(worker: RunningWorker): Promise<void> {
  for (const layout of LAYOUTS) {
    const medians: string[] = [];
    for (const task of TASKS) {
      const times: number[] = [];
      // The first round warms up.
      for (let round = 0; round <= ROUNDS; round++) times.push(await timeOnce(worker, layout, task, round));
      const [, ...warm] = times;
      console.error(`${layout.title}, ${task.title}: ${warm.map((time) => time.toFixed(2)).join(" ")} µs`);
      medians.push(median(warm).toFixed(2));
    }
    console.log(renderRow(layout.title, medians));
  }
}

/** Microseconds per repetition: a long run less a short one, in turned order every second time. */
async function timeOnce(worker: RunningWorker, layout: Layout, task: Task, round: number): Promise<number> {
  const short = Math.round(task.count * SHORT_SHARE);
  const counts = round % 2 === 0 ? [short, task.count] : [task.count, short];
  const took = new Map<number, number>();
  for (const count of counts) took.set(count, await timeRun(worker, layout, task, count));
  return ((took.get(task.count) ?? 0) - (took.get(short) ?? 0)) / (task.count - short);
}

/** Microseconds from request to answer. */
async function timeRun(
  { port }: RunningWorker,
  { generator, serverIdBytes, nonceBytes }: Layout,
  { task }: Task,
  count: number,
): Promise<number> {
  const query = new URLSearchParams({
    generator,
    serverIdBytes: String(serverIdBytes),
    nonceBytes: String(nonceBytes),
    task,
    count: String(count),
  });
  const startedMs = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/?${query.toString()}`);
  const answer = await response.text();
  const tookMs = performance.now() - startedMs;
  if (!response.ok) throw new Complaint(`the worker answered ${response.status}: ${answer}`);
  return tookMs * 1_000;
}

function renderRow(title: string, cells: readonly string[]): string {
  return `  ${title.padEnd(30)}${cells.map((cell) => cell.padStart(12)).join("")}`;
}
