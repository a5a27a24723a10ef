import type { EpochMs } from "../../durable/model/time.ts";
import type { Choosing, Chosen } from "../core/choice.ts";
import { mayHedge, type RetryRules } from "../core/retry.ts";
import { clock } from "./leased.ts";
import type { Passage } from "./passage.ts";
import { type Lane, Race } from "./race.ts";
import type { Body, Tries } from "./tries.ts";
import { type Turn, traceAttempt } from "./turn.ts";

/** What one attempt sends, and where. */
export interface Sending {
  readonly choice: Chosen;
  readonly retry: RetryRules;
  readonly body: Body;
  readonly lane: Lane | null;
  readonly nowMs: EpochMs;
}

/** Makes one attempt. */
export type Send = (turn: Turn, sending: Sending) => Promise<Response>;

/** Whether it may go to a second backend while the first is silent. What a chain may bind has its state at one backend. */
export function isHedged(
  passage: Passage,
  tries: Tries,
  { affinity, nowMs }: Choosing,
  retry: RetryRules,
): boolean {
  if (retry.hedge.afterMs === null) return false;
  return (
    affinity.length === 0 && !passage.headers.has("upgrade") && mayHedge(tries.describe(nowMs, 0), retry)
  );
}

/** Sends a request, and to another backend as well if the first is silent for too long. */
export function sendHedged(
  passage: Passage,
  tries: Tries,
  turn: Turn,
  first: Omit<Sending, "lane">,
  send: Send,
): Promise<Response> {
  const { pool } = turn;
  const { retry, nowMs } = first;
  if (tries.backends.size === 1) pool.hedgeBudget.deposit(nowMs);
  const race = new Race();
  race.start((lane) => send(turn, { ...first, lane }));
  const act = (): void => hedge(passage, tries, turn, retry, race, send);
  const late = (): void => {
    if (pool.leased.fresh(clock()) !== null) return act();
    void pool.leased.obtain(passage.env, passage, clock()).then((obtained) => {
      if (obtained !== null && race.other() !== null) act();
    });
  };
  // While the client is still sending, no backend is slow.
  tries.whenWhole(() => {
    if (race.other() !== null) race.later(retry.hedge.afterMs ?? 0, late);
  });
  return race.answer;
}

/** Asks another backend as well, if there is one, and the budget allows it. */
function hedge(passage: Passage, tries: Tries, turn: Turn, retry: RetryRules, race: Race, send: Send): void {
  const { pool, view, asked } = turn;
  const nowMs = clock();
  if (passage.isAbandoned || !mayHedge(tries.describe(nowMs, 0), retry)) return;
  if (!view.admitsBeside(tries.backends)) return;
  if (!pool.hedgeBudget.withdraw({ percent: retry.hedge.percent, floor: 0 }, nowMs)) {
    pool.tally.countIncident("hedge_denied");
    return;
  }
  const tracer = traceAttempt(passage, pool, "HG", nowMs);
  const notes = tracer?.notes;
  const choice = view.choose({ ...asked, nowMs, chance: Math.random(), tried: tries.backends, notes });
  if (choice.kind !== "backend") {
    pool.hedgeBudget.restore(nowMs);
    return;
  }
  tracer?.chose(choice, view);
  pool.tally.countIncident("hedge");
  tries.begin(choice.channel.id);
  const body = tries.body(retry, true);
  race.start((lane) => send({ ...turn, tracer }, { choice, retry, body, nowMs, lane }));
}
