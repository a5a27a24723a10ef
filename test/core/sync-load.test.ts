import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import type { Versioned } from "../../durable/model/snapshot.ts";
import { after } from "../../durable/model/time.ts";
import { answerSync } from "../../durable/state/answer-sync.ts";
import { LeaseLedger } from "../../durable/state/lease-ledger.ts";
import { pace, refreshIntervalMs } from "../../durable/state/pacing.ts";
import { type Held, install } from "../../worker/core/lease.ts";
import { NOON } from "./support/build.ts";
import { Dice } from "./support/dice.ts";

const { sync } = DEFAULT_POOL_CONFIG;

interface Measured {
  readonly intervalMs: number;
  readonly leaseMs: number;
  /** Syncs that the ring answered, per second, while nothing changed. */
  readonly perSecond: number;
  /** From a change until half of all isolates, and all, routed by it, and until the ring knew that. */
  readonly halfMs: number;
  readonly allMs: number;
  readonly knownMs: number;
}

/**
 * So many isolates, each with traffic all the time, in virtual time: they begin within ten seconds of each other, and ask
 * whenever the ring told them to. A call takes no time. Once the load is even, the document changes, and somebody waits.
 */
function measure(isolates: number): Measured {
  const dice = new Dice(7);
  const ledger = new LeaseLedger(0, NOON);
  const held: (Held<Versioned> | null)[] = Array.from({ length: isolates }, () => null);
  const seqs = held.map(() => 0);
  const due = new Map<number, number[]>();
  let version = 1;
  let syncs = 0;
  let leaseMs = 0;
  const ask = (atMs: number, index: number): void => {
    const queue = due.get(atMs);
    if (queue === undefined) due.set(atMs, [index]);
    else queue.push(index);
  };
  /** Answers whoever asks at this time. */
  const tick = (atMs: number, isAwaited: boolean): void => {
    const nowMs = after(NOON, atMs);
    for (const index of due.get(atMs) ?? []) {
      const document = { incarnation: "life", version };
      const seq = (seqs[index] ?? 0) + 1;
      const haveVersion = held[index]?.document.version ?? 0;
      const request = {
        isolate: `isolate-${index}`,
        seq,
        incarnation: "life",
        haveVersion,
        report: null,
        inFlight: [],
      };
      const pacing = pace(sync, ledger.size, isAwaited, dice.next());
      const reply = answerSync(ledger, document, request, pacing, nowMs, () => {});
      if (reply.kind !== "leased") throw new Error(`answered: ${reply.kind}`);
      const installed = install(held[index] ?? null, reply, seq, nowMs);
      held[index] = installed;
      seqs[index] = seq;
      syncs++;
      leaseMs = pacing.leaseMs;
      ask((installed?.refreshAtMs ?? nowMs) - NOON, index);
    }
    due.delete(atMs);
  };
  for (let index = 0; index < isolates; index++) ask(Math.floor(10_000 * dice.next()), index);
  const intervalMs = refreshIntervalMs(sync, isolates);
  const evenMs = 10_000 + 2 * intervalMs;
  const changeMs = evenMs + 2 * intervalMs;
  for (let atMs = 0; atMs < evenMs; atMs++) tick(atMs, false);
  syncs = 0;
  for (let atMs = evenMs; atMs < changeMs; atMs++) tick(atMs, false);
  const perSecond = (1_000 * syncs) / (changeMs - evenMs);
  version = 2;
  const useMs: number[] = [];
  const told = new Set<number>();
  let atMs = changeMs;
  while (told.size < isolates) {
    for (const index of due.get(atMs) ?? []) {
      if (held[index]?.document.version === 1) useMs.push(atMs - changeMs);
      else told.add(index);
    }
    tick(atMs, true);
    atMs++;
  }
  return {
    intervalMs,
    leaseMs,
    perSecond,
    halfMs: useMs[Math.floor(isolates / 2)] ?? 0,
    allMs: useMs.at(-1) ?? 0,
    knownMs: ledger.governsSinceMs(2) - after(NOON, changeMs),
  };
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1_000).toFixed(durationMs < 20_000 ? 1 : 0)} s`;
}

it.each([10, 1_000, 20_000])("keeps load and staleness to the formula with %d isolates", async (isolates) => {
  const measured = measure(isolates);
  const { intervalMs, leaseMs, perSecond, halfMs, allMs, knownMs } = measured;
  // max(refresh, I/S), of which up to a tenth less by jitter; a lease outlives three of them.
  expect(intervalMs).toBe(Math.max(sync.refreshMs, (1_000 * isolates) / sync.maxPerSecond));
  expect(leaseMs).toBe(Math.max(sync.leaseMs, 3 * intervalMs));
  expect(perSecond).toBeGreaterThanOrEqual((1_000 * isolates) / intervalMs);
  expect(perSecond).toBeLessThanOrEqual((1_000 * isolates) / (0.9 * intervalMs));
  expect(perSecond).toBeLessThanOrEqual(sync.maxPerSecond / 0.9);
  expect(allMs).toBeLessThanOrEqual(intervalMs);
  // The next sync tells, which comes after a second where so few ask.
  const nextMs = Math.max(1_000, (1_000 * isolates) / sync.maxPerSecond);
  expect(knownMs).toBeLessThanOrEqual(allMs + nextMs);
  const row = [
    isolates.toLocaleString("en"),
    seconds(intervalMs),
    seconds(leaseMs),
    perSecond.toFixed(1),
    ...[halfMs, allMs, knownMs].map(seconds),
  ];
  const readme = await readFile(join(import.meta.dirname, "../../durable/README.md"), "utf8");
  const rows = readme.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  expect(rows.find(([, first]) => first === row[0])?.slice(1, -1)).toEqual(row);
});
