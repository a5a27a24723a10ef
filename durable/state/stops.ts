import { LIMITS } from "../model/limits.ts";
import type { BackendId } from "../model/names.ts";
import { after, type EpochMs, later } from "../model/time.ts";
import type { HeldBackend, LiveRing, RingState } from "./ring-state.ts";
import { forgottenMs, type Moment } from "./token-configs.ts";

/** A removed backend has a receipt for so long at least, milliseconds. */
const REMOVED_KEPT_MS = 86_400_000;

/** Since when a backend gets nothing by an operator's wish: its drain is over, or it is disabled or removed. */
export interface Stop {
  readonly id: BackendId;
  /** The version that says so, and when it was published. */
  readonly version: number;
  readonly atMs: EpochMs;
  /** When nobody can hold an older one any more, not even an isolate that was cut off from the ring just then. */
  readonly certainAtMs: EpochMs;
}

/** The labels of a backend on its way out, so that it is found by them though they are changed, or it is removed. */
export interface Leaving {
  readonly id: BackendId;
  /** As they were before it was drained, disabled or removed. */
  readonly labels: Labels;
  /** As they are, or were when it was removed. */
  readonly lastLabels: Labels;
}

type Labels = HeldBackend["labels"];

/** What the ring remembers of closed backends. */
export interface Stops {
  readonly closed: readonly Stop[];
  /** Of those that drain, too. */
  readonly leaving: readonly Leaving[];
  /** Until when isolates may serve by settings that held once, with a longer `maxStaleMs`. */
  readonly staleUntilMs: EpochMs;
}

/** What is remembered of a pool in which nothing was closed yet. */
export function noStops(nowMs: EpochMs): Stops {
  return { closed: [], leaving: [], staleUntilMs: nowMs };
}

/** Whether an operator wants a backend to get nothing any more, sessions included. */
function isClosed({ admin, isDrained }: HeldBackend): boolean {
  return admin.kind === "disabled" || (admin.kind === "draining" && isDrained);
}

/**
 * A pool as it is about to be published, with what was closed in it. Has to be stored together with the version: only the
 * moment at which it is published tells when the last isolate can have got an older one.
 */
export function stampStops(
  before: RingState,
  next: RingState,
  moment: Pick<Moment, "nowMs" | "longestLeaseMs">,
): RingState {
  if (next.kind === "absent") return next;
  const { nowMs } = moment;
  const heldConfig = before.kind === "live" ? before.config : next.config;
  const heldUntilMs = forgottenMs(heldConfig, moment);
  const isShorter = heldConfig.sync.maxStaleMs > next.config.sync.maxStaleMs;
  const staleUntilMs = isShorter ? later(next.stops.staleUntilMs, heldUntilMs) : next.stops.staleUntilMs;
  const certainAtMs = later(staleUntilMs, heldUntilMs);
  const known = new Map(next.stops.closed.map((stop) => [stop.id, stop]));
  const stopOf = ({ id }: { readonly id: BackendId }): Stop =>
    known.get(id) ?? { id, version: next.version, atMs: nowMs, certainAtMs };
  const closed = [
    ...findRemoved(before, next, nowMs).map(stopOf),
    ...next.backends.filter(isClosed).map(stopOf),
  ];
  return { ...next, stops: { closed, leaving: findLeaving(before, next, closed), staleUntilMs } };
}

/** Those that are closed or drain, with the labels that they had. */
function findLeaving(before: RingState, next: LiveRing, closed: readonly Stop[]): readonly Leaving[] {
  const known = new Map(next.stops.leaving.map((leaving) => [leaving.id, leaving]));
  const held = new Map(before.kind === "live" ? before.backends.map(({ id, labels }) => [id, labels]) : []);
  const present = new Map(next.backends.map((backend) => [backend.id, backend]));
  const draining = next.backends.filter(({ admin, isDrained }) => admin.kind === "draining" && !isDrained);
  return [...closed, ...draining].flatMap(({ id }) => {
    const now = present.get(id)?.labels;
    const labels = known.get(id)?.labels ?? held.get(id) ?? now;
    const lastLabels = now ?? held.get(id) ?? known.get(id)?.lastLabels;
    return labels === undefined || lastLabels === undefined ? [] : [{ id, labels, lastLabels }];
  });
}

/** Those that are gone from a pool, now or before and remembered still; the latest of them, if they are too many. */
function findRemoved(
  before: RingState,
  next: LiveRing,
  nowMs: EpochMs,
): readonly { readonly id: BackendId }[] {
  const present = new Set(next.backends.map(({ id }) => id));
  const known = new Set(next.stops.closed.map(({ id }) => id));
  const remembered = next.stops.closed.filter(
    ({ id, atMs, certainAtMs }) =>
      !present.has(id) && later(certainAtMs, after(atMs, REMOVED_KEPT_MS)) > nowMs,
  );
  const gone =
    before.kind === "live" ? before.backends.filter(({ id }) => !present.has(id) && !known.has(id)) : [];
  return [...remembered, ...gone].slice(-LIMITS.backendsPerPool);
}
