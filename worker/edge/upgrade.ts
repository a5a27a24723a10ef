import { after, type EpochMs } from "../../durable/model/time.ts";
import { clock } from "./leased.ts";
import { type Keeper, Vigil, type Watched } from "./vigil.ts";

/** What the other end is told when one broke off, or said goodbye in a way that may not be repeated. */
const BROKEN = [1011, "the other side broke off"] as const;

/** What both ends are told when we close: RFC 6455 §7.4.1 has 1001 for an endpoint that goes away. */
const IDLE = [1001, "idle for too long"] as const;
const ASIDE = [1001, "the server is taken out of service"] as const;

/** How long a backend may take to answer a close, ours or its client's, before nobody waits for it any more, milliseconds. */
const GRACE_MS = 5_000;

/** Stands for a close frame without a code, and is never sent in one (RFC 6455 §7.4.1). */
const NO_CODE = 1005;

/** Headers of the backend's 101 that are for its hop only; the runtime makes the client's own. */
const HOP_ONLY = ["alt-svc", "connection", "sec-websocket-accept", "sec-websocket-extensions", "upgrade"];

/** What a WebSocket is pumped for. */
export interface Pumping {
  readonly passage: Keeper;
  readonly pool: Watched;
  /** How long both ends may be silent, milliseconds; null: for ever. */
  readonly idleTimeoutMs: number | null;
  /** Whether its backend is to have no socket any more. */
  mustClose(): boolean;
  /** Called once, when the backend has closed or either side broke. */
  onEnd(): void;
}

/**
 * Answers with a WebSocket of our own and pumps messages between it and the backend's, so that its end is seen: one that
 * is passed through ends without a word.
 *
 * There is no way to hold back a sender: what one side sends faster than the other reads is kept in memory.
 */
export function pumpWebSocket(response: Response, upstream: WebSocket, pumping: Pumping): Response {
  const [client, edge] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket];
  new Pump(upstream, edge, pumping).start();
  const headers = new Headers(response.headers);
  for (const name of HOP_ONLY) headers.delete(name);
  return new Response(null, { status: 101, webSocket: client, headers });
}

class Pump {
  readonly #upstream: WebSocket;
  readonly #edge: WebSocket;
  readonly #pumping: Pumping;
  readonly #vigil: Vigil;
  /** When the last message came. */
  #heardMs = clock();
  /** When the backend was told to close; null: it was not. */
  #closedMs: EpochMs | null = null;
  /** It was we who closed both ends, and what still comes from either is for nobody. */
  #isClosed = false;
  #isOver = false;

  constructor(upstream: WebSocket, edge: WebSocket, pumping: Pumping) {
    this.#upstream = upstream;
    this.#edge = edge;
    this.#pumping = pumping;
    this.#vigil = new Vigil(pumping.passage, pumping.pool, (nowMs) => this.#look(nowMs));
  }

  start(): void {
    const end = (): void => this.#end();
    this.#upstream.addEventListener("close", end);
    this.#upstream.addEventListener("error", end);
    this.#edge.addEventListener("close", ({ wasClean }) => {
      if (!wasClean) end();
      else this.#awaitClose();
    });
    this.#edge.addEventListener("error", end);
    this.#connect(this.#upstream, this.#edge);
    this.#connect(this.#edge, this.#upstream);
  }

  /**
   * Sends on what comes from one end. Half open: otherwise the runtime answers a close itself, before the other end has, and
   * what that one still says is lost.
   */
  #connect(from: WebSocket, to: WebSocket): void {
    // As the `Blob` it is by default, a binary message would be sent on as the text `[object Blob]`.
    from.binaryType = "arraybuffer";
    from.addEventListener("message", ({ data }) => {
      this.#heardMs = clock();
      if (!this.#isClosed && to.readyState !== WebSocket.READY_STATE_CLOSED) to.send(data);
    });
    from.addEventListener("close", ({ code, reason }) => close(to, code, reason));
    from.addEventListener("error", () => to.close(...BROKEN));
    from.accept({ allowHalfOpen: true });
  }

  #look(nowMs: EpochMs): number {
    const { idleTimeoutMs } = this.#pumping;
    if (this.#closedMs !== null) {
      const restMs = after(this.#closedMs, GRACE_MS) - nowMs;
      if (restMs <= 0) this.#forsake();
      return restMs;
    }
    if (this.#pumping.mustClose()) return this.#close(ASIDE, nowMs);
    if (idleTimeoutMs === null) return Number.POSITIVE_INFINITY;
    const restMs = after(this.#heardMs, idleTimeoutMs) - nowMs;
    return restMs > 0 ? restMs : this.#close(IDLE, nowMs);
  }

  /** The client has closed, and the backend was told: what it still says goes to the client, until it closes too. */
  #awaitClose(): void {
    if (this.#closedMs !== null || this.#isOver) return;
    this.#closedMs = clock();
    this.#vigil.call();
  }

  #close(why: readonly [code: number, reason: string], nowMs: EpochMs): number {
    this.#closedMs = nowMs;
    this.#isClosed = true;
    close(this.#upstream, ...why);
    close(this.#edge, ...why);
    return GRACE_MS;
  }

  /** It has not answered the close: its client gets an answer all the same. */
  #forsake(): void {
    if (!this.#isClosed) close(this.#edge, ...BROKEN);
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#vigil.end();
    this.#pumping.onEnd();
  }
}

function close(socket: WebSocket, code: number, reason: string): void {
  try {
    if (code === NO_CODE) socket.close();
    else socket.close(code, reason);
  } catch {
    // A code that says the connection broke, or one an unruly peer made up, or a reason grown too long by decoding.
    socket.close(...BROKEN);
  }
}
