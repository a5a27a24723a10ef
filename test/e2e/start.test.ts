import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import type { NamedBackend } from "../local/options.ts";
import { setUp } from "../local/set-up.ts";
import { AdminClient } from "../support/admin.ts";
import { ROOT } from "../support/bundle.ts";
import { startEdge } from "../support/edge.ts";

/** One `node test/local/start.ts`, in a process group and with a temporary folder of its own. */
interface Run {
  readonly process: ChildProcess;
  readonly temporary: string;
  /** Standard output until it was ready. */
  readonly text: string;
  readonly url: string;
  readonly admin: AdminClient;
}

/** For what becomes true by itself, on a machine that may be busy. */
const SOON = { timeout: 10_000 };

const LAST_LINE = "# Ctrl-C here stops everything.";

function start(...args: readonly string[]): Promise<Run> {
  return launch(process.execPath, ["test/local/start.ts", ...args]);
}

/** Starts as npm does: under a shell that passes no signal on. */
function startUnderShell(): Promise<Run> {
  return launch("sh", ["-c", '"$0" test/local/start.ts --port 0; true', process.execPath], {
    npm_lifecycle_event: "start",
  });
}

async function launch(
  command: string,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<Run> {
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
  const text = await new Promise<string>((resolve, reject) => {
    let read = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      read += chunk;
      if (read.includes(LAST_LINE)) resolve(read);
    });
    child.once("exit", (code) => reject(new Error(`exited with ${code} before it was ready: ${read}`)));
  });
  const [, url = ""] = /ready at (\S+) after/.exec(text) ?? [];
  const [, token = ""] = /admin token +(\S+)/.exec(text) ?? [];
  return { process: child, temporary, text, url, admin: new AdminClient(url, token) };
}

/** Sends a signal to the whole group, as a terminal does at Ctrl-C; gives the exit code. */
async function stop(run: Run, signal: "SIGINT" | "SIGTERM"): Promise<number | null> {
  const exited = new Promise<number | null>((resolve) => {
    run.process.once("exit", resolve);
  });
  signalGroup(run.process, signal);
  return exited;
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) throw new Error("the process was never started");
  process.kill(-pid, signal);
}

/**
 * Names of the group's processes, but for zombies: the build leaves one that is not ours to bury. From `/proc`, since a
 * small Debian has no `ps`.
 */
async function livingInGroup({ pid }: ChildProcess): Promise<readonly string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((name) => readFile(`/proc/${name}/stat`, "utf8").catch(() => "")));
  return stats.flatMap((stat) => {
    const [, name = "", state, group] = /^\d+ \((.*)\) (\S) \d+ (\d+)/s.exec(stat) ?? [];
    return Number(group) === pid && state !== "Z" ? [name] : [];
  });
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-test-"));
  atTheEnd.push(() => rm(folder, { recursive: true }));
  return folder;
}

/** What a test leaves that fails half-way: undone last first. */
const atTheEnd: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const step of atTheEnd.toReversed()) await step();
});

/** Pastes a command into a shell. */
async function paste(command: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)("bash", ["-c", command]);
  expect(stderr).toBe("");
  expect(stdout, "the answer is no problem document").not.toContain("about:blank");
  return stdout;
}

