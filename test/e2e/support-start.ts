import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { ROOT } from "../support/bundle.ts";

/** One `node test/local/start.ts`, in a process group and with a temporary folder of its own. */
export interface Run {
  readonly process: ChildProcess;
  readonly temporary: string;
  /** Standard output until it was ready. */
  readonly text: string;
  /** Standard output until now. */
  readonly output: () => string;
  readonly url: string;
  readonly token: string;
  readonly admin: AdminClient;
}

/** For what becomes true by itself, on a machine that may be busy. */
export const SOON = { timeout: 10_000 };

const LAST_LINE = "# Ctrl-C here stops everything.";

/** Starts on a free port and waits until it is ready. */
export async function start(...args: readonly string[]): Promise<Run> {
  return ready(await launch(process.execPath, ["test/local/start.ts", "--port", "0", ...args]));
}

/** Starts as npm does: under a shell that passes no signal on. */
export async function startUnderShell(): Promise<Run> {
  const script = '"$0" test/local/start.ts --port 0; true';
  return ready(await launch("sh", ["-c", script, process.execPath], { npm_lifecycle_event: "start" }));
}

/** A process that may not be ready yet. */
export type Launched = Pick<Run, "process" | "temporary" | "output">;

export async function launch(
  command: string,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<Launched> {
  const temporary = await makeFolder();
  const child = spawn(command, args, {
    cwd: ROOT,
    detached: true,
    env: { ...process.env, ...variables, TMPDIR: temporary },
    stdio: ["ignore", "pipe", "inherit"],
  });
  atTheEnd.push(async () => {
    if (child.exitCode === null && child.signalCode === null) signalGroup(child, "SIGKILL");
  });
  let read = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    read += chunk;
  });
  return { process: child, temporary, output: () => read };
}

async function ready(launched: Launched): Promise<Run> {
  const { process: child, output } = launched;
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on("data", () => {
      if (output().includes(LAST_LINE)) resolve();
    });
    child.once("exit", (code) => reject(new Error(`exited with ${code} before it was ready: ${output()}`)));
  });
  const text = output();
  const [, url = ""] = /ready at (\S+) after/.exec(text) ?? [];
  const [, token = ""] = /admin token +(\S+)/.exec(text) ?? [];
  return { ...launched, text, url, token, admin: new AdminClient(url, token) };
}

/** Sends a signal to the whole group, as a terminal does at Ctrl-C; gives the exit code, once all output has come. */
export async function stop(run: Launched, signal: "SIGINT" | "SIGTERM"): Promise<number | null> {
  const closed = closing(run);
  signalGroup(run.process, signal);
  return closed;
}

/** The exit code, once all output has come. */
export function closing(run: Launched): Promise<number | null> {
  return new Promise((resolve) => {
    run.process.once("close", resolve);
  });
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) throw new Error("the process was never started");
  process.kill(-pid, signal);
}

/**
 * Names of the group's processes, but for zombies: the build leaves one that is not ours to bury. From `/proc`, since a
 * small Debian has no `ps`.
 */
export async function livingInGroup({ pid }: ChildProcess): Promise<readonly Living[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((name) => readFile(`/proc/${name}/stat`, "utf8").catch(() => "")));
  return stats.flatMap((stat) => {
    const [, id, name = "", state, group] = /^(\d+) \((.*)\) (\S) \d+ (\d+)/s.exec(stat) ?? [];
    return Number(group) === pid && state !== "Z" ? [{ pid: Number(id), name }] : [];
  });
}

/** A process that lives. */
interface Living {
  readonly pid: number;
  readonly name: string;
}

/** A folder that goes when the tests of the file are over. */
export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-test-"));
  atTheEnd.push(() => rm(folder, { recursive: true }));
  return folder;
}

/** What a test leaves that fails half-way: undone last first. */
const atTheEnd: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const step of atTheEnd.toReversed()) await step();
});

/** What a start says on standard error that is refused, with code 1 and nothing on standard output. */
export async function refused(...args: readonly string[]): Promise<string> {
  const options = { cwd: ROOT, timeout: 20_000 };
  const command = ["test/local/start.ts", ...args];
  const failure: unknown = await promisify(execFile)(process.execPath, command, options).catch(
    (cause: unknown) => cause,
  );
  expect(failure).toMatchObject({ code: 1, stdout: "" });
  return (failure as { readonly stderr: string }).stderr;
}

/** The printed commands, in their order. */
export function commandsOf(text: string): readonly string[] {
  return text.split("\n").filter((line) => /^(?!#).*\bcurl /.test(line));
}

/** Pastes a command into a shell. */
export async function paste(command: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)("bash", ["-c", command]);
  expect(stderr).toBe("");
  expect(stdout, "the answer is no problem document").not.toContain("about:blank");
  return stdout;
}

/** Pastes a command whose every request is answered by a sample: who answered, in order. */
export async function served(command: string): Promise<readonly string[]> {
  const lines = (await paste(command)).trim().split("\n");
  return lines.map((line) => /^(\S+) answers GET \//.exec(line)?.[1] ?? `no sample: ${line}`);
}
