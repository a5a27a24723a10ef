/** What the other end is told when one broke off, or said goodbye in a way that may not be repeated. */
const BROKEN = [1011, "the other side broke off"] as const;

/** Stands for a close frame without a code, and is never sent in one (RFC 6455 §7.4.1). */
const NO_CODE = 1005;

/** Headers of the backend's 101 that are for its hop only; the runtime makes the client's own. */
const HOP_ONLY = ["alt-svc", "connection", "sec-websocket-accept", "sec-websocket-extensions", "upgrade"];

/**
 * Answers with a WebSocket of our own and pumps messages between it and the backend's, so that its end is seen: one that
 * is passed through ends without a word. `onEnd` is called once, when the backend has closed or either side broke.
 *
 * There is no way to hold back a sender: what one side sends faster than the other reads is kept in memory.
 */
export function pumpWebSocket(response: Response, upstream: WebSocket, onEnd: () => void): Response {
  const [client, edge] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket];
  let isOver = false;
  const end = (): void => {
    if (!isOver) onEnd();
    isOver = true;
  };
  upstream.addEventListener("close", end);
  upstream.addEventListener("error", end);
  edge.addEventListener("close", ({ wasClean }) => {
    if (!wasClean) end();
  });
  edge.addEventListener("error", end);
  connect(upstream, edge);
  connect(edge, upstream);
  const headers = new Headers(response.headers);
  for (const name of HOP_ONLY) headers.delete(name);
  return new Response(null, { status: 101, webSocket: client, headers });
}

/**
 * Sends on what comes from one end. Half open: otherwise the runtime answers a close itself, before the other end has, and
 * what that one still says is lost.
 */
function connect(from: WebSocket, to: WebSocket): void {
  // As the `Blob` it is by default, a binary message would be sent on as the text `[object Blob]`.
  from.binaryType = "arraybuffer";
  from.addEventListener("message", ({ data }) => {
    if (to.readyState !== WebSocket.READY_STATE_CLOSED) to.send(data);
  });
  from.addEventListener("close", ({ code, reason }) => close(to, code, reason));
  from.addEventListener("error", () => to.close(...BROKEN));
  from.accept({ allowHalfOpen: true });
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
