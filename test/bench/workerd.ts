import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { unstable_readConfig } from "wrangler";
import { ROOT } from "../support/bundle.ts";
import { Complaint } from "./complaint.ts";
import type { Child, Processes } from "./processes.ts";
import { CF_HEADER, SCHEME_HEADER } from "./requests.ts";

/** How long workerd may take to listen, milliseconds. */
const START_MS = 15_000;

/** A worker that answers on loopback, in a workerd process of its own. */
export interface RunningWorker {
  readonly pid: number;
  readonly port: number;
}

/** A worker to serve. */
export interface Worker {
  /** Names its folder. */
  readonly name: string;
  /** One ES module. */
  readonly source: string;
  readonly variables: Readonly<Record<string, string>>;
  /** Durable Object classes by the binding that leads to them. */
  readonly objects: Readonly<Record<string, string>>;
}

/** What `wrangler.toml` says that a local run needs too. */
export interface WorkerConfig {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
  /** Durable Object classes by binding. */
  readonly objects: Readonly<Record<string, string>>;
}

/** The runtime that wrangler brings. */
export interface Runtime {
  readonly binary: string;
  readonly version: string;
}

/** Finds the runtime the way wrangler does, so that everything in the tree is measured in the one it is tested in. */
export function findRuntime(): Runtime {
  const fromHere = createRequire(import.meta.url);
  const fromWrangler = createRequire(fromHere.resolve("wrangler"));
  const { default: binary, version } = fromWrangler("workerd") as {
    readonly default: string;
    readonly version: string;
  };
  return { binary, version };
}

/** Reads `wrangler.toml`. */
export function readWorkerConfig(): WorkerConfig {
  const config = unstable_readConfig({ config: join(ROOT, "wrangler.toml") }, { hideWarnings: true });
  const bindings: readonly { readonly name: string; readonly class_name: string }[] =
    config.durable_objects.bindings;
  return {
    compatibilityDate: config.compatibility_date ?? "",
    compatibilityFlags: config.compatibility_flags,
    variables: Object.fromEntries(Object.entries(config.vars).map(([name, value]) => [name, String(value)])),
    objects: Object.fromEntries(bindings.map(({ name, class_name: className }) => [name, className])),
  };
}

/** Where and how workers are served. */
export interface Serving {
  readonly runtime: Runtime;
  readonly config: WorkerConfig;
  readonly folder: string;
  readonly core: number | null;
}

/** Serves a worker in raw `workerd serve`. Anything in front of that, such as Miniflare, would measure itself. */
export async function serveWorker(
  processes: Processes,
  serving: Serving,
  worker: Worker,
): Promise<RunningWorker> {
  const folder = join(serving.folder, worker.name);
  const objects = join(folder, "objects");
  await mkdir(objects, { recursive: true });
  await writeFile(join(folder, "worker.js"), worker.source);
  const config = join(folder, "config.capnp");
  await writeFile(config, workerdConfig(worker, serving.config, objects));
  const child = processes.start({
    program: serving.runtime.binary,
    args: ["serve", "--control-fd=3", config],
    core: serving.core,
  });
  return { pid: child.pid, port: await listeningPort(child) };
}

/** The configuration, with a folder for the objects' storage: workerd keeps SQL on disk only. */
function workerdConfig(worker: Worker, config: WorkerConfig, objects: string): string {
  const bindings = [
    ...Object.entries(worker.variables).map(
      ([name, value]) => `(name = ${text(name)}, text = ${text(value)})`,
    ),
    ...Object.entries(worker.objects).map(
      ([name, className]) => `(name = ${text(name)}, durableObjectNamespace = ${text(className)})`,
    ),
  ];
  const namespaces = Object.values(worker.objects).map(
    (className) => `(className = ${text(className)}, uniqueKey = ${text(className)}, enableSql = true)`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"])),
    (name = "objects", disk = (path = ${text(objects)}, writable = true)),
  ],
  sockets = [
    ( name = "http",
      address = "127.0.0.1:0",
      http = (cfBlobHeader = ${text(CF_HEADER)}, forwardedProtoHeader = ${text(SCHEME_HEADER)}),
      service = "worker" ),
  ],
);

const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${text(config.compatibilityDate)},
  compatibilityFlags = [${config.compatibilityFlags.map(text).join(", ")}],
  bindings = [${bindings.join(", ")}],
  durableObjectNamespaces = [${namespaces.join(", ")}],
  durableObjectStorage = (localDisk = "objects"),
);
`;
}

/** A literal of the configuration language; for plain text it looks as in JSON. */
function text(value: string): string {
  return JSON.stringify(value);
}

/** Waits until workerd says on which port it listens. */
async function listeningPort(child: Child): Promise<number> {
  const port = await Promise.race([readPort(child), sleep(START_MS, null, { ref: false })]);
  if (port === null) throw new Complaint(child.explain(`not listening after ${START_MS} ms`));
  return port;
}

async function readPort(child: Child): Promise<number> {
  for await (const line of createInterface(child.control)) {
    const message = JSON.parse(line) as { readonly event?: unknown; readonly port?: unknown };
    if (message.event === "listen" && typeof message.port === "number") return message.port;
  }
  // It closed the pipe without a word, so it is about to end, and that is noticed elsewhere.
  return new Promise(() => {});
}
