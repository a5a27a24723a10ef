import { Agent, request as startRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "./complaint.ts";
import { type Client, CONNECTIONS, pathOf } from "./requests.ts";
import { quantile } from "./stats.ts";
import type { RunningWorker } from "./workerd.ts";

/** An answer that takes longer is an error, milliseconds. */
const TIMEOUT_MS = 5_000;

/** How long clients waited, from sending to the last byte of the answer. */
export interface FixedRateRun {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What to send at a fixed rate. */
export interface FixedRate {
  readonly worker: RunningWorker;
  readonly clients: readonly Client[];
  readonly bodyBytes: number;
  /** Requests per second. */
  readonly rate: number;
  readonly seconds: number;
}

type Answer =
  | { readonly kind: "complete"; readonly tookMs: number }
  | { readonly kind: "failed"; readonly reason: string };

/**
 * Sends requests by the clock, whether or not earlier ones were answered, and measures each from when it was handed to
 * the agent: waiting for a free connection counts, being woken late by our own timer does not.
 */
export async function sendAtFixedRate(load: FixedRate): Promise<FixedRateRun> {
  const { clients, rate, seconds } = load;
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const count = rate * seconds;
  const answers: Promise<Answer>[] = [];
  const startMs = performance.now();
  for (let index = 0; index < count; index++) {
    const aheadMs = startMs + (index * 1_000) / rate - performance.now();
    if (aheadMs > 0) await sleep(aheadMs);
    const client = clients[index % clients.length];
    if (client !== undefined) answers.push(ask(load, client, agent));
  }
  const answered = await Promise.all(answers);
  agent.destroy();
  const tookMs = answered.map((answer) => {
    if (answer.kind === "failed") throw new Complaint(`a request at fixed rate failed: ${answer.reason}`);
    return answer.tookMs;
  });
  return { p50Ms: quantile(tookMs, 0.5), p99Ms: quantile(tookMs, 0.99) };
}

function ask({ worker, bodyBytes }: FixedRate, client: Client, agent: Agent): Promise<Answer> {
  return new Promise((resolve) => {
    const fail = (reason: string): void => resolve({ kind: "failed", reason });
    const sentMs = performance.now();
    const request = startRequest({
      host: "127.0.0.1",
      port: worker.port,
      path: pathOf(bodyBytes),
      headers: client.headers,
      agent,
      timeout: TIMEOUT_MS,
    });
    request.once("response", (response) => {
      let receivedBytes = 0;
      response.on("data", (chunk: Buffer) => {
        receivedBytes += chunk.length;
      });
      response.once("end", () => {
        const tookMs = performance.now() - sentMs;
        if (response.statusCode === 200 && receivedBytes === bodyBytes) resolve({ kind: "complete", tookMs });
        else fail(`status ${response.statusCode} with ${receivedBytes} of ${bodyBytes} bytes`);
      });
      response.once("error", (error) => fail(error.message));
    });
    request.once("timeout", () => request.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    request.once("error", (error) => fail(error.message));
    request.end();
  });
}
