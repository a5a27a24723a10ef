import { once } from "node:events";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { afterAll, beforeAll, inject } from "vitest";
import type { BackendStatus, PoolStatus } from "../../durable/model/view.ts";
import { AdminClient } from "../support/admin.ts";
import { type Backend, startBackend } from "../support/backend.ts";
import { type Edge, startEdge } from "../support/edge.ts";
import { type Answer, ask, bytesOf, type Header, open, pairs, type Question } from "./support-client.ts";

/** Asked for this, the backend of a scene answers by itself: only a request makes an isolate speak to its ring. */
const NUDGE = "/nudge";

/** How the pool of a scene differs from the usual one, as the admin API takes it. */
export type PoolSettings = Readonly<Record<string, unknown>>;

/** Raises a stage for all tests of a file, and clears it when they are over. */
export function raiseStage<const Name extends string>(
  settings: Readonly<Record<Name, PoolSettings>>,
  variables: Readonly<Record<string, string>> = {},
): Stage<Name> {
  const stage = new Stage(settings, variables);
  beforeAll(() => stage.raise());
  afterAll(() => stage.clear());
  return stage;
}

/**
 * One edge, with a pool, a backend and a hostname for each scene. They are all made before the first request, since an
 * isolate notices a new route only at its next refresh.
 */
class Stage<Name extends string> {
  readonly #settings: Readonly<Record<Name, PoolSettings>>;
  readonly #variables: Readonly<Record<string, string>>;
  readonly #scenes = new Map<string, Scene>();
  #edge: Edge | null = null;

  constructor(settings: Readonly<Record<Name, PoolSettings>>, variables: Readonly<Record<string, string>>) {
    this.#settings = settings;
    this.#variables = variables;
  }

  get edgeUrl(): string {
    if (this.#edge === null) throw new Error("the stage is not raised yet");
    return this.#edge.urls[0];
  }

  get admin(): AdminClient {
    return new AdminClient(this.edgeUrl);
  }

  async raise(): Promise<void> {
    this.#edge = await startEdge({ bundle: inject("bundle"), variables: this.#variables });
    for (const [name, settings] of Object.entries<PoolSettings>(this.#settings)) {
      this.#scenes.set(name, await Scene.create(name, this.edgeUrl, settings));
    }
  }

  async clear(): Promise<void> {
    await this.#edge?.stop();
    await Promise.all([...this.#scenes.values()].map((scene) => scene.backend.stop()));
  }

  scene(name: Name): Scene {
    const scene = this.#scenes.get(name);
    if (scene === undefined) throw new Error(`there is no scene ${name}`);
    return scene;
  }
}

/** Takes over a connection that a client wants to upgrade. */
export type UpgradeListener = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

/** One pool behind one hostname, with one backend that answers as the running test says. */
export class Scene {
  readonly name: string;
  readonly host: string;
  readonly edgeUrl: string;
  readonly backend: Backend;
  readonly admin: AdminClient;
  readonly #listeners: Listeners;

  private constructor(name: string, edgeUrl: string, backend: Backend, listeners: Listeners) {
    this.name = name;
    this.host = `${name}.test`;
    this.edgeUrl = edgeUrl;
    this.backend = backend;
    this.admin = new AdminClient(edgeUrl);
    this.#listeners = listeners;
  }

  static async create(name: string, edgeUrl: string, settings: PoolSettings): Promise<Scene> {
    const listeners: Listeners = { onRequest: refuse, onUpgrade: hangUp };
    const backend = await startBackend("b", (request, response) => {
      if (request.url === NUDGE) response.writeHead(204).end();
      else listeners.onRequest(request, response);
    });
    backend.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) =>
      listeners.onUpgrade(request, socket, head),
    );
    const scene = new Scene(name, edgeUrl, backend, listeners);
    await scene.admin.do("PUT", `/pools/${name}`, {
      sync: { refreshMs: 500, leaseMs: 1_000 },
      backends: [{ id: backend.id, url: backend.url }],
      ...settings,
    });
    await scene.admin.do("PUT", `/routes/${name}`, { host: scene.host, pool: name });
    return scene;
  }

  /** From now on the backend answers like this. */
  answers(listener: RequestListener): void {
    this.#listeners.onRequest = listener;
  }

  /** From now on the backend takes over connections like this. */
  upgrades(listener: UpgradeListener): void {
    this.#listeners.onUpgrade = listener;
  }

  /** The next request that reaches the backend, with the response to give. */
  arrival(): Promise<Arrival> {
    return new Promise((resolve) => {
      this.answers((request, response) => resolve({ request, response }));
    });
  }

  ask(question: Question = {}): Promise<Answer> {
    return ask(this.edgeUrl, this.host, question);
  }

  open(question: Omit<Question, "body"> = {}): ReturnType<typeof open> {
    return open(this.edgeUrl, this.host, question);
  }

  /** Sends a request and gives it as the backend got it. */
  async delivers(question: Question = {}): Promise<Delivered> {
    const delivered = new Promise<Delivered>((resolve, reject) => {
      this.answers((request, response) => {
        const { method = "", url = "", rawHeaders } = request;
        bytesOf(request).then((body) => {
          response.end();
          resolve({ method, path: url, headers: pairs(rawHeaders), body });
        }, reject);
      });
    });
    const answer = await this.ask(question);
    if (answer.status !== 200) throw new Error(`not delivered: ${answer.status} ${answer.body.toString()}`);
    return delivered;
  }

  /** What the ring knows of the pool, after one more request that may have made the isolate tell it. */
  async status(): Promise<PoolStatus> {
    await this.ask({ path: NUDGE });
    const { body } = await this.admin.do("GET", `/pools/${this.name}/status`);
    return body;
  }

  /** The same of its backend. */
  async backendStatus(): Promise<BackendStatus> {
    const [backend] = (await this.status()).backends;
    if (backend === undefined) throw new Error(`pool ${this.name} has no backend`);
    return backend;
  }

  /** The same, and only what is in flight there. */
  async inFlight(): Promise<number> {
    return (await this.backendStatus()).inFlight;
  }
}

/** A request at the backend. */
export interface Arrival {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** A request as the backend got it. */
export interface Delivered {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly Header[];
  readonly body: Buffer;
}

/** Waits until the connection of a request is over, seen from the backend. */
export async function seesItsEnd({ response }: Arrival): Promise<void> {
  if (!response.closed) await once(response, "close");
}

interface Listeners {
  onRequest: RequestListener;
  onUpgrade: UpgradeListener;
}

function refuse(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  response.writeHead(500).end("no test expects a request here");
}

function hangUp(_request: IncomingMessage, socket: Socket): void {
  socket.destroy();
}
