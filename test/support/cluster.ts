import { Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { onTestFinished } from "vitest";
import { AdminClient } from "./admin.ts";
import { type Backend, startBackend } from "./backend.ts";
import { type Edge, type EdgeOptions, startEdge } from "./edge.ts";

/** Longest wait for something that only polling can tell, milliseconds. */
const PATIENCE_MS = 15_000;

/** What a request brings; everything has a default. */
export interface Ask {
  /** Index of the worker instance. Default 0. */
  readonly instance?: number;
  /** Names the client's connection: its `tlsClientRandom`. Default none. */
  readonly connection?: string;
  readonly path?: string;
  readonly host?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Who answered, and what. */
export interface Answer {
  readonly status: number;
  /** The backend's id; null when we answered ourselves. */
  readonly backend: string | null;
  readonly body: string;
  /** Of the response. */
  readonly headers: IncomingHttpHeaders;
}

export interface ClusterOptions extends EdgeOptions {
  /** Ids of the backends to start. */
  readonly backends: readonly string[];
}

/** Backends on loopback behind one or several instances of the worker. */
export class Cluster {
  readonly edge: Edge;
  readonly admin: AdminClient;
  readonly #backends: ReadonlyMap<string, Backend>;
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(edge: Edge, backends: readonly Backend[]) {
    this.edge = edge;
    this.admin = new AdminClient(edge.urls[0]);
    this.#backends = new Map(backends.map((backend) => [backend.id, backend]));
  }

  /** Starts everything; whoever asked for it stops it. */
  static async launch({ backends: ids, ...options }: ClusterOptions): Promise<Cluster> {
    const backends = await Promise.all(ids.map((id) => startBackend(id)));
    return new Cluster(await startEdge(options), backends);
  }

  /** Starts everything; the running test stops it when it is over. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = await Cluster.launch(options);
    onTestFinished(() => cluster.stop());
    return cluster;
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    await this.edge.stop();
    await Promise.all([...this.#backends.values()].map((backend) => backend.stop()));
  }

  /** A backend as the admin API takes it. */
  backend(id: string, weight = 1): { readonly id: string; readonly url: string; readonly weight: number } {
    const backend = this.#backends.get(id);
    if (backend === undefined) throw new Error(`no backend ${id} was started`);
    return { id, url: backend.url, weight };
  }

  /** A backend's process is gone: connections to it are refused. */
  async stopBackend(id: string): Promise<void> {
    await this.#backends.get(id)?.stop();
  }

  /** Puts a pool of these backends. */
  async putPool(name: string, ids: readonly string[], config: object = {}): Promise<void> {
    const backends = ids.map((id) => this.backend(id));
    await this.admin.do("PUT", `/pools/${name}`, { ...config, backends });
  }

  /** Sends one request. */
  ask({
    instance = 0,
    connection,
    path = "/",
    host,
    method = "GET",
    headers = {},
  }: Ask = {}): Promise<Answer> {
    const base = this.edge.urls[instance];
    if (base === undefined) throw new Error(`there is no instance ${instance}`);
    const cf =
      connection === undefined ? {} : { "MF-CF-Blob": JSON.stringify({ tlsClientRandom: connection }) };
    const sent = { ...cf, ...(host === undefined ? {} : { host }), ...headers };
    return new Promise((resolve, reject) => {
      const request = httpRequest(base + path, { agent: this.#agent, method, headers: sent }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const backend = response.headers["x-backend"];
          resolve({
            status: response.statusCode ?? 0,
            backend: typeof backend === "string" ? backend : null,
            body: Buffer.concat(chunks).toString(),
            headers: response.headers,
          });
        });
      });
      request.on("error", reject);
      request.end();
    });
  }

  /** Which backend each connection gets, asked 32 at a time. */
  async placements(asking: readonly string[], ask: Ask = {}): Promise<ReadonlyMap<string, string | null>> {
    const placed = new Map<string, string | null>();
    const queue = [...asking];
    const work = async (): Promise<void> => {
      for (let connection = queue.pop(); connection !== undefined; connection = queue.pop()) {
        placed.set(connection, (await this.ask({ ...ask, connection })).backend);
      }
    };
    await Promise.all(Array.from({ length: 32 }, work));
    return placed;
  }

  /** Waits, under traffic to every instance, until the ring says that the present version of a pool governs. */
  async converge(pool = "default", path = "/"): Promise<void> {
    const instances = this.edge.urls.map((_, instance) => instance);
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      await Promise.all(instances.map((instance) => this.ask({ instance, path, connection: "converging" })));
      const { body } = await this.admin.do("GET", `/pools/${pool}/status`);
      if (body.convergence.governsAtMs === null) return;
      if (Date.now() > deadline) throw new Error(`no convergence: ${JSON.stringify(body.convergence)}`);
    }
  }
}

/** `count` names of connections. */
export function connections(count: number, prefix = "connection"): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}

/** The keys whose value differs between two maps. */
export function moved<Value>(
  before: ReadonlyMap<string, Value>,
  after: ReadonlyMap<string, Value>,
): readonly string[] {
  return [...before.keys()].filter((key) => before.get(key) !== after.get(key));
}
