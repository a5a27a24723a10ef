import { type ChildProcess, spawn } from "node:child_process";
import { basename } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "./complaint.ts";

/** A process that is asked to end and does not is killed after so long, milliseconds. */
const GRACE_MS = 3_000;

/** How much of what a process writes is kept, characters. */
const KEPT_LENGTH = 4_000;

/** What to run, and where. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  /** The core it runs on; null: where this process does. */
  readonly core: number | null;
}

/** Everything this benchmark has started. All of it ends with the benchmark, by process id. */
export class Processes {
  /** Rejects with a Complaint as soon as a process that should stay has gone. */
  readonly broken: Promise<never>;
  readonly #break: (complaint: Complaint) => void;
  readonly #running = new Set<Child>();
  #isOver = false;

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>();
    this.broken = promise;
    this.#break = reject;
    // The last resort, for an exit that ran no teardown.
    process.on("exit", () => {
      for (const child of this.#running) child.kill();
    });
  }

  /** Starts a process that stays. */
  start(command: Command): Child {
    const child = this.#launch(command);
    void child.ended.then((end) => {
      if (!this.#isOver) this.#break(new Complaint(child.explain(end)));
    });
    return child;
  }

  /**
   * Runs a process to its end and answers with what it wrote to standard output, which must be short.
   *
   * @throws Complaint when it fails or takes longer than `timeoutMs`.
   */
  async run(command: Command, timeoutMs: number): Promise<string> {
    const child = this.#launch(command);
    const timer = setTimeout(() => child.kill(), timeoutMs);
    const end = await child.ended;
    clearTimeout(timer);
    if (end !== "exit code 0") throw new Complaint(child.explain(end));
    return child.output;
  }

  /** Ends everything, and starts nothing any more. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#running].map((child) => child.stop()));
  }

  #launch(command: Command): Child {
    if (this.#isOver) throw new Complaint("the benchmark is being stopped");
    const child = new Child(command);
    this.#running.add(child);
    void child.ended.then(() => this.#running.delete(child));
    return child;
  }
}

/** One process. */
export class Child {
  /** Resolves once it is gone, to how it went: `exit code 0`, `signal SIGTERM`, or why it never came. */
  readonly ended: Promise<string>;
  readonly #name: string;
  readonly #process: ChildProcess;
  #output = "";
  #errors = "";

  constructor({ program, args, core }: Command) {
    // taskset becomes the program, so the process id stays the one we know.
    const [file, ...rest] =
      core === null ? [program, ...args] : ["taskset", "-c", String(core), program, ...args];
    this.#name = basename(program);
    this.#process = spawn(file, rest, { stdio: ["ignore", "pipe", "pipe", "pipe"], env: toolEnvironment() });
    this.#process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output = (this.#output + text).slice(-KEPT_LENGTH);
    });
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-KEPT_LENGTH);
    });
    this.ended = new Promise((resolve) => {
      this.#process.once("error", (error) => resolve(error.message));
      this.#process.once("close", (code, signal) =>
        resolve(signal === null ? `exit code ${code}` : `signal ${signal}`),
      );
    });
  }

  get pid(): number {
    const { pid } = this.#process;
    if (pid === undefined) throw new Complaint(this.explain("it could not be started"));
    return pid;
  }

  /** The end of what it wrote to standard output. */
  get output(): string {
    return this.#output;
  }

  /** What it writes to file descriptor 3. */
  get control(): Readable {
    return this.#process.stdio[3] as Readable;
  }

  /** Says how it ended, with its last words. */
  explain(end: string): string {
    const words = `${this.#output}\n${this.#errors}`.trim();
    return `${this.#name}: ${end}${words === "" ? "" : `\n${words}`}`;
  }

  /** Asks it to end, and sees to it. */
  async stop(): Promise<void> {
    this.#process.kill("SIGTERM");
    const isGone = await Promise.race([this.ended.then(() => true), sleep(GRACE_MS, false, { ref: false })]);
    if (!isGone) this.kill();
    await this.ended;
  }

  /** Ends it at once. */
  kill(): void {
    this.#process.kill("SIGKILL");
  }
}

/** Debian keeps nginx where only root's PATH looks. */
export function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin` };
}
