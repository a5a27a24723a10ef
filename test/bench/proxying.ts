import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildBundle } from "../support/bundle.ts";
import { compare, estimateSeconds } from "./compare.ts";
import { type Cores, chooseCores, pinThisProcess } from "./cores.ts";
import { type Lineup, startLineup } from "./lineup.ts";
import type { Options } from "./options.ts";
import { Processes } from "./processes.ts";
import { renderComparison, renderCounted, renderMethod } from "./report.ts";
import { CONNECTIONS, createClients } from "./requests.ts";
import { readCounted } from "./ringmaster.ts";
import { wrkScript } from "./saturate.ts";
import type { Teardown } from "./teardown.ts";
import { requireTools } from "./tools.ts";
import { findRuntime, readWorkerConfig } from "./workerd.ts";

/** Compares Ringmaster with a bare pass-through worker in front of the same backends, and prints what comes out. */
export async function benchProxying(options: Options, teardown: Teardown): Promise<void> {
  await requireTools(["wrk", "nginx", "taskset"]);
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-bench-"));
  teardown.defer(() => rm(folder, { recursive: true }));
  // Whatever else makes temporary files makes them in there.
  process.env["TMPDIR"] = folder;
  const processes = new Processes();
  teardown.defer(() => processes.stop());
  const source = await build(teardown);

  const cores = await chooseCores();
  // All that is started from here on inherits this; the workers get the other core.
  if (cores !== null) await pinThisProcess(cores.load);
  const serving = { runtime: findRuntime(), config: readWorkerConfig(), folder, core: cores?.proxy ?? null };
  console.log(renderSetting(options, cores, serving.runtime.version));
  console.error(`this takes about ${Math.ceil(estimateSeconds(options) / 60)} min`);
  const work = startLineup(processes, serving, source, options).then((lineup) =>
    measure(processes, folder, lineup, options),
  );
  await Promise.race([work, processes.broken]);
}

async function build(teardown: Teardown): Promise<string> {
  const building = buildBundle();
  // A build takes seconds and cannot be stopped, so the teardown waits for it.
  teardown.defer(() =>
    building.then(
      () => {},
      () => {},
    ),
  );
  return readFile(await building, "utf8");
}

async function measure(
  processes: Processes,
  folder: string,
  { floor, variants }: Lineup,
  options: Options,
): Promise<void> {
  const clients = createClients(options.requests);
  for (const bodyBytes of options.sizes) {
    const script = join(folder, `${bodyBytes}.lua`);
    await writeFile(script, wrkScript(clients, bodyBytes));
    for (const [name, variant] of variants) {
      const contest = { floor, variant, bodyBytes, clients, script, options };
      const title = `${name}, ${bodyBytes} B`;
      const comparison = await compare(processes, contest, (line) => console.error(`${title}, ${line}`));
      console.log(`\n${renderComparison(title, comparison)}`);
      if (name !== "control") console.log(renderCounted(await readCounted(variant)));
    }
  }
}

function renderSetting(
  { pairs, seconds, rate, requests }: Options,
  cores: Cores | null,
  runtimeVersion: string,
): string {
  const where =
    cores === null
      ? "Everything shares one core, which blurs what the workers cost."
      : `Workers on core ${cores.proxy}; load and backends on core ${cores.load}.`;
  return `The floor is a worker that only passes on. All in workerd ${runtimeVersion}, ${requests} requests, ${pairs} pairs of ${seconds} s runs.
Throughput and CPU are taken at saturation over ${CONNECTIONS} connections, p50 and p99 at ${rate} requests/s.
${where}
${renderMethod(pairs)}`;
}
