import type { ServerResponse } from "node:http";
import { expect, inject, it, onTestFinished } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { startBackend } from "../support/backend.ts";
import { startEdge } from "../support/edge.ts";

const TIMEOUT_MS = 2_000;

it("holds every slow request to its deadline with a timer that belongs to another, long finished", async () => {
  const kept: ServerResponse[] = [];
  let whenKept: (() => void) | null = null;
  const backend = await startBackend("a", (request, response) => {
    if (request.url === "/quick") {
      response.end("quick");
      return;
    }
    kept.push(response);
    whenKept?.();
  });
  const edge = await startEdge({ bundle: inject("bundle") });
  onTestFinished(async () => {
    await edge.stop();
    await backend.stop();
  });
  await new AdminClient(edge.urls[0]).do("PUT", "/pools/default", {
    headerTimeoutMs: TIMEOUT_MS,
    backends: [{ id: "a", url: backend.url }],
  });
  const ask = async (path: string): Promise<{ readonly status: number; readonly tookMs: number }> => {
    const beganMs = performance.now();
    const response = await fetch(edge.urls[0] + path);
    await response.text();
    return { status: response.status, tookMs: performance.now() - beganMs };
  };
  expect((await ask("/quick")).status).toBe(200);
  const allKept = new Promise<void>((resolve) => {
    whenKept = () => kept.length === 6 && resolve();
  });
  const asked = Array.from({ length: 6 }, (_, index) => ask(`/slow/${index}`));
  await allKept;
  // The first answers in time, but only once the isolate has looked after it.
  const closed = kept.slice(1).map((response) => new Promise((resolve) => response.on("close", resolve)));
  await new Promise((resolve) => setTimeout(resolve, 0.8 * TIMEOUT_MS));
  kept[0]?.end("just in time");
  const answers = await Promise.all(asked);
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 504, 504, 504, 504, 504]);
  for (const { tookMs } of answers.filter(({ status }) => status === 504)) {
    expect(tookMs).toBeGreaterThan(TIMEOUT_MS - 50);
    expect(tookMs).toBeLessThan(2 * TIMEOUT_MS);
  }
  // What timed out is given up at the backend too.
  await Promise.all(closed);
});
