import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  convertV4MiniflareOptions,
  Miniflare,
  type Request as MiniflareRequest,
  type Response as MiniflareResponse,
  NoOpLog,
} from "miniflare";
import { unstable_readConfig } from "wrangler";
import { OFFLINE, ROOT } from "./bundle.ts";

/** The operator token of local runs that choose none of their own. */
export const OPERATOR_TOKEN = "local-operator-token";

export interface EdgeOptions {
  /** Path of the built worker. */
  readonly bundle: string;
  /** Worker instances, each an isolate of its own, that share one ring. Default 1. */
  readonly instances?: number;
  /** Source of a main module that stands around the worker, which it imports as `./index.js`. Left out, there is none. */
  readonly around?: string;
  /** Variables beside those for local use. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Fetcher bindings by name, for backends reached through `via`: a request leads to what the function answers. */
  readonly services?: Readonly<Record<string, (request: MiniflareRequest) => MiniflareResponse>>;
  /** Folder that keeps the objects' state; left out, it goes with the process. */
  readonly persist?: string;
  /** Port of the first instance; left out, a free one. */
  readonly port?: number;
  /** Is told what the worker and its runtime log; left out, it goes to the console. */
  readonly onLog?: (line: string) => void;
}

/** The whole balancer in local workerd. */
export interface Edge {
  /** Base URL of each instance. On these sockets `MF-CF-Blob` sets `request.cf`. */
  readonly urls: readonly [string, ...string[]];
  readonly miniflare: Miniflare;
  stop(): Promise<void>;
}

/** Starts the built worker in workerd, configured from `wrangler.toml`. */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  Object.assign(process.env, OFFLINE);
  const config = unstable_readConfig({ config: join(ROOT, "wrangler.toml") }, { hideWarnings: true });
  const script = await readFile(options.bundle, "utf8");
  const { onLog, around } = options;
  const modules = [
    ...(around === undefined ? [] : [{ type: "ESModule" as const, path: "around.js", contents: around }]),
    { type: "ESModule" as const, path: "index.js", contents: script },
  ];
  const names = Array.from({ length: options.instances ?? 1 }, (_, index) => `edge-${index}`);
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      log: new NoOpLog(),
      ...(onLog === undefined
        ? {}
        : { handleStructuredLogs: ({ level, message }) => onLog(`${level}: ${message}`) }),
      ...(options.persist === undefined ? {} : { resourcePersistencePath: options.persist }),
      workers: names.map((name, index) => ({
        name,
        modules,
        modulesRoot: "/",
        compatibilityDate: config.compatibility_date ?? "",
        compatibilityFlags: config.compatibility_flags,
        bindings: {
          ...config.vars,
          OPERATOR_TOKENS: OPERATOR_TOKEN,
          ALLOW_PRIVATE_BACKENDS: "true",
          LOCAL_RUNTIME: "true",
          ...options.variables,
        },
        serviceBindings: { ...options.services },
        durableObjects: Object.fromEntries(
          config.durable_objects.bindings.map(
            ({ name: binding, class_name: className }: { name: string; class_name: string }) => [
              binding,
              index === 0
                ? { className, useSQLite: true }
                : { className, useSQLite: true, scriptName: names[0] },
            ],
          ),
        ),
        unsafeDirectSockets: [{ host: "127.0.0.1", port: index === 0 ? (options.port ?? 0) : 0 }],
      })),
    }),
  );
  await miniflare.ready;
  const [first, ...others] = await Promise.all(names.map((name) => miniflare.unsafeGetDirectURL(name)));
  if (first === undefined) throw new Error("no instance was started");
  return { urls: [origin(first), ...others.map(origin)], miniflare, stop: () => miniflare.dispose() };
}

function origin(url: URL): string {
  return url.origin;
}
