import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import * as v from "valibot";
import { vi } from "vitest";
import { type BackendInput, BackendInputSchema } from "../../durable/model/backend.ts";
import type {
  Applied,
  Author,
  DirectoryCommand,
  PoolCommand,
  Precondition,
} from "../../durable/model/command.ts";
import type { EventsRequest, EventsView } from "../../durable/model/event.ts";
import { type PinInput, PinInputSchema } from "../../durable/model/health.ts";
import type {
  Difference,
  LostLeasesView,
  PastDocument,
  VersionsRequest,
  VersionsView,
} from "../../durable/model/history.ts";
import {
  type BackendId,
  BackendIdSchema,
  type PoolName,
  PoolNameSchema,
  type RouteId,
  RouteIdSchema,
} from "../../durable/model/names.ts";
import { type PoolDocument, PoolDocumentSchema } from "../../durable/model/pool.ts";
import type { Receipt, ReceiptsRequest, ReceiptsView } from "../../durable/model/receipt.ts";
import type { Refusal } from "../../durable/model/refusal.ts";
import type { Result } from "../../durable/model/result.ts";
import { type RouteInput, RouteInputSchema } from "../../durable/model/route.ts";
import type { RoutingTable, Snapshot, Versioned } from "../../durable/model/snapshot.ts";
import type { SyncReply, SyncRequestSchema } from "../../durable/model/sync.ts";
import type {
  ConvergenceRequest,
  ConvergenceView,
  DirectoryView,
  PoolStatus,
  PoolView,
} from "../../durable/model/view.ts";
import { callObject, readObject } from "../../worker/edge/ring-client.ts";

type BackendWords = number | Partial<v.InferInput<typeof BackendInputSchema>>;
type SyncWords = Partial<v.InferInput<typeof SyncRequestSchema>>;

/** Backends by id, each a weight or some of its fields, and the pool's configuration where it is not the default. */
export function pool(backends: Record<string, BackendWords> = {}, config: object = {}): PoolDocument {
  const listed = Object.entries(backends).map(([name, words]) =>
    Object.assign({ id: name }, backend(words, name)),
  );
  return v.parse(PoolDocumentSchema, { ...config, backends: listed });
}

export function backend(words: BackendWords = {}, name = "some"): BackendInput {
  const fields = typeof words === "number" ? { weight: words } : words;
  return v.parse(BackendInputSchema, { url: `https://${name}.example`, ...fields });
}

export function route(words: Partial<v.InferInput<typeof RouteInputSchema>>): RouteInput {
  return v.parse(RouteInputSchema, { pool: "default", ...words });
}

type ReportWords = NonNullable<SyncWords["report"]>;

/** Outcomes by backend, as one batch of an isolate; protocols and incidents may be told too. */
export function report(
  outcomes: Record<string, ReportWords["backends"][number]["outcomes"]>,
  words: Partial<ReportWords> = {},
): ReportWords {
  const backends = Object.entries(outcomes).map(([name, counts]) => ({ id: name, outcomes: counts }));
  return { batch: 1, backends, protocols: {}, incidents: {}, ...words };
}

export function id(text: string): BackendId {
  return v.parse(BackendIdSchema, text);
}

export function poolName(text: string): PoolName {
  return v.parse(PoolNameSchema, text);
}

export function routeId(text: string): RouteId {
  return v.parse(RouteIdSchema, text);
}

