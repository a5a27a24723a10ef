import type { PoolName } from "../../durable/model/names.ts";
import type { RoutingTable, Snapshot } from "../../durable/model/snapshot.ts";
import type { Credentials } from "./affinity.ts";
import { findRoute } from "./explain.ts";
import type { LocalState } from "./notes.ts";
import { PoolView } from "./pool-view.ts";
import { type Decision, replay } from "./replay.ts";
import type { Asked, Destination } from "./route.ts";
import { Split } from "./split.ts";
import { chooseSide } from "./split-side.ts";
import type { Origin } from "./subset.ts";
import type { Trace, TracedAttempt } from "./trace.ts";
import { wishesFor } from "./wishes.ts";

/** One version of a pool, as a trace names it. */
export interface PoolVersion {
  readonly pool: PoolName;
  readonly incarnation: string;
  readonly version: number;
}

/** What a trace is replayed from; null: that version is not kept. */
export interface Kept {
  readonly table: RoutingTable | null;
  snapshot(version: PoolVersion): Snapshot | null;
}

/** True: the replay came to the same. False: it did not. Null: what it takes is not there. */
type Reproduced = boolean | null;

/** One attempt of a trace, made again. */
interface AttemptExplained extends Omit<TracedAttempt, "local"> {
  /** What the isolate knew by itself. */
  readonly local: LocalState | null;
  /** Null: it could not be. */
  readonly replayed: Decision | null;
  readonly reproduced: Reproduced;
}

/** A trace, decision by decision. */
export interface TraceExplained extends Omit<Trace, "attempts" | "format"> {
  readonly routeReproduced: Reproduced;
  /** Null also where the route has no split. */
  readonly splitReproduced: Reproduced;
  readonly attempts: readonly AttemptExplained[];
  /** Every decision was. */
  readonly reproduced: Reproduced;
}

/** Every version of a pool that a trace speaks of. */
export function poolVersionsIn({ split, attempts }: Trace): readonly PoolVersion[] {
  return [...(split?.sides ?? []), ...attempts];
}

/** Makes every decision of a trace again, for the request as it is described. */
export function explainTrace(
  trace: Trace,
  asked: Asked & { readonly headers: Headers },
  kept: Kept,
): TraceExplained {
  const { format: _, ...told } = trace;
  const destination = kept.table === null ? null : findRoute(kept.table, asked);
  const routeReproduced = kept.table === null ? null : leadsAlike(destination, trace);
  const client = clientOf(trace, asked);
  const splitReproduced = destination === null ? null : replaySplit(trace, destination, client, kept);
  const first = trace.attempts[0]?.pool;
  const attempts = trace.attempts.map((attempt): AttemptExplained => {
    const snapshot = kept.snapshot(attempt);
    const { local } = attempt;
    if (destination === null || snapshot === null || local === null)
      return { ...attempt, replayed: null, reproduced: null };
    const wishes = wishesFor(destination, attempt.pool !== first, snapshot.config, client);
    const replayed = replay(snapshot, wishes, local);
    const reproduced = replayed.backend === attempt.backend && replayed.reason === attempt.reason;
    return { ...attempt, replayed, reproduced };
  });
  const parts = new Set([
    routeReproduced,
    ...(trace.split === null ? [] : [splitReproduced]),
    ...attempts.map((attempt) => attempt.reproduced),
  ]);
  const reproduced = parts.has(false) ? false : parts.has(null) ? null : true;
  return { ...told, routeReproduced, splitReproduced, attempts, reproduced };
}

function leadsAlike(destination: Destination | null, { route, reason }: Trace): boolean {
  return destination === null ? reason === "NR" : reason !== "NR" && destination.route === route;
}

function replaySplit(
  trace: Trace,
  { to, affinity }: Destination,
  client: Credentials,
  kept: Kept,
): Reproduced {
  const { split } = trace;
  if (split === null || !(to instanceof Split)) return split === null ? null : false;
  const { nowMs, chance } = split;
  const snapshots = split.sides.map((side) => kept.snapshot(side));
  if (snapshots.includes(null)) return null;
  const views = snapshots.flatMap((snapshot) =>
    snapshot === null ? [] : [[snapshot.pool, new PoolView(snapshot, nowMs, 0)] as const],
  );
  const viewOf = (pool: PoolName) => new Map(views).get(pool) ?? null;
  return chooseSide(to, { client, affinity, viewOf, nowMs, chance }) === split.pool;
}

/** The client: what it sent is described, and what only the edge knows of it is traced. */
function clientOf(
  { client }: Trace,
  { headers, target }: Asked & { readonly headers: Headers },
): Credentials & Origin {
  return {
    headers,
    query: target.query,
    clientAddress: client?.address ?? null,
    connection: client?.connection ?? null,
    country: client?.country ?? null,
    colo: client?.colo ?? null,
  };
}
