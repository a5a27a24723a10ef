import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "./complaint.ts";
import type { Processes } from "./processes.ts";

const IDS = ["a", "b", "c"];

/** How long the backends may take to listen, milliseconds. */
const START_MS = 5_000;

/** How often that is looked at, milliseconds. */
const LOOK_MS = 50;

/** A backend that answers with files. */
export interface StaticBackend {
  readonly id: string;
  readonly url: string;
}

/**
 * Starts backends that answer with files of the sizes asked for: one nginx on three ports, far cheaper than Node, on the
 * core this process is on.
 */
export async function startBackends(
  processes: Processes,
  folder: string,
  sizes: readonly number[],
): Promise<readonly [StaticBackend, ...StaticBackend[]]> {
  const bodies = join(folder, "bodies");
  await mkdir(bodies);
  await Promise.all(sizes.map((size) => writeFile(join(bodies, String(size)), bodyOf(size))));
  const ports = await freePorts(IDS.length);
  const config = join(folder, "nginx.conf");
  await writeFile(config, nginxConfig(folder, ports));
  processes.start({ program: "nginx", args: ["-e", "stderr", "-p", folder, "-c", config], core: null });
  await Promise.all(ports.map(waitUntilOpen));
  const [first, ...others] = ports.map((port, index) => ({
    id: IDS[index] ?? "",
    url: `http://127.0.0.1:${port}`,
  }));
  if (first === undefined) throw new Error("no backend was started");
  return [first, ...others];
}

/** One process and no log; a connection is kept for as long as the benchmark may run. */
function nginxConfig(folder: string, ports: readonly number[]): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  error_log stderr error;
${temporary.map((kind) => `  ${kind}_temp_path ${kind};`).join("\n")}
  default_type text/plain;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 1d;
  keepalive_time 1d;
  keepalive_requests 1000000000;
  open_file_cache max=100 inactive=1d;
  open_file_cache_valid 1d;
  server {
${ports.map((port) => `    listen 127.0.0.1:${port};`).join("\n")}
    root "${folder}";
  }
}
`;
}

/** Text that looks like text, in case something on the way looks. */
function bodyOf(bytes: number): string {
  const line = "The quick brown fox jumps over the lazy dog and goes round again.\n";
  return line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes);
}

/** Ports that are free now. Somebody might take one before it is used; then the start fails and says so. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

async function waitUntilOpen(port: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < START_MS; waitedMs += LOOK_MS) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (isOpen) return;
    await sleep(LOOK_MS);
  }
  throw new Complaint(`nginx does not listen on port ${port} after ${START_MS} ms`);
}
