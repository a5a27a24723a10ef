import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

/** What the process runs: it says who it is, reads what it gets, and writes down every method and body it has carried out. */
const SOURCE = `
const { createServer } = require("node:http");
const { createHash } = require("node:crypto");
const [id, port] = process.argv.slice(1);
createServer((request, response) => {
  const hash = createHash("sha256");
  let bytes = 0;
  request.on("data", (chunk) => { hash.update(chunk); bytes += chunk.length; });
  request.on("end", () => {
    const order = request.headers["x-order"];
    if (order !== undefined) process.stdout.write("order " + order + "\\n");
    response.setHeader("x-backend", id);
    response.end(bytes + " " + hash.digest("hex"));
  });
}).listen(Number(port), "127.0.0.1", function () { process.stdout.write("port " + this.address().port + "\\n"); });
`;

/** A real HTTP backend in a process of its own, that can be killed, paused and started again where it was. */
export class ProcessBackend {
  readonly id: string;
  /** What it was asked to carry out, and did, by every process it has been. */
  readonly orders: string[] = [];
  readonly #source: string;
  #port = 0;
  #process: ChildProcess | null = null;

  /** `source`: what the process runs instead, with its id and port as arguments. */
  constructor(id: string, source = SOURCE) {
    this.id = id;
    this.#source = source;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get isRunning(): boolean {
    return this.#process !== null;
  }

  /** Starts it, on the same port as before. */
  async start(): Promise<void> {
    const started = spawn(process.execPath, ["-e", this.#source, this.id, String(this.#port)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#process = started;
    const listening = Promise.withResolvers<void>();
    let rest = "";
    started.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const [word, value = ""] = line.split(" ");
        if (word === "order") this.orders.push(value);
        else {
          this.#port = Number(value);
          listening.resolve();
        }
      }
    });
    await listening.promise;
  }

  /** Sends its process a line. */
  tell(line: string): void {
    this.#process?.stdin?.write(`${line}\n`);
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    const ended = this.#process;
    this.#process = null;
    if (ended === null || ended.exitCode !== null || ended.signalCode !== null) return;
    const over = once(ended, "exit");
    ended.kill("SIGKILL");
    await over;
  }

  /** It accepts connections, and answers nothing. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }
}
