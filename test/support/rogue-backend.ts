import { ProcessBackend } from "./process-backend.ts";

/** How a backend can misbehave, and that it does not. The text after each says what a request meets. */
export const MOODS = {
  well: "an answer of how many bytes came and what they hash to",
  reset_headers: "a reset in the middle of the headers",
  reset_body: "a reset, or an end, in the middle of a long body or an event stream",
  garbage: "bytes that are no HTTP",
  drip_headers: "headers byte by byte, slower than anybody waits",
  drip_body: "the well answer in pieces, soon",
  hang: "silence",
  burst: "500, 502, 503 and 504",
  close: "the well answer, after which the connection is closed without a word of it",
  platform:
    "what the platform answers with for a backend it cannot reach: 52x, 530, 403 with error code 1003",
} as const;
export type Mood = keyof typeof MOODS;

/** Writes down the mood that each request met. */
const SOURCE = `
const { createServer } = require("node:http");
const { createHash } = require("node:crypto");
const { createInterface } = require("node:readline");
const [id, port] = process.argv.slice(1);
const LONG = 1_000_000;
let mood = "well";
let turn = 0;
createInterface({ input: process.stdin }).on("line", (line) => { mood = line; });

function drip(socket, text, everyMs) {
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < text.length && socket.writable) socket.write(text[sent++]);
    else clearInterval(timer);
  }, everyMs);
}

const meet = {
  well: (response, answer) => response.end(answer),
  reset_headers({ socket }) {
    socket.write("HTTP/1.1 200 OK\\r\\nContent-Length: 10\\r\\nX-Half: ye");
    setTimeout(() => socket.resetAndDestroy(), 5);
  },
  reset_body(response) {
    const { socket } = response;
    const way = turn++ % 4;
    response.writeHead(200, way % 2 === 0 ? { "content-length": LONG } : { "content-type": "text/event-stream" });
    response.write(Buffer.alloc(LONG / 4, "half "));
    setTimeout(() => (way < 2 ? socket.resetAndDestroy() : socket.destroy()), 20);
  },
  garbage({ socket }) {
    socket.end(Buffer.from("\\x16\\x03\\x01 this is no HTTP\\r\\n\\r\\n"));
  },
  drip_headers({ socket }) {
    drip(socket, "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n", 200);
  },
  drip_body(response, answer) {
    response.writeHead(200, { "content-length": answer.length });
    drip(response.socket, answer, 1);
  },
  hang() {},
  burst: (response) => response.writeHead([500, 502, 503, 504][turn++ % 4]).end("out of order"),
  close(response, answer) {
    response.end(answer, () => response.socket?.destroy());
  },
  platform(response) {
    const status = [520, 521, 522, 523, 524, 525, 526, 527, 530, 403][turn++ % 10];
    const body = status === 403 ? "error code: 1003" : "<!doctype html><title>" + status + "</title>";
    response.writeHead(status, { server: "cloudflare", "content-length": body.length }).end(body);
  },
};

createServer((request, response) => {
  const hash = createHash("sha256");
  let bytes = 0;
  request.on("error", () => {});
  request.on("data", (chunk) => { hash.update(chunk); bytes += chunk.length; });
  request.on("end", () => {
    process.stdout.write("order " + mood + "\\n");
    response.setHeader("x-backend", id);
    meet[mood](response, bytes + " " + hash.digest("hex"));
  });
}).listen(Number(port), "127.0.0.1", function () { process.stdout.write("port " + this.address().port + "\\n"); });
`;

/** A backend in a process of its own that misbehaves as it is told. `orders` are the moods that requests met. */
export class RogueBackend extends ProcessBackend {
  constructor(id: string) {
    super(id, SOURCE);
  }

  become(mood: Mood): void {
    this.tell(mood);
  }
}
