import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

/** Which core does what. */
export interface Cores {
  /** Runs the proxies, of which one at a time has work. */
  readonly proxy: number;
  /** Runs the load generators and the backends. */
  readonly load: number;
}

/**
 * Chooses two of the cores this process may use; null when there is only one. The first and the last, because threads of
 * one core are numbered side by side or half the count apart, and with four or more these two are neither.
 */
export async function chooseCores(): Promise<Cores | null> {
  const status = await readFile("/proc/self/status", "utf8");
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "0");
  const [proxy] = allowed;
  const load = allowed.at(-1);
  return proxy === undefined || load === undefined || proxy === load ? null : { proxy, load };
}

/** Moves this process, and whatever it starts from now on, to one core. */
export async function pinThisProcess(core: number): Promise<void> {
  await promisify(execFile)("taskset", ["-a", "-c", "-p", String(core), String(process.pid)]);
}

/** Reads the kernel's notation: `0-2,6` is 0, 1, 2, 6. */
function parseCpuList(text: string): readonly number[] {
  return text.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}