/** The value of what must not have been refused. */
export function accepted<Value>(result: Result<Value>): Value {
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result.refusal)}`);
  return result.value;
}

/** Why something was refused that must have been. */
export function refused(result: Result<unknown>): Refusal {
  if (result.ok) throw new Error(`accepted: ${JSON.stringify(result.value)}`);
  return result.refusal;
}

/** What an object answered, read to its end: a body left open would hold up an eviction. */
export interface RawReply {
  readonly status: number;
  readonly text: string;
}

/** Who asks for all changes here. */
const AUTHOR: Author = { operator: "operator tester", reason: null };

/** A Durable Object of its own for every name, reached as the worker reaches it. */
abstract class Held<Document extends Versioned, Command, View> {
  readonly name: string;
  readonly #namespace: DurableObjectNamespace;
  #seq = 0;

  constructor(namespace: DurableObjectNamespace, name: string) {
    this.#namespace = namespace;
    this.name = name;
  }

  get stub(): DurableObjectStub {
    return this.#namespace.getByName(this.name);
  }

  /** Asks for a change, under no condition unless one is given. */
  apply(
    command: Command,
    precondition: Partial<Precondition> = {},
    author: Partial<Author> = {},
  ): Promise<Result<Applied>> {
    const change = {
      pool: this.name,
      command,
      precondition: { ifMatch: null, ifAbsent: false, ...precondition },
      author: { ...AUTHOR, ...author },
    };
    return callObject(this.#namespace, this.name, "apply", change);
  }

  /** Carries out a change that must not be refused: for arranging. */
  async do(command: Command): Promise<Applied> {
    return accepted(await this.apply(command));
  }

  /** What a change would do. */
  check(command: Command): Promise<Result<Applied>> {
    const precondition: Precondition = { ifMatch: null, ifAbsent: false };
    return callObject(this.#namespace, this.name, "check", {
      pool: this.name,
      command,
      precondition,
      author: AUTHOR,
    });
  }

  /** Its history, newest first. */
  async versions(request: Partial<VersionsRequest> = {}): Promise<VersionsView> {
    return accepted(await this.tryVersions(request));
  }

  tryVersions(request: Partial<VersionsRequest> = {}): Promise<Result<VersionsView>> {
    const asked: VersionsRequest = { before: null, limit: 100, ...request };
    return callObject(this.#namespace, this.name, "versions", asked);
  }

  documentAt(version: number): Promise<Result<PastDocument>> {
    return callObject(this.#namespace, this.name, "documentAt", { version });
  }

  difference(from: number, to: number): Promise<Result<Difference>> {
    return callObject(this.#namespace, this.name, "difference", { from, to });
  }

  async lostLeases(): Promise<LostLeasesView> {
    return accepted(await callObject<LostLeasesView>(this.#namespace, this.name, "lostLeases", {}));
  }

  async view(): Promise<View> {
    return accepted(await this.tryView());
  }

  tryView(): Promise<Result<View>> {
    return readObject(this.#namespace, this.name, "view");
  }

  /** Asks how far a version has come, the present one unless one is named, and waits for so long. */
  async converge(
    asked: Partial<ConvergenceRequest> = {},
    gone: AbortSignal = new AbortController().signal,
  ): Promise<ConvergenceView> {
    const request = { version: null, waitMs: 0, ...asked };
    const wait = { waitMs: request.waitMs, gone };
    return accepted(await callObject<ConvergenceView>(this.#namespace, this.name, "converge", request, wait));
  }

  /** One sync of an isolate that holds nothing, unless `words` say otherwise. */
  sync(words: SyncWords = {}): Promise<Result<SyncReply<Document>>> {
    this.#seq += 1;
    const request = { isolate: "isolate-1", seq: this.#seq, incarnation: null, haveVersion: 0, ...words };
    return callObject(this.#namespace, this.name, "sync", request);
  }

  /** A sync that must be answered with a lease. */
  async lease(words: SyncWords = {}): Promise<Extract<SyncReply<Document>, { kind: "leased" }>> {
    const reply = accepted(await this.sync(words));
    if (reply.kind !== "leased") throw new Error(`answered: ${reply.kind}`);
    return reply;
  }

  /** The document that an isolate gets which holds none. */
  async published(): Promise<Document> {
    const { document } = await this.lease({ isolate: "an-observer" });
    if (document === null) throw new Error("no document came");
    return document;
  }

  /** Calls the object as nobody should: any URL, any request. */
  async raw(url: string, init?: RequestInit): Promise<RawReply> {
    const response = await this.stub.fetch(new URL(url, "https://itty-durable").href, init);
    return { status: response.status, text: await response.text() };
  }

  /** Throws the object out of memory. The next call makes it anew from storage. */
  evict(): Promise<void> {
    return evictDurableObject(this.stub);
  }

  /** Lets the alarm go off now; false when none is set. */
  runAlarm(): Promise<boolean> {
    return runDurableObjectAlarm(this.stub);
  }

  alarmAtMs(): Promise<number | null> {
    return this.inside((storage) => storage.getAlarm());
  }

  /** Works on the object's storage. */
  inside<Value>(work: (storage: DurableObjectStorage) => Value | Promise<Value>): Promise<Value> {
    return inStorage(this.stub, work);
  }

  /** Makes SQLite refuse some rows, so that a write fails in its middle. Returns how to end that. */
  async breakWrites(
    table: "head" | "rows" | "longest_lease" | "events" | "outbox" | "versions" | "parts" | "lost_leases",
    when = "1",
  ): Promise<() => Promise<void>> {
    await this.inside(({ sql }) => {
      sql.exec(
        `CREATE TRIGGER broken BEFORE INSERT ON ${table} WHEN ${when} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`,
      );
    });
    return () => this.inside(({ sql }) => void sql.exec("DROP TRIGGER broken"));
  }
}

export class HeldRing extends Held<Snapshot, PoolCommand, PoolView> {
  async status(): Promise<PoolStatus> {
    return accepted(await readObject<PoolStatus>(env.RING, this.name, "status"));
  }

  /** Makes the pool, or replaces it. */
  put(backends: Record<string, BackendWords>, config: object = {}): Promise<Applied> {
    return this.do({ kind: "put-pool", document: pool(backends, config) });
  }

  /** Drains one backend, the last one too; without `forMs` for as long as the pool says. */
  drain(name: string, forMs: number | null = null): Promise<Applied> {
    return this.do({ kind: "drain-backend", id: id(name), forMs, force: true });
  }

  /** Whether a backend can be stopped; waits for so long until it can. */
  async receipt(name: string, waitMs = 0): Promise<Receipt> {
    const { receipts } = accepted(await this.receipts({ id: id(name) }, waitMs));
    const [receipt] = receipts;
    if (receipt === undefined) throw new Error("no receipt came");
    return receipt;
  }

  receipts(of: ReceiptsRequest["of"], waitMs = 0): Promise<Result<ReceiptsView>> {
    const wait = { waitMs, gone: new AbortController().signal };
    return callObject<ReceiptsView>(env.RING, this.name, "receipts", { pool: this.name, of, waitMs }, wait);
  }

  /** Pins one backend's health. */
  pin(name: string, words: Partial<PinInput> = {}): Promise<Applied> {
    const pin = v.parse(PinInputSchema, { health: "unhealthy", reason: "maintenance", ...words });
    return this.do({ kind: "pin-backend", id: id(name), pin });
  }

  unpin(name: string): Promise<Applied> {
    return this.do({ kind: "unpin-backend", id: id(name) });
  }

  async events(request: Partial<EventsRequest> = {}): Promise<EventsView> {
    const asked: EventsRequest = { after: 0, limit: 100, ...request };
    return accepted(await callObject<EventsView>(env.RING, this.name, "events", asked));
  }

  /** What each backend admits, by id. */
  async admits(): Promise<Record<string, string>> {
    const { backends } = await this.published();
    return Object.fromEntries(backends.map(({ id: name, admits }) => [name, admits]));
  }
}

export class HeldDirectory extends Held<RoutingTable, DirectoryCommand, DirectoryView> {}

/** Makes the clock stand still, in the objects too, far enough ahead that no alarm goes off unless a test says so. */
export function freezeTime(): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2100, 0) });
}

export function pass(durationMs: number): void {
  vi.setSystemTime(Date.now() + durationMs);
}

/** The ring of one pool. Every test takes a name of its own, and every case of a table a variant of it. */
export function ring(name: string, variant = ""): HeldRing {
  return new HeldRing(env.RING, slug(name, variant));
}

/** A directory, named as a ring is. */
export function directory(name: string, variant = ""): HeldDirectory {
  return new HeldDirectory(env.DIRECTORY, slug(name, variant));
}

/** Works on the storage of an object without any table. */
export function inEmptyStorage<Value>(
  name: string,
  work: (storage: DurableObjectStorage) => Value | Promise<Value>,
): Promise<Value> {
  return inStorage(env.RING.getByName(slug(name)), async (storage) => {
    await storage.deleteAll();
    return work(storage);
  });
}

function slug(...words: string[]): string {
  return words
    .join(" ")
    .trim()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-");
}

/** Every table of a storage and its rows; the runtime's own left out. */
export function tables({ sql }: DurableObjectStorage): Record<string, readonly object[]> {
  const names = sql
    .exec<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'",
    )
    .toArray();
  return Object.fromEntries(names.map(({ name }) => [name, sql.exec(`SELECT * FROM ${name}`).toArray()]));
}

function inStorage<Value>(
  stub: DurableObjectStub,
  work: (storage: DurableObjectStorage) => Value | Promise<Value>,
): Promise<Value> {
  return runInDurableObject(stub, (_: DurableObject, state) => work(state.storage));
}
