import { fileURLToPath } from "node:url";
import { type PolicyName, PolicySchema } from "../../durable/model/pool.ts";
import { fittingCount, type Loop, medianOf, ROUNDS, renderRow, serveLoop } from "./loop.ts";
import type { Teardown } from "./teardown.ts";
import { findRuntime } from "./workerd.ts";

const LOOP = fileURLToPath(new URL("./policy-loop.ts", import.meta.url));

/** Numbers of backends that are picked among. */
const SIZES = [3, 64, 100, 1_000, 10_000] as const;

/** Backends that policies are prepared for. */
const PREPARED = 1_000;

/** What else a policy is timed under. */
const CASES: Partial<Record<PolicyName, readonly string[]>> = {
  round_robin: ["round_robin, wide weights", "round_robin, half bound"],
  random: ["random, one full"],
  least_request: ["least_request, one full"],
  peak_ewma: ["peak_ewma, one full"],
};

/** Every policy, and the packages in their order in `peers.ts`. */
const ROWS = [
  "floor",
  ...PolicySchema.options.flatMap((policy) => [policy, CASES[policy] ?? []].flat()),
  "hashring",
  "hashring, no key twice",
  "consistent-hash",
] as const;

/** Times picking and preparing inside workerd, and prints a median per policy. */
export async function benchPolicies(teardown: Teardown): Promise<void> {
  console.log(`\nPolicies in workerd ${findRuntime().version}: medians of ${ROUNDS} rounds.`);
  console.log(
    renderRow("picks, preparation", [...SIZES.map((size) => `ns of ${size}`), `ms for ${PREPARED}`]),
  );
  for (const policy of ROWS) {
    // Each in a process of its own: a loop that has called others before is not compiled as well. One of the packages takes
    // its MD5 from Node's modules.
    const loop = await serveLoop(teardown, LOOP, ["nodejs_compat"]);
    console.log(renderRow(policy, await Promise.race([measure(loop, policy), loop.broken])));
  }
}

async function measure(loop: Loop, policy: string): Promise<readonly string[]> {
  // A new process takes seconds until it has compiled the loop for good.
  for (const backends of [3, 64, 100]) await time(loop, { task: "pick", policy, backends: String(backends) });
  const cells: string[] = [];
  for (const backends of SIZES) {
    const tookUs = await time(loop, { task: "pick", policy, backends: String(backends) });
    cells.push((tookUs * 1_000).toFixed(0));
  }
  const tookUs = await time(loop, { task: "prepare", policy, backends: String(PREPARED) });
  return [...cells, (tookUs / 1_000).toFixed(2)];
}

/** Microseconds, after as many repetitions as take long enough to be told from the way to the worker. */
async function time(loop: Loop, query: Readonly<Record<string, string>>): Promise<number> {
  const { task, policy, backends } = query;
  const count = await fittingCount(loop, query);
  return medianOf(loop, { title: `${policy}, ${task} ${backends}`, query, count });
}
