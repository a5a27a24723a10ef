import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./bundle.ts";
import { TARGETS } from "./fuzz.ts";

/** Cases of a run that asks for no number. */
const CASES = 110_000;

/** Fewer than this prove nothing, whatever was asked for. */
const FEWEST_CASES = 100_000;

const folder = await mkdtemp(join(tmpdir(), "ringmaster-fuzz-"));
const counts = join(folder, "counts");
const environment = { FUZZ_CASES: String(CASES), FUZZ_SEED: "1", ...process.env, FUZZ_COUNTS: counts };
console.log(`FUZZ_SEED=${environment.FUZZ_SEED} FUZZ_CASES=${environment.FUZZ_CASES}`);
const run = spawn(
  process.execPath,
  [join(ROOT, "node_modules", "vitest", "vitest.mjs"), "run", "--config", "test/vitest.config.ts", "fuzz"],
  { cwd: ROOT, env: environment, stdio: ["ignore", "inherit", "inherit"] },
);
const [status] = await once(run, "exit");
const text = await readFile(counts, "utf8").catch(() => "");
await rm(folder, { recursive: true });

const tried = new Map(TARGETS.map((target) => [target, 0]));
for (const [, target = "", cases] of text.matchAll(/^(\w+) (\d+)$/gm))
  tried.set(target, (tried.get(target) ?? 0) + Number(cases));
const total = [...tried.values()].reduce((sum, cases) => sum + cases, 0);
const missing = [...tried].filter(([, cases]) => cases === 0).map(([target]) => target);
for (const [target, cases] of tried) console.log(`${String(cases).padStart(7)} ${target}`);
console.log(`${String(total).padStart(7)} cases, at least ${FEWEST_CASES}`);
if (missing.length > 0) console.log(`not tried: ${missing.join(", ")}`);
process.exitCode = status === 0 && missing.length === 0 && total >= FEWEST_CASES ? 0 : 1;
