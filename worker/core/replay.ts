import type { BackendId } from "../../durable/model/names.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { type EpochMs, epochMs } from "../../durable/model/time.ts";
import { type LocalState, Notes, type Reading, type StepTaken } from "./notes.ts";
import { PoolView } from "./pool-view.ts";
import { type Reason, reasonOf } from "./reason.ts";
import type { SubChannel } from "./sub-channel.ts";
import type { Wishes } from "./wishes.ts";

/** What a choice came to, and how. */
export interface Decision {
  /** Null: none was chosen. */
  readonly backend: BackendId | null;
  readonly reason: Reason;
  readonly steps: readonly StepTaken[];
  /** The policy that picked, and whether a key led it; null: the affinity chain decided. */
  readonly policy: Notes["policy"];
  /** The session of the token that decided, and the backend it names, null where the snapshot has none; null: none did. */
  readonly session: { readonly id: string; readonly backend: BackendId | null } | null;
}

/** Makes a choice on a view, and says why it came out so. What is chosen is over at once. */
export function decide(view: PoolView, wishes: Wishes, moment: Moment): Decision {
  const notes = new Notes();
  const { isLast, ...rest } = moment;
  const asked = { ...wishes, ...rest, notes };
  const choice = isLast ? view.chooseLast(asked) : view.choose(asked);
  if (choice.kind === "backend") choice.channel.callOff();
  return {
    backend: choice.kind === "backend" ? choice.channel.id : null,
    reason: reasonOf(choice, notes, (backend) => view.isPanicking(backend)),
    steps: notes.steps,
    policy: notes.policy,
    session: sessionOf(notes, view.snapshot),
  };
}

/** When a choice is made, by what chance, and what the request has been through before. */
export interface Moment {
  readonly nowMs: EpochMs;
  readonly chance: number;
  readonly tried: ReadonlySet<BackendId>;
  readonly hasWaited: boolean;
  readonly isLast: boolean;
}

/**
 * Makes a choice again, by the same code, from the same snapshot, for the same request: a new view is brought to where the
 * isolate was, as far as the choice looked.
 */
export function replay(snapshot: Snapshot, wishes: Wishes, local: LocalState): Decision {
  const { nowMs, chance, tried, hasWaited, isLast } = local;
  const moment = { nowMs, chance, tried: new Set(tried), hasWaited, isLast };
  return decide(recall(snapshot, wishes, local), wishes, moment);
}

/** By the calls that brought the isolate there: attempts that began, ended and failed, connections that were led. */
function recall(snapshot: Snapshot, { subset, credentials }: Wishes, local: LocalState): PoolView {
  const { nowMs, ranked, connections, token } = local;
  const view = new PoolView(snapshot, ranked?.atMs ?? nowMs, 0);
  const [full, skipped] = [new Set(local.full), new Set(local.skipped)];
  const suspected = new Set(local.suspected);
  const readings = new Map(local.gauges.map((reading) => [reading.id, reading]));
  for (const channel of view.channels()) {
    if (suspected.has(channel.id)) timeOut(channel);
    else if (skipped.has(channel.id)) fail(channel);
    recallReading(channel, readings.get(channel.id), nowMs);
    if (skipped.has(channel.id)) tryAgain(channel, nowMs);
    if (full.has(channel.id)) fill(channel, snapshot.config.maxInFlight ?? 0, nowMs);
  }
  for (const { backend, ...connection } of connections) view.remember(connection, backend, nowMs);
  if (token !== null) {
    const carried = view.sessions.read(credentials.headers, nowMs);
    if (carried?.kind === "opened") Object.assign(carried.token, token);
  }
  if (ranked !== null && ranked.turns.length > 0) view.resume(subset, ranked.turns);
  return view;
}

/** The most failures in a row that a pool may bear before an isolate skips a backend. */
const MOST_FAILURES = 1_000;

/** So long ago that nothing is left of what an estimate learned then. */
const LONG_AGO = epochMs(0);

function fail(channel: SubChannel): void {
  const failed = { waitedMs: 0, timeoutMs: 0, isUnhindered: false, nowMs: LONG_AGO };
  for (let failures = 0; failures < MOST_FAILURES && !channel.isFailing; failures++)
    channel.count("unreachable", failed);
}

/** One attempt waits in vain, alone. */
function timeOut(channel: SubChannel): void {
  channel.count("timed_out", { waitedMs: 0, timeoutMs: 0, isUnhindered: true, nowMs: LONG_AGO });
}

/** One request tries a backend that failed, so that others go elsewhere. */
function tryAgain(channel: SubChannel, nowMs: EpochMs): void {
  channel.begin(nowMs);
  channel.callOff();
}

/** A client that left after so long in vain blames nobody, and is news of the latency. */
function recallReading(channel: SubChannel, reading: Reading | undefined, nowMs: EpochMs): void {
  if (reading === undefined) return;
  const { inFlight, latencyMs } = reading;
  if (latencyMs !== null)
    channel.count("client_gone", { waitedMs: latencyMs, timeoutMs: latencyMs, isUnhindered: false, nowMs });
  for (let begun = 0; begun < inFlight; begun++) channel.begin(nowMs);
}

function fill(channel: SubChannel, maxInFlight: number, nowMs: EpochMs): void {
  while (channel.inFlight < maxInFlight) channel.begin(nowMs);
}

function sessionOf({ session }: Notes, { backends }: Snapshot): Decision["session"] {
  if (session === null) return null;
  const named = backends.find(({ serverId }) => serverId === session.serverId);
  return { id: session.id, backend: named?.id ?? null };
}
