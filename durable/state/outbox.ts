import type { Delivery, DeliveryResult } from "../model/delivery.ts";
import type { HealthEvent } from "../model/event.ts";
import { LIMITS } from "../model/limits.ts";
import type { BackendId, PoolName } from "../model/names.ts";
import { after, type EpochMs, earliest, epochMs, later } from "../model/time.ts";

const MINUTE_MS = 60_000;

/** Longest an attempt lasts, milliseconds. */
export const ATTEMPT_MS = 5_000;

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;

/** What could not be delivered for so long is given up. */
const GIVE_UP_MS = 24 * 3_600_000;

/** What became of a webhook's deliveries. */
export interface Tally {
  readonly delivered: number;
  readonly dropped: number;
  readonly lastFailure: string | null;
}

const NO_TALLY: Tally = { delivered: 0, dropped: 0, lastFailure: null };

/** What is to be told to webhooks. */
export interface Outbox {
  /** By the id of their event. */
  readonly deliveries: readonly Delivery[];
  /** When the last events of each backend were told, or will be where one is held back. */
  readonly told: ReadonlyMap<BackendId, readonly EpochMs[]>;
  /** By URL. */
  readonly tallies: ReadonlyMap<string, Tally>;
}

/** An outbox as it was stored: only the deliveries are. */
export function restoreOutbox(deliveries: readonly Delivery[]): Outbox {
  const told = new Map<BackendId, readonly EpochMs[]>();
  for (const { sinceMs, message } of deliveries) {
    const { backend } = message.event;
    const times = new Set([...(told.get(backend) ?? []), sinceMs]);
    told.set(backend, [...times].toSorted((a, b) => a - b).slice(-LIMITS.toldPerBackendMinute));
  }
  return { deliveries, told, tallies: new Map() };
}

export const EMPTY_OUTBOX: Outbox = restoreOutbox([]);

/** Who is told, and on whose behalf. */
export interface Audience {
  readonly pool: PoolName;
  readonly incarnation: string;
  readonly urls: readonly string[];
}

/** Forgets what was for a webhook that is no more. The outbox itself when there is nothing of the kind. */
export function keepWebhooks(outbox: Outbox, urls: readonly string[]): Outbox {
  const known = new Set(urls);
  const isOver = (url: string): boolean => !known.has(url);
  if (!outbox.deliveries.some(({ url }) => isOver(url)) && ![...outbox.tallies.keys()].some(isOver))
    return outbox;
  return {
    ...outbox,
    deliveries: outbox.deliveries.filter(({ url }) => !isOver(url)),
    tallies: new Map([...outbox.tallies].filter(([url]) => !isOver(url))),
  };
}

/**
 * Puts events into the outbox, for every webhook. Of a backend that had too many within a minute, and of one whose pool had,
 * the last one is held back until that is over, and takes the place of the one held back before it: whoever listens learns
 * how it ended.
 */
export function enqueue(
  outbox: Outbox,
  events: readonly HealthEvent[],
  audience: Audience,
  nowMs: EpochMs,
): Outbox {
  if (events.length === 0 || audience.urls.length === 0) return outbox;
  const told = new Map([...outbox.told].filter(([, times]) => times.some((time) => isRecent(time, nowMs))));
  const ofPool = [...told.values()].flat().filter((time) => isRecent(time, nowMs));
  let { deliveries } = outbox;
  for (const event of events) {
    const recent = (told.get(event.backend) ?? []).filter((time) => isRecent(time, nowMs));
    const heldMs = heldUntilMs(recent, nowMs);
    const sinceMs = heldMs ?? releaseMs(recent, ofPool.toSorted(inOrder), nowMs);
    if (heldMs === null) {
      told.set(event.backend, [...recent, sinceMs].slice(-LIMITS.toldPerBackendMinute));
      ofPool.push(sinceMs);
    }
    deliveries = replaceHeld(deliveries, event, audience, { nowMs, sinceMs });
  }
  return withinLimit({ ...outbox, deliveries, told });
}

