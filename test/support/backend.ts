import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A real HTTP backend on loopback. */
export interface Backend {
  readonly id: string;
  readonly url: string;
  readonly server: Server;
  stop(): Promise<void>;
}

/** Starts a backend that says who it is, or that answers as `handle` does. */
export async function startBackend(
  id: string,
  handle: (request: IncomingMessage, response: ServerResponse) => void = sayWho(id),
  port = 0,
): Promise<Backend> {
  const server = createServer(handle);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    id,
    url: `http://127.0.0.1:${bound}`,
    server,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers every request with who served it and what arrived. */
function sayWho(id: string): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    request.resume();
    response.setHeader("content-type", "application/json");
    response.setHeader("x-backend", id);
    const { method, url, headers } = request;
    response.end(`${JSON.stringify({ backend: id, method, path: url, headers })}\n`);
  };
}
