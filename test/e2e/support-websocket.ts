import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type Header, open, pairs } from "./support-client.ts";

/** What arrives at one end. `close` carries no code when its frame had none; `ended`: the connection is gone. */
export type Arrival =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "binary"; readonly bytes: Buffer }
  | { readonly kind: "close"; readonly code: number | null; readonly reason: string }
  | { readonly kind: "ended" };

const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/**
 * One end of a WebSocket (RFC 6455), spoken by hand, so that a test can end it in every way there is. A close frame is
 * answered with its own code, as §5.5.1 asks; nothing else is done unasked.
 */
export class WebSocketEnd {
  /** False: leaves the other side waiting for its close frame to be answered. */
  answersClose = true;
  readonly #socket: Socket;
  readonly #masks: boolean;
  readonly #arrived: Arrival[] = [];
  readonly #waiting: ((arrival: Arrival) => void)[] = [];
  #unread: Buffer;
  #message: { readonly opcode: number; readonly parts: Buffer[] } | null = null;
  #hasClosed = false;
  #hasEnded = false;

  constructor(socket: Socket, head: Buffer, side: "client" | "server") {
    this.#socket = socket;
    this.#masks = side === "client";
    this.#unread = head;
    socket.setTimeout(0);
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
      this.#readFrames();
    });
    socket.on("end", () => socket.end());
    socket.on("error", () => {});
    socket.on("close", () => this.#end());
    this.#readFrames();
  }

  /** What arrives next, or has arrived and was not yet looked at. */
  next(): Promise<Arrival> {
    const arrival = this.#arrived.shift();
    if (arrival !== undefined) return Promise.resolve(arrival);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  send(data: string | Buffer): void {
    const opcode = typeof data === "string" ? OPCODES.text : OPCODES.binary;
    this.#socket.write(this.#frame(opcode, Buffer.from(data)));
  }

  /** Begins to close; without a code the frame is empty. */
  close(code?: number, reason: string | Buffer = ""): void {
    const payload = Buffer.alloc(code === undefined ? 0 : 2);
    if (code !== undefined) payload.writeUInt16BE(code);
    this.#close(Buffer.concat([payload, Buffer.from(reason)]));
  }

  /** Ends the connection without a word of the protocol. */
  hangUp(): void {
    this.#socket.end();
  }

  /** Breaks the connection: the other side gets a TCP reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #close(payload: Buffer): void {
    if (this.#hasClosed) return;
    this.#hasClosed = true;
    this.#socket.write(this.#frame(OPCODES.close, payload));
  }

  #arrive(arrival: Arrival): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#arrived.push(arrival);
    else waiting(arrival);
  }

  #end(): void {
    if (!this.#hasEnded) this.#arrive({ kind: "ended" });
    this.#hasEnded = true;
  }

  #readFrames(): void {
    for (let frame = this.#takeFrame(); frame !== null; frame = this.#takeFrame()) this.#read(frame);
  }

  #read({ isLast, opcode, payload }: Frame): void {
    if (opcode === OPCODES.close) {
      const code = payload.length < 2 ? null : payload.readUInt16BE();
      this.#arrive({ kind: "close", code, reason: payload.subarray(2).toString() });
      if (!this.answersClose) return;
      this.#close(payload);
      if (!this.#masks) this.#socket.end();
      return;
    }
    if (opcode === OPCODES.ping) {
      this.#socket.write(this.#frame(OPCODES.pong, payload));
      return;
    }
    if (opcode === OPCODES.pong) return;
    this.#message = opcode === OPCODES.continuation ? this.#message : { opcode, parts: [] };
    if (this.#message === null) throw new Error("a continuation frame continues nothing");
    this.#message.parts.push(payload);
    if (!isLast) return;
    const bytes = Buffer.concat(this.#message.parts);
    const isText = this.#message.opcode === OPCODES.text;
    this.#message = null;
    this.#arrive(isText ? { kind: "text", text: bytes.toString() } : { kind: "binary", bytes });
  }

  #takeFrame(): Frame | null {
    const unread = this.#unread;
    if (unread.length < 2) return null;
    const [first = 0, second = 0] = unread;
    const short = second & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const maskAt = 2 + lengthBytes;
    const isMasked = (second & 0x80) !== 0;
    const payloadAt = maskAt + (isMasked ? 4 : 0);
    if (unread.length < payloadAt) return null;
    const length =
      lengthBytes === 0
        ? short
        : lengthBytes === 2
          ? unread.readUInt16BE(2)
          : Number(unread.readBigUInt64BE(2));
    if (unread.length < payloadAt + length) return null;
    const payload = Buffer.from(unread.subarray(payloadAt, payloadAt + length));
    this.#unread = unread.subarray(payloadAt + length);
    return {
      isLast: (first & 0x80) !== 0,
      opcode: first & 0x0f,
      payload: isMasked ? masked(payload, unread.subarray(maskAt, payloadAt)) : payload,
    };
  }

  #frame(opcode: number, payload: Buffer): Buffer {
    const { length } = payload;
    const short = length < 126 ? length : length < 65_536 ? 126 : 127;
    const head = Buffer.alloc(short === 126 ? 4 : short === 127 ? 10 : 2);
    head[0] = 0x80 | opcode;
    head[1] = (this.#masks ? 0x80 : 0) | short;
    if (short === 126) head.writeUInt16BE(length, 2);
    if (short === 127) head.writeBigUInt64BE(BigInt(length), 2);
    if (!this.#masks) return Buffer.concat([head, payload]);
    const mask = randomBytes(4);
    return Buffer.concat([head, mask, masked(payload, mask)]);
  }
}

interface Frame {
  readonly isLast: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

function masked(payload: Buffer, mask: Buffer): Buffer {
  return payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0)) as Buffer;
}

/** The server's half of the handshake (RFC 6455 §4.2.2): agrees, and is one end from then on. */
export function agree(
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
  headers: readonly Header[] = [],
): WebSocketEnd {
  const key = request.headers["sec-websocket-key"] ?? "";
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${accept}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  return new WebSocketEnd(socket, head, "server");
}

/** A WebSocket that the other side agreed to. */
export interface Opened {
  readonly end: WebSocketEnd;
  /** Of the 101 response. */
  readonly headers: readonly Header[];
}

/** The client's half of the handshake. Rejects when the answer is an ordinary response. */
export function openWebSocket(
  edgeUrl: string,
  host: string,
  headers: readonly Header[] = [],
  path = "/",
): Promise<Opened> {
  const request = open(edgeUrl, host, {
    path,
    headers: [
      ["Connection", "Upgrade"],
      ["Upgrade", "websocket"],
      ["Sec-WebSocket-Version", "13"],
      ["Sec-WebSocket-Key", randomBytes(16).toString("base64")],
      ...headers,
    ],
  });
  return new Promise((resolve, reject) => {
    request.once("upgrade", (response, socket, head) =>
      resolve({
        end: new WebSocketEnd(socket, head, "client"),
        headers: pairs(response.rawHeaders),
      }),
    );
    request.once("response", (response) => reject(new Error(`status ${response.statusCode}`)));
    request.once("error", reject);
    request.end();
  });
}
