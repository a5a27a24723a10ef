import type { PoolConfig } from "../../durable/model/pool.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import type { Choice, Choosing } from "../core/choice.ts";
import type { WaitingLine } from "../core/waiting-line.ts";
import type { Living } from "./header-watch.ts";
import { clock } from "./leased.ts";
import { createPledge } from "./pledge.ts";
import { Vigil, type Watched } from "./vigil.ts";

/** The pool in this isolate, as a request sees it that waits for room there. */
export interface Room extends Watched {
  readonly line: WaitingLine;
  /** Asks the ring where the snapshot is past its lease. False: there is nothing to serve from. */
  catchUp(nowMs: EpochMs): Promise<boolean>;
  /** Finds a backend for a request that does not wait, and counts it as in flight there. */
  choose(choosing: Choosing): Choice;
}

const NO_BACKEND: Choice = { kind: "no_backend" };
const FULL: Choice = { kind: "full" };

/**
 * Waits in line until there is room, the time is up, or the client leaves. Null: it does not wait. Meanwhile it keeps the isolate
 * asking the ring, since nobody is served past the snapshot's lease. Who is called resumes in its own request, and only there its
 * timer may be touched.
 */
export function waitForRoom(
  passage: Living,
  room: Room,
  choosing: Choosing,
  { timeoutMs, maxRequests }: PoolConfig["waiting"],
  nowMs: EpochMs,
): Promise<Choice> | null {
  if (timeoutMs <= 0) return null;
  const { line } = room;
  const { promise, resolve: call } = createPledge();
  let isWoken = false;
  const wake = (): void => {
    isWoken = true;
    vigil.call();
  };
  const waiting = { choosing, untilMs: after(nowMs, timeoutMs), call, wake };
  if (!line.join(waiting, { timeoutMs, maxRequests }, nowMs)) return null;
  const timer = setTimeout(call, timeoutMs);
  passage.gone.addEventListener("abort", () => call(), { once: true });
  const vigil = new Vigil(passage, room, (lookMs) => {
    if (isWoken) passage.waitUntil(serveLine(room, lookMs));
    isWoken = false;
    return Number.POSITIVE_INFINITY;
  });
  const found = promise.then(async (): Promise<Choice> => {
    clearTimeout(timer);
    vigil.end();
    if (passage.isAbandoned) {
      line.leave(waiting);
      return FULL;
    }
    return line.claim(waiting, clock()) ?? (await chooseAnew(passage, room, choosing));
  });
  // Or it would end with its client, and whatever place it was given with it.
  passage.waitUntil(found);
  if (passage.isAbandoned) call();
  return found;
}

/** Asks the ring, and gives away what is free then. */
async function serveLine(room: Room, nowMs: EpochMs): Promise<void> {
  if (await room.catchUp(nowMs)) room.line.serve(null, clock());
}

/** Asks the ring, and chooses from what it says, for a request that is in line no more. */
async function chooseAnew(passage: Living, room: Room, choosing: Choosing): Promise<Choice> {
  const isServing = await room.catchUp(clock());
  if (passage.isAbandoned) return FULL;
  return isServing ? room.choose({ ...choosing, nowMs: clock(), hasWaited: true }) : NO_BACKEND;
}