function isRecent(time: EpochMs, nowMs: EpochMs): boolean {
  return time > nowMs - MINUTE_MS;
}

function inOrder(one: EpochMs, other: EpochMs): number {
  return one - other;
}

/** Until when an event of a backend is held back; null: none is. */
function heldUntilMs(recent: readonly EpochMs[], nowMs: EpochMs): EpochMs | null {
  const last = recent.at(-1);
  return last !== undefined && last > nowMs ? last : null;
}

/** When a backend's next event may be told, after those of it and of all its pool that were told or held back lately. */
function releaseMs(recent: readonly EpochMs[], ofPool: readonly EpochMs[], nowMs: EpochMs): EpochMs {
  const times = [recent.at(-LIMITS.toldPerBackendMinute), ofPool.at(-LIMITS.toldPerPoolMinute)];
  return times.reduce<EpochMs>(
    (latest, time) => (time === undefined ? latest : later(latest, after(time, MINUTE_MS))),
    nowMs,
  );
}

function replaceHeld(
  deliveries: readonly Delivery[],
  event: HealthEvent,
  { pool, incarnation, urls }: Audience,
  { nowMs, sinceMs }: { readonly nowMs: EpochMs; readonly sinceMs: EpochMs },
): readonly Delivery[] {
  const isHeld = ({ message, attempts, nextMs }: Delivery): boolean =>
    message.event.backend === event.backend && attempts === 0 && nextMs > nowMs;
  const suppressed = new Map(
    deliveries.filter(isHeld).map(({ url, message }) => [url, message.suppressed + 1]),
  );
  const kept = suppressed.size === 0 ? deliveries : deliveries.filter((delivery) => !isHeld(delivery));
  const added = urls.map((url): Delivery => {
    const message = { pool, event, suppressed: suppressed.get(url) ?? 0 };
    return { url, message, incarnation, attempts: 0, sinceMs, nextMs: sinceMs };
  });
  return [...kept, ...added];
}

/** Drops the oldest deliveries of each webhook that has too many. */
function withinLimit(outbox: Outbox): Outbox {
  const excess = new Map<string, number>();
  for (const [url, waiting] of queuesOf(outbox)) {
    if (waiting.length > LIMITS.deliveriesPerWebhook)
      excess.set(url, waiting.length - LIMITS.deliveriesPerWebhook);
  }
  let next = outbox;
  for (const [url, count] of excess) next = tallied(next, url, { dropped: count });
  const deliveries = next.deliveries.filter(({ url }) => {
    const left = excess.get(url) ?? 0;
    excess.set(url, left - 1);
    return left <= 0;
  });
  return deliveries.length === next.deliveries.length ? next : { ...next, deliveries };
}

/**
 * What is to be attempted now; null: nothing. A webhook is told events in order, one after another, and one that fails
 * holds up its own only. Of several webhooks the one that has waited longest comes first.
 */
export function nextDelivery(outbox: Outbox, nowMs: EpochMs): Delivery | null {
  let chosen: { readonly dueMs: EpochMs; readonly head: Delivery } | null = null;
  for (const waiting of queuesOf(outbox).values()) {
    const dueMs = queueDueMs(waiting);
    const head = waiting.find(({ nextMs }) => nextMs <= nowMs);
    if (head === undefined || dueMs > nowMs) continue;
    if (chosen === null || dueMs < chosen.dueMs) chosen = { dueMs, head };
  }
  return chosen?.head ?? null;
}

/** When there next is something to attempt; null: never. */
export function nextDeliveryMs(outbox: Outbox): EpochMs | null {
  return earliest([...queuesOf(outbox).values()].map(queueDueMs));
}

/** A webhook whose last attempt failed is left alone until its pause is over, whatever else there is to tell it. */
function queueDueMs(waiting: readonly Delivery[]): EpochMs {
  const pausesMs = waiting.filter(({ attempts }) => attempts > 0).map(({ nextMs }) => nextMs);
  if (pausesMs.length > 0) return pausesMs.reduce(later);
  return earliest(waiting.map(({ nextMs }) => nextMs)) ?? epochMs(0);
}

