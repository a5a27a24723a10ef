import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { buildBundle, OFFLINE, ROOT } from "./bundle.ts";

/** Well above what the worker needs, and far below what the platform takes. */
const MAX_GZIPPED_BYTES = 120_000;

/** The platform refuses a worker whose start takes 1 s. Its machines are not this one, so a quarter of that. */
const MAX_STARTUP_MS = 250;

const gzippedBytes = await gzippedSize();
const startupMs = await startup();
report("bundle, gzipped", gzippedBytes / 1_000, MAX_GZIPPED_BYTES / 1_000, "kB");
report("startup", startupMs, MAX_STARTUP_MS, "ms");

function report(what: string, is: number, max: number, unit: string): void {
  const isFine = is <= max;
  console.log(`${isFine ? "ok  " : "FAIL"} ${what}: ${is.toFixed(1)} ${unit} of at most ${max} ${unit}`);
  if (!isFine) process.exitCode = 1;
}

/** Size of what `wrangler deploy` would upload. */
async function gzippedSize(): Promise<number> {
  const bundle = await buildBundle();
  const size = gzipSync(await readFile(bundle)).length;
  await rm(dirname(bundle), { recursive: true });
  return size;
}

/** What is read here of a V8 CPU profile: when it began and ended, microseconds. */
interface CpuProfile {
  readonly startTime: number;
  readonly endTime: number;
}

/** How long the worker's start takes in local workerd, milliseconds. Its profile counts waiting too, so it is never less. */
async function startup(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-startup-"));
  const outfile = join(folder, "startup.cpuprofile");
  const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  await promisify(execFile)(process.execPath, [wrangler, "check", "startup", "--outfile", outfile], {
    cwd: ROOT,
    env: { ...process.env, ...OFFLINE },
  });
  const { startTime, endTime } = JSON.parse(await readFile(outfile, "utf8")) as CpuProfile;
  await rm(folder, { recursive: true });
  return (endTime - startTime) / 1_000;
}
