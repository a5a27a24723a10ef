import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { PolicyName } from "../../durable/model/pool.ts";
import { AdminClient } from "../support/admin.ts";
import { buildBundle } from "../support/bundle.ts";
import { startEdge } from "../support/edge.ts";
import { Complaint } from "./complaint.ts";
import { median, quantile } from "./stats.ts";
import type { Teardown } from "./teardown.ts";

const BACKENDS = 5;
const QUICK_MS = 5;

const SLOW_MS = 500;

interface Case {
  readonly policy: PolicyName;
  readonly slowEvery: number;
}

/**
 * What is measured. The slow backend takes its time for every so many of its requests: for every fifth, which are 4 % of all
 * by turns, or for all of them, where a policy that sees what is open leads few there.
 */
const CASES: readonly Case[] = [
  { policy: "round_robin", slowEvery: 5 },
  { policy: "least_request", slowEvery: 1 },
];

const HEDGE_MS = 100;
const RATE = 100;
const SECONDS = 4;

/** Pairs of runs, without and with, in turned order every second time. */
const ROUNDS = 4;

/** Until the isolate knows of the pool and the connections are open; what is asked meanwhile counts for the budget too. */
const WARM_UP_SECONDS = 2;

/** What came of one run. */
interface Run {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Requests at the backends for each one that came. */
  readonly load: number;
}

interface Round {
  readonly without: Run;
  readonly withIt: Run;
}

/** A slow backend among five: prints what hedging makes of p99, and what it costs in load. */
export async function benchHedging(teardown: Teardown): Promise<void> {
  const edge = await startEdge({ bundle: await buildBundle() });
  teardown.defer(() => edge.stop());
  const [base] = edge.urls;
  const admin = new AdminClient(base);
  const tried = await Promise.all(CASES.map((each) => prepare(each, admin, teardown)));
  for (const { name, arrivals, ...each } of tried) {
    const plain = `${base}/${name}-plain`;
    const hedged = `${base}/${name}-hedged`;
    for (const url of [plain, hedged]) await send(url, WARM_UP_SECONDS);
    const rounds: Round[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const runs = new Map<string, Run>();
      for (const url of round % 2 === 0 ? [plain, hedged] : [hedged, plain])
        runs.set(url, await measure(url, arrivals));
      const [without, withIt] = [runs.get(plain), runs.get(hedged)];
      if (without !== undefined && withIt !== undefined) rounds.push({ without, withIt });
    }
    print(each, rounds);
  }
}

/** Requests at the backends of one case. */
interface Arrivals {
  count: number;
}

/** Makes a pool without hedging and one with it, of the same backends, and a route to each. */
async function prepare({ policy, slowEvery }: Case, admin: AdminClient, teardown: Teardown) {
  const arrivals: Arrivals = { count: 0 };
  const name = policy.replace("_", "-");
  const urls = await Promise.all(
    Array.from({ length: BACKENDS }, (_, index) => start(index === 0 ? slowEvery : null, arrivals, teardown)),
  );
  const backends = urls.map((url, index) => ({ id: `b-${index}`, url }));
  for (const [kind, afterMs] of Object.entries({ plain: null, hedged: HEDGE_MS })) {
    const pool = `${name}-${kind}`;
    await admin.do("PUT", `/pools/${pool}`, { policy, retry: { hedge: { afterMs } }, backends });
    await admin.do("PUT", `/routes/${pool}`, { path: `/${pool}`, pool });
  }
  return { name, arrivals, policy, slowEvery };
}

/** Starts a backend; `slowEvery`: every so many of its requests it is slow, null: never. */
async function start(slowEvery: number | null, arrivals: Arrivals, teardown: Teardown): Promise<string> {
  let count = 0;
  const server = createServer((_, response) => {
    arrivals.count++;
    count++;
    const isSlow = slowEvery !== null && count % slowEvery === 0;
    setTimeout(() => response.end("ok"), isSlow ? SLOW_MS : QUICK_MS);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  teardown.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function measure(url: string, arrivals: Arrivals): Promise<Run> {
  arrivals.count = 0;
  const tookMs = await send(url, SECONDS);
  return {
    p50Ms: quantile(tookMs, 0.5),
    p99Ms: quantile(tookMs, 0.99),
    load: arrivals.count / tookMs.length,
  };
}

/** By the clock, whether or not earlier requests were answered. */
async function send(url: string, seconds: number): Promise<readonly number[]> {
  const startMs = performance.now();
  const answers: Promise<number>[] = [];
  for (let index = 0; index < RATE * seconds; index++) {
    const aheadMs = startMs + (index * 1_000) / RATE - performance.now();
    if (aheadMs > 0) await sleep(aheadMs);
    answers.push(ask(url));
  }
  return Promise.all(answers);
}

async function ask(url: string): Promise<number> {
  const sentMs = performance.now();
  const response = await fetch(url);
  await response.arrayBuffer();
  if (response.status !== 200) throw new Complaint(`a request was answered ${response.status}`);
  return performance.now() - sentMs;
}

function print({ policy, slowEvery }: Case, rounds: readonly Round[]): void {
  const ratio = median(rounds.map(({ without, withIt }) => withIt.p99Ms / without.p99Ms));
  const extra = median(rounds.map(({ withIt }) => 100 * (withIt.load - 1)));
  console.log(
    [
      "",
      `Hedging after ${HEDGE_MS} ms by ${policy} among ${BACKENDS} backends of ${QUICK_MS} ms, one of which takes ${SLOW_MS} ms for 1 request in ${slowEvery}, at ${RATE}/s:`,
      row(
        "without",
        rounds.map(({ without }) => without),
      ),
      row(
        "with   ",
        rounds.map(({ withIt }) => withIt),
      ),
      `  p99 with ÷ without, median: ${ratio.toFixed(2)} (target 0.50 at most)`,
      `  extra load, median: ${extra.toFixed(1)} % (target 10 % at most)`,
    ].join("\n"),
  );
}

function row(name: string, runs: readonly Run[]): string {
  return `  ${name}: p50 ${all(runs, "p50Ms")} ms, p99 ${all(runs, "p99Ms")} ms`;
}

/** A value of every run. */
function all(runs: readonly Run[], name: keyof Run): string {
  return runs.map((run) => run[name].toFixed(0)).join(", ");
}
