import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

/**
 * What the process runs: it answers `/` at once, `/download?ms=N` with a megabyte in so many milliseconds, `/endless?ms=N` with
 * the same but without saying how long it is, and echoes short text messages of WebSockets (RFC 6455 §5.2: one frame of up to 125
 * bytes each).
 */
const SOURCE = `
const { createServer } = require("node:http");
const { createHash } = require("node:crypto");
const [id, port] = process.argv.slice(1);
const CHUNKS = 64;
const chunk = Buffer.alloc(2 ** 20 / CHUNKS, id);
const server = createServer((request, response) => {
  const url = new URL(request.url, "http://backend");
  response.setHeader("x-backend", id);
  if (url.pathname === "/download") response.setHeader("content-length", chunk.length * CHUNKS);
  else if (url.pathname === "/endless") response.setHeader("content-type", "application/octet-stream");
  else return response.end(id);
  let sent = 0;
  const timer = setInterval(() => {
    response.write(chunk);
    if (++sent === CHUNKS) { clearInterval(timer); response.end(); }
  }, Number(url.searchParams.get("ms")) / CHUNKS);
});
server.on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = createHash("sha1").update(key).digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: upgrade\\r\\nx-backend: " + id
    + "\\r\\nsec-websocket-accept: " + accept + "\\r\\n\\r\\n");
  let unread = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (data) => {
    unread = Buffer.concat([unread, data]);
    while (unread.length >= 6) {
      const length = unread[1] & 127;
      if (unread.length < 6 + length) return;
      const mask = unread.subarray(2, 6);
      const payload = unread.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]);
      socket.write(Buffer.concat([Buffer.from([unread[0], length]), payload]));
      const isClose = (unread[0] & 15) === 8;
      unread = unread.subarray(6 + length);
      if (isClose) return socket.end();
    }
  });
});
server.listen(Number(port), "127.0.0.1", function () { process.stdout.write("port " + this.address().port + "\\n"); });
`;

/** A real backend in a process of its own, with answers that take their time. */
export class LongBackend {
  readonly id: string;
  readonly url: string;
  readonly #process: ChildProcess;

  private constructor(id: string, url: string, process: ChildProcess) {
    this.id = id;
    this.url = url;
    this.#process = process;
  }

  static async start(id: string): Promise<LongBackend> {
    const started = spawn(process.execPath, ["-e", SOURCE, id, "0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(started.stdout, "data")) as [Buffer];
    const port = /^port (\d+)/.exec(line.toString())?.[1];
    return new LongBackend(id, `http://127.0.0.1:${port}`, started);
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const over = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await over;
  }
}
