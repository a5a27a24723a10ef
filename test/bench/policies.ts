import { fileURLToPath } from "node:url";
import { PolicySchema } from "../../durable/model/pool.ts";
import { type Loop, medianOf, ROUNDS, renderRow, serveLoop } from "./loop.ts";
import type { Teardown } from "./teardown.ts";

const LOOP = fileURLToPath(new URL("./policy-loop.ts", import.meta.url));

/** Numbers of backends, and how often each policy picks among them in the longer of two runs. */
const SIZES = [
  { backends: 3, count: 2_000_000 },
  { backends: 64, count: 500_000 },
  { backends: 100, count: 500_000 },
  { backends: 1_000, count: 50_000 },
] as const;

/** Backends that policies are prepared for, and how often: some tenths of a second. */
const PREPARED = { backends: 1_000, count: 20 } as const;

/** Times picking and preparing inside workerd, and prints a median per policy. */
export async function benchPolicies(teardown: Teardown): Promise<void> {
  const loop = await serveLoop(teardown, LOOP);
  console.log(`\nPolicies in workerd ${loop.version}: medians of ${ROUNDS} rounds.`);
  const picks = SIZES.map(({ backends }) => `ns of ${backends}`);
  console.log(renderRow("picks, preparation", [...picks, `ms for ${PREPARED.backends}`]));
  await Promise.race([measure(loop), loop.broken]);
}

async function measure(loop: Loop): Promise<void> {
  for (const policy of ["floor", ...PolicySchema.options]) {
    const cells: string[] = [];
    for (const { backends, count } of SIZES) {
      const query = { task: "pick", policy, backends: String(backends) };
      const tookUs = await medianOf(loop, { title: `${policy}, pick of ${backends}`, query, count });
      cells.push((tookUs * 1_000).toFixed(0));
    }
    const query = { task: "prepare", policy, backends: String(PREPARED.backends) };
    const tookUs = await medianOf(loop, { title: `${policy}, prepare`, query, count: PREPARED.count });
    cells.push((tookUs / 1_000).toFixed(2));
    console.log(renderRow(policy, cells));
  }
}