function queuesOf({ deliveries }: Outbox): ReadonlyMap<string, readonly Delivery[]> {
  const queues = new Map<string, Delivery[]>();
  for (const delivery of deliveries) {
    const queue = queues.get(delivery.url);
    if (queue === undefined) queues.set(delivery.url, [delivery]);
    else queue.push(delivery);
  }
  return queues;
}

/**
 * Takes note of an attempt before it is made, so that one which never ends is over when its time is. `chance`: 0…1, spreads
 * the next one.
 */
export function beginAttempt(outbox: Outbox, delivery: Delivery, nowMs: EpochMs, chance: number): Outbox {
  return replace(outbox, delivery, (held) => {
    const attempts = held.attempts + 1;
    return { ...held, attempts, nextMs: after(nowMs, ATTEMPT_MS + pauseMs(attempts, chance)) };
  });
}

/** Takes note of what became of an attempt. Nothing changes when its delivery is gone by then. */
export function endAttempt(
  outbox: Outbox,
  delivery: Delivery,
  result: DeliveryResult,
  nowMs: EpochMs,
  chance: number,
): Outbox {
  const held = outbox.deliveries.find((candidate) => isSame(candidate, delivery));
  if (held === undefined) return outbox;
  const { url } = delivery;
  if (result.kind === "delivered") {
    const without = replace(outbox, delivery, () => null);
    return tallied(without, url, { delivered: 1, lastFailure: null });
  }
  const lastFailure = result.reason;
  const nextMs = after(nowMs, pauseMs(held.attempts, chance));
  if (result.kind === "dropped" || nextMs > after(held.sinceMs, GIVE_UP_MS)) {
    const without = replace(outbox, delivery, () => null);
    return tallied(without, url, { dropped: 1, lastFailure });
  }
  return tallied(
    replace(outbox, delivery, () => ({ ...held, nextMs })),
    url,
    { lastFailure },
  );
}

/** Doubles from a second to five minutes; at random between half of that and all of it. */
function pauseMs(attempts: number, chance: number): number {
  const longestMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, attempts - 1));
  return Math.round(longestMs * (0.5 + chance / 2));
}

/** What an answer to a delivery means. 410: this one is not wanted any more. */
export function judgeAnswer(status: number): DeliveryResult {
  if (status >= 200 && status < 300) return { kind: "delivered" };
  return { kind: status === 410 ? "dropped" : "failed", reason: `status ${status}` };
}

/** What became of a webhook's deliveries. */
export function tallyOf(outbox: Outbox, url: string): Tally & { readonly waiting: number } {
  const waiting = outbox.deliveries.filter((delivery) => delivery.url === url).length;
  return { ...(outbox.tallies.get(url) ?? NO_TALLY), waiting };
}

function tallied(outbox: Outbox, url: string, more: Partial<Tally>): Outbox {
  const { delivered, dropped, lastFailure } = outbox.tallies.get(url) ?? NO_TALLY;
  const tally = {
    delivered: delivered + (more.delivered ?? 0),
    dropped: dropped + (more.dropped ?? 0),
    lastFailure: more.lastFailure === undefined ? lastFailure : more.lastFailure,
  };
  return { ...outbox, tallies: new Map([...outbox.tallies, [url, tally]]) };
}

function replace(outbox: Outbox, delivery: Delivery, next: (held: Delivery) => Delivery | null): Outbox {
  const deliveries = outbox.deliveries.flatMap((held) => {
    if (!isSame(held, delivery)) return [held];
    const replaced = next(held);
    return replaced === null ? [] : [replaced];
  });
  return { ...outbox, deliveries };
}

function isSame(a: Delivery, b: Delivery): boolean {
  return a.url === b.url && a.message.event.id === b.message.event.id;
}
