import { rmSync } from "node:fs";
import { readdir, readFile, readlink, realpath, rm, writeFile } from "node:fs/promises";
import { join, sep } from "node:path";

/**
 * Name of an empty file that says who uses the folder: process id and start. The name says all of it, so nobody reads one
 * that is half written; and no two processes have the same, so whoever removes that of a dead one removes no other.
 */
const CLAIM = /^in-use-by-(\d+)-(\d+)$/;

/** Start of a process where the system does not tell it. */
const UNTOLD = "0";

/**
 * Claims a folder until this process ends. A claim of a process that is gone is taken away. Of two that claim it in the same
 * moment both may be refused, but never are both let in.
 *
 * @throws Error when another process uses the folder.
 */
export async function claimFolder(folder: string): Promise<void> {
  const mine = join(folder, `in-use-by-${process.pid}-${await startOf(process.pid)}`);
  await writeFile(mine, "");
  process.once("exit", () => rmSync(mine, { force: true }));
  const others = [...(await claimants(folder)), ...(await runtimesIn(folder))];
  const user = others.find((pid) => pid !== process.pid);
  if (user !== undefined) throw new FolderInUse(user);
}

/** Another process uses a folder. */
export class FolderInUse extends Error {
  readonly pid: number;

  constructor(pid: number) {
    super(`in use by process ${pid}`);
    this.pid = pid;
  }
}

async function claimants(folder: string): Promise<readonly number[]> {
  const names = await readdir(folder);
  const pids = await Promise.all(names.map((name) => claimantOf(folder, name)));
  return pids.filter((pid) => pid !== null);
}

/** The process that claims the folder by this name; null: it is no claim, or its process is gone. */
async function claimantOf(folder: string, name: string): Promise<number | null> {
  const [, pid, since] = CLAIM.exec(name) ?? [];
  if (pid === undefined) return null;
  const start = await startOf(Number(pid));
  if (start === UNTOLD || start === since) return Number(pid);
  await rm(join(folder, name), { force: true });
  return null;
}

/**
 * What tells a process from a later one with its id: its start in clock ticks since boot, field 22 of proc(5)'s `stat`. Null:
 * it has ended.
 */
async function startOf(pid: number): Promise<string | null> {
  if (!isAlive(pid)) return null;
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The second field is the program's name in brackets, which may hold spaces and brackets itself.
  const [state, ...others] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === "Z" ? null : (others[18] ?? UNTOLD);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // One of another user may not be signalled.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/**
 * Processes of workerd that have a file of the folder open, as far as `/proc` tells: one outlives the `npm start` that
 * started it when that is killed, and goes on writing.
 */
async function runtimesIn(folder: string): Promise<readonly number[]> {
  const inside = (await realpath(folder)) + sep;
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  const holders = await Promise.all(
    pids.map(async (pid) => ((await isRuntimeIn(pid, inside)) ? [Number(pid)] : [])),
  );
  return holders.flat();
}

async function isRuntimeIn(pid: string, inside: string): Promise<boolean> {
  const program = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
  if (program !== "workerd\n") return false;
  const open = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const files = await Promise.all(open.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
  return files.some((file) => file.startsWith(inside));
}
