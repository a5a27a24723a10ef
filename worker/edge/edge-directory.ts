import type { Route } from "../../durable/model/route.ts";
import type { RoutingTable } from "../../durable/model/snapshot.ts";
import type { SyncReply } from "../../durable/model/sync.ts";
import { createKeyedHash } from "../core/keyed-hash.ts";
import { prepareRoutes, type RouteIndex } from "../core/route.ts";
import type { Env } from "../env.ts";
import { type Acknowledgement, DEFAULT_PATIENCE, Leased, type Source } from "./leased.ts";
import { callObject, DIRECTORY_NAME } from "./ring-client.ts";

/** The directory in this isolate: its leased routing table, and the index made of it. */
export class EdgeDirectory implements Source<RoutingTable, Env> {
  readonly leased: Leased<RoutingTable, Env> = new Leased(this);
  /** It is told of nothing. */
  readonly isOwing = false;
  readonly #isolate: string;
  readonly #onRoutes: (routes: readonly Route[]) => void;
  #index: RouteIndex | null = null;

  /** `onRoutes` is called with the routes of every new table. */
  constructor(isolate: string, onRoutes: (routes: readonly Route[]) => void) {
    this.#isolate = isolate;
    this.#onRoutes = onRoutes;
  }

  /** The routes, ready to search; null when there is none. */
  get index(): RouteIndex | null {
    return this.#index;
  }

  async send(env: Env, acknowledgement: Acknowledgement): Promise<SyncReply<RoutingTable>> {
    const request = { isolate: this.#isolate, ...acknowledgement };
    const reply = await callObject<SyncReply<RoutingTable>>(env.DIRECTORY, DIRECTORY_NAME, "sync", request);
    if (!reply.ok) throw new Error(`the directory refused a sync: ${JSON.stringify(reply.refusal)}`);
    return reply.value;
  }

  adopt(table: RoutingTable | null): void {
    this.#index = table === null ? null : prepareRoutes(table.routes, createKeyedHash(table.secret));
    this.#onRoutes(table?.routes ?? []);
  }

  patience(): { readonly waitMs: number; readonly maxStaleMs: number } {
    return DEFAULT_PATIENCE;
  }
}
