import { readdir, readFile } from "node:fs/promises";

/**
 * Memory of the workerd that this process has started, MB. Read from `/proc`: where there is none, tests that need it
 * are skipped.
 */
export async function edgeMemoryMb(): Promise<number> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const statuses = await Promise.all(ids.map((id) => readFile(`/proc/${id}/status`, "utf8").catch(() => "")));
  const ours = statuses.filter(
    (status) => /^Name:\s+workerd$/m.test(status) && status.includes(`\nPPid:\t${process.pid}\n`),
  );
  const [status] = ours;
  if (status === undefined || ours.length > 1) throw new Error(`${ours.length} workerd were started here`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}
