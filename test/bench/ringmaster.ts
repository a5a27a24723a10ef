import { AdminClient } from "../support/admin.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";
import type { StaticBackend } from "./backends.ts";
import { Complaint } from "./complaint.ts";
import type { Processes } from "./processes.ts";
import { HOST } from "./requests.ts";
import { type RunningWorker, type Serving, serveWorker } from "./workerd.ts";

const POOL = "shop";

/** How a variant of Ringmaster is set up. */
export interface RingmasterSetup {
  readonly name: string;
  /** Built worker, one ES module. */
  readonly source: string;
  readonly backends: readonly StaticBackend[];
  /** The affinity chain of its one route; empty: round robin per request. */
  readonly affinity: readonly { readonly by: "connection" }[];
}

/** Serves Ringmaster, every setting at its default, with one pool and one route made over its admin API. */
export async function startRingmaster(
  processes: Processes,
  serving: Serving,
  { name, source, backends, affinity }: RingmasterSetup,
): Promise<RunningWorker> {
  const worker = await serveWorker(processes, serving, {
    name,
    source,
    variables: {
      ...serving.config.variables,
      ALLOW_PRIVATE_BACKENDS: "true",
      OPERATOR_TOKENS: OPERATOR_TOKEN,
    },
    objects: serving.config.objects,
  });
  const admin = adminOf(worker);
  await admin.do("PUT", `/pools/${POOL}`, { backends });
  await admin.do("PUT", "/routes/shop", { host: HOST, path: "/", pool: POOL, affinity });
  return worker;
}

/** Requests that the ring has been told of, by backend. */
export type Counted = ReadonlyMap<string, number>;

/**
 * Asks the ring what it counted.
 *
 * @throws Complaint when it counted nothing: then what was measured is not what a deployment does.
 */
export async function readCounted(worker: RunningWorker): Promise<Counted> {
  const { body } = await adminOf(worker).do("GET", `/pools/${POOL}/status`);
  const { backends } = body as {
    readonly backends: readonly { readonly id: string; readonly outcomes: { readonly answered: number } }[];
  };
  const counted = new Map(backends.map(({ id, outcomes }) => [id, outcomes.answered]));
  if (sum(counted) > 0) return counted;
  throw new Complaint(`the ring counted no request: ${JSON.stringify(body)}`);
}

/** All requests counted. */
export function sum(counted: Counted): number {
  return [...counted.values()].reduce((total, count) => total + count, 0);
}

function adminOf(worker: RunningWorker): AdminClient {
  return new AdminClient(`http://127.0.0.1:${worker.port}`);
}
