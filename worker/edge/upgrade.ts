/** Close codes that only the runtime may use (RFC 6455 §7.4.1); they are never sent in a frame. */
const NOT_SENDABLE = new Set([1004, 1005, 1006, 1015]);

/** An end went away without a close frame, so the other is told that something broke. */
const BROKEN = 1011;

/**
 * Answers with a WebSocket of our own and pumps messages between it and the backend's, so that its end is seen: one that
 * is passed through ends without a word. `onEnd` is called once, when both sides are closed or one broke.
 */
export function pumpWebSocket(response: Response, upstream: WebSocket, onEnd: () => void): Response {
  const [client, edge] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket];
  let isOver = false;
  const end = (): void => {
    if (!isOver) onEnd();
    isOver = true;
  };
  connect(upstream, edge, end);
  connect(edge, upstream, end);
  upstream.accept();
  edge.accept();
  const protocol = response.headers.get("sec-websocket-protocol");
  const headers = new Headers(protocol === null ? {} : { "sec-websocket-protocol": protocol });
  return new Response(null, { status: 101, webSocket: client, headers });
}

function connect(from: WebSocket, to: WebSocket, end: () => void): void {
  from.addEventListener("message", ({ data }) => {
    if (to.readyState === WebSocket.READY_STATE_OPEN) to.send(data);
  });
  from.addEventListener("close", ({ code, reason }) => {
    close(to, code, reason);
    end();
  });
  from.addEventListener("error", () => {
    close(to, BROKEN, "the other side broke off");
    end();
  });
}

function close(socket: WebSocket, code: number, reason: string): void {
  if (socket.readyState !== WebSocket.READY_STATE_OPEN) return;
  if (code === 1006) socket.close(BROKEN, "the other side broke off");
  else if (NOT_SENDABLE.has(code)) socket.close();
  else socket.close(code, reason);
}
