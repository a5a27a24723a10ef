import { readFile } from "node:fs/promises";

/** The unit of times in `/proc/<pid>/stat`: USER_HZ is 100 wherever Node runs on Linux. */
const TICK_MS = 10;

/** CPU time that a process, all its threads together, has used so far, in milliseconds and steps of 10. */
export async function cpuTimeMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The second field is the program's name in parentheses and may hold anything; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
