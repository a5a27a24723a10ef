import type { BackendId, PoolName } from "../../durable/model/names.ts";
import type { Admits, RoutingTable, Snapshot, Tier } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import { createKeyedHash } from "./keyed-hash.ts";
import type { Finding } from "./notes.ts";
import { PoolView } from "./pool-view.ts";
import { type Decision, decide } from "./replay.ts";
import { type Asked, type Destination, matchRoute, prepareRoutes } from "./route.ts";
import type { Split } from "./split.ts";
import { type Belonging, chooseSide } from "./split-side.ts";
import type { Wishes } from "./wishes.ts";

/** Requests that a probability is found from, by letting so many be decided: ±0.01 at worst. */
const SAMPLES = 10_000;

/** Steps between chances: the golden ratio, whose multiples are spread evenly however many there are (Weyl). */
const GOLDEN = 0.618_033_988_749_894_9;

/** The route of a request; null when routes exist and none matches. */
export function findRoute(table: RoutingTable, asked: Asked): Destination | null {
  return matchRoute(prepareRoutes(table.routes, createKeyedHash(table.secret)), asked);
}

/** One pool of a split, and how likely a request is to belong to it. */
export interface SideExplained {
  readonly pool: PoolName;
  readonly weight: number;
  /** 0…1; 0 or 1 where its token or its connection decides. */
  readonly probability: number;
}

/** How likely a request is to belong to each pool of a split. */
export function explainSplit(split: Split, belonging: Omit<Belonging, "chance">): readonly SideExplained[] {
  const counts = new Map<PoolName | null, number>();
  for (const chance of chances(SAMPLES)) {
    const pool = chooseSide(split, { ...belonging, chance });
    counts.set(pool, (counts.get(pool) ?? 0) + 1);
  }
  return split.sides.map(({ pool, weight }) => ({
    pool,
    weight,
    probability: (counts.get(pool) ?? 0) / SAMPLES,
  }));
}

/** A backend of the pool, as a request sees it. */
interface CandidateExplained {
  readonly id: BackendId;
  readonly admits: Admits;
  /** Null: it takes no new traffic. */
  readonly tier: Tier | null;
  readonly weight: number;
  /** That it gets the request, 0…1. */
  readonly probability: number;
}

/** How a request is decided in a pool by an isolate that has nothing in flight, skips nobody and remembers no connection. */
export interface PoolExplained extends Omit<Decision, "backend"> {
  /** The only one that can be chosen; null: chance or turns decide, or there is none. */
  readonly backend: BackendId | null;
  readonly candidates: readonly CandidateExplained[];
  /** That the request gets no backend, by the reason, 0…1. */
  readonly refusals: Readonly<Record<"NB" | "FL" | "SH" | "SR", number>>;
}

/** Explains how a request is decided in a pool. The reason is that of what is most likely. */
export function explainPool(snapshot: Snapshot, wishes: Wishes, nowMs: EpochMs): PoolExplained {
  const decideAt = (chance: number) =>
    decide(new PoolView(snapshot, nowMs, 0), wishes, {
      nowMs,
      chance,
      tried: NOBODY,
      hasWaited: false,
      isLast: false,
    });
  const isBound = binds(decideAt(0).steps.at(-1)?.found);
  const counts = countOutcomes(new PoolView(snapshot, nowMs, 0), wishes, nowMs, isBound ? 1 : SAMPLES);
  const all = [...counts.values()].reduce((sum, { count }) => sum + count, 0);
  const shareOf = (outcome: string) => (counts.get(outcome)?.count ?? 0) / all;
  const likeliest = [...counts.values()].reduce((best, each) => (each.count > best.count ? each : best));
  const decision = decideAt(likeliest.chance);
  return {
    ...decision,
    backend: counts.size === 1 ? decision.backend : null,
    candidates: snapshot.backends.map(({ id, admits, tier, weight }) => ({
      id,
      admits,
      tier: admits === "new" ? (snapshot.tiers[tier] ?? null) : null,
      weight,
      probability: shareOf(`backend ${id}`),
    })),
    refusals: {
      NB: shareOf("no_backend"),
      FL: shareOf("full"),
      SH: shareOf("shed"),
      SR: shareOf("session_refused"),
    },
  };
}

const NOBODY: ReadonlySet<BackendId> = new Set();

/** Whether a step of the chain decides, when it found this. */
function binds(found: Finding | undefined): boolean {
  switch (found) {
    case "opened":
    case "unknown":
    case "remembered":
    case "placed":
    case "hashed":
      return true;
    case "nothing":
    case "invalid":
    case "expired":
    case "nobody":
    case undefined:
      return false;
  }
}

interface Outcome {
  count: number;
  /** One by which it came. */
  readonly chance: number;
}

/** Lets a request be decided so often, each time by another chance, and counts what came of it. */
function countOutcomes(
  view: PoolView,
  wishes: Wishes,
  nowMs: EpochMs,
  samples: number,
): ReadonlyMap<string, Outcome> {
  const counts = new Map<string, Outcome>();
  for (const chance of chances(samples)) {
    const choice = view.choose({ ...wishes, nowMs, chance, tried: NOBODY, hasWaited: false });
    if (choice.kind === "backend") choice.channel.callOff();
    const name = choice.kind === "backend" ? `backend ${choice.channel.id}` : choice.kind;
    const outcome = counts.get(name);
    if (outcome === undefined) counts.set(name, { count: 1, chance });
    else outcome.count++;
  }
  return counts;
}

function chances(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => ((index + 1) * GOLDEN) % 1);
}