/** Pastes a command whose every request is answered by a sample: who answered, in order. */
async function served(command: string): Promise<readonly string[]> {
  const lines = (await paste(command)).trim().split("\n");
  return lines.map((line) => /^(\S+) answers GET \//.exec(line)?.[1] ?? `no sample: ${line}`);
}

/** Who serves the connection of this name. */
async function stickTo(url: string, name: string): Promise<string | null> {
  const response = await fetch(`${url}/sticky`, {
    headers: { "MF-CF-Blob": JSON.stringify({ tlsClientRandom: name }) },
  });
  await response.arrayBuffer();
  return response.headers.get("x-backend");
}

function sample(id: string, port: number): NamedBackend {
  return { id, url: `http://127.0.0.1:${port}`, weight: null };
}

async function listens(port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  await new Promise((resolve) => {
    server.close(resolve);
  });
}

describe("npm start", () => {
  let run: Run;
  beforeAll(async () => {
    run = await start("--port", "0");
  });

  // How long, is for the reader: timing on a loaded machine tells nothing.
  it("says how long it took to be ready", () => {
    expect(run.text).toMatch(/ready at http:\/\/127\.0\.0\.1:\d+ after \d+\.\d s\./);
  });

  it("prints commands that all do what they say when pasted", async () => {
    const commands = run.text.split("\n").filter((line) => /\bcurl /.test(line));
    expect(commands).toHaveLength(11);
    const [roundRobin, sticky, others, session, status, add, weigh, drain, undrain, remove, routes] =
      commands as [string, string, string, string, string, string, string, string, string, string, string];
    const sorted = async (): Promise<string> => (await served(roundRobin)).toSorted().join(" ");

    expect(await sorted()).toBe("a a b b c c");
    expect(new Set(await served(sticky)).size).toBe(1);
    const placed = await served(others);
    expect(placed).toHaveLength(6);
    expect(await served(others)).toEqual(placed);
    expect(new Set(await served(session)).size).toBe(1);
    expect(JSON.parse(await paste(status)).backends).toMatchObject([
      { id: "a", admits: "new" },
      { id: "b", admits: "new" },
      { id: "c", admits: "new" },
    ]);

    expect(JSON.parse(await paste(add))).toMatchObject({ created: true });
    await expect.poll(sorted, SOON).toContain("spare");
    expect(await served(others), "adding moves no connection").toEqual(placed);

    await paste(weigh);
    await expect.poll(sorted, SOON).toBe("a a a b c spare");

    const names = Array.from({ length: 100 }, (_, index) => `connection ${index}`);
    const before = await Promise.all(names.map((name) => stickTo(run.url, name)));
    expect(before).toContain("a");
    await paste(drain);
    // That free requests pass it by says nothing yet: they also make up for the bound ones it has had.
    const convergence = async (): Promise<unknown> => {
      await sorted();
      return JSON.parse(await paste(status)).convergence.governsAtMs;
    };
    await expect.poll(convergence, SOON).toBeNull();
    expect(await sorted()).not.toMatch(/\ba\b/);
    expect(await Promise.all(names.map((name) => stickTo(run.url, name)))).toEqual(before);
    expect(await Promise.all(names.map((name) => stickTo(run.url, `new ${name}`)))).not.toContain("a");
    expect(JSON.parse(await paste(status)).backends[0]).toMatchObject({ id: "a", admits: "sticky" });

    await paste(undrain);
    await expect.poll(sorted, SOON).toBe("a a a b c spare");

    await paste(remove);
    await expect.poll(sorted, SOON).not.toContain("spare");
    expect(JSON.parse(await paste(routes)).routes).toMatchObject([
      { id: "sticky" },
      { id: "session" },
      { id: "everything" },
    ]);
  });

  it("says that the port is taken, in one line", async () => {
    const { port } = new URL(run.url);
    const second = promisify(execFile)(process.execPath, ["test/local/start.ts", "--port", port], {
      cwd: ROOT,
    });
    await expect(second).rejects.toMatchObject({
      code: 1,
      stdout: "",
      stderr: `npm start: --port ${port} is taken; choose another one, 0…65535 (0: any free one)\n`,
    });
  });
});

it.skipIf(process.platform !== "linux")(
  "leaves nothing behind at Ctrl-C: no process, no port, no file",
  async () => {
    const run = await start("--port", "0");
    expect(await livingInGroup(run.process)).toContain("workerd");
    expect(await stop(run, "SIGINT")).toBe(0);
    expect(await livingInGroup(run.process)).toEqual([]);
    await listens(Number(new URL(run.url).port));
    expect(await readdir(run.temporary)).toEqual([]);
  },
);

it.skipIf(process.platform !== "linux")(
  "stops when npm's shell ends, which does not pass SIGTERM on",
  async () => {
    const run = await startUnderShell();
    run.process.kill("SIGTERM");
    await expect.poll(() => livingInGroup(run.process), SOON).toEqual([]);
    expect(await readdir(run.temporary)).toEqual([]);
  },
);

it("keeps pools, routes and backends with --persist", async () => {
  const persist = await makeFolder();
  const first = await start("--port", "0", "--persist", persist);
  await first.admin.do("PUT", "/pools/default/backends/mine", { url: "http://mine.example", weight: 0 });
  await first.admin.do("PATCH", "/pools/default/backends/b", { weight: 7 });
  await first.admin.do("DELETE", "/routes/sticky");
  expect(await stop(first, "SIGTERM")).toBe(0);

  const second = await start("--port", "0", "--persist", persist);
  const { body } = await second.admin.do("GET", "/pools/default/backends");
  expect(body.backends).toMatchObject([{ id: "a" }, { id: "b", weight: 7 }, { id: "c" }, { id: "mine" }]);
  expect((await second.admin.do("GET", "/routes")).body.routes).toMatchObject([
    { id: "session" },
    { id: "everything" },
  ]);
  const answers = await served(`curl -sS '${second.url}/?[1-9]'`);
  expect(answers.toSorted().join("")).toBe("abbbbbbbc");
  expect(await stop(second, "SIGTERM")).toBe(0);
});

it("puts the backends of this run right in a pool it finds, and takes samples out that no longer run", async () => {
  const edge = await startEdge({ bundle: inject("bundle") });
  onTestFinished(() => edge.stop());
  const admin = new AdminClient(edge.urls[0]);
  const made = await setUp(admin, [sample("a", 1), sample("b", 2), sample("c", 3)], "http://127.0.0.1:4");
  expect(made.isKept).toBe(false);
  await admin.do("PUT", "/pools/default/backends/spare", { url: "http://127.0.0.1:4" });
  await admin.do("DELETE", "/pools/default/backends/c");

  const again = [sample("a", 11), sample("b", 12), sample("c", 13)];
  expect(await setUp(admin, again, "http://127.0.0.1:14")).toMatchObject({
    isKept: true,
    backends: [
      { id: "a", url: "http://127.0.0.1:11" },
      { id: "b", url: "http://127.0.0.1:12" },
      { id: "spare", url: "http://127.0.0.1:14" },
      { id: "c", url: "http://127.0.0.1:13" },
    ],
  });

  const own = [{ id: "mine-80", url: "http://mine", weight: 5 }];
  expect(await setUp(admin, own, "http://127.0.0.1:24")).toMatchObject({
    backends: [
      { id: "spare", url: "http://127.0.0.1:24" },
      { id: "mine-80", weight: 5 },
    ],
  });
});
