import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { freezeTime, pass, report, ring } from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

const MINUTE_MS = 60_000;

/** Texts of sketches: one register each, and two. */
const [ONE, OTHER, BOTH] = ["AAB", "ABC", "AABABC"];

/** A report of sessions by backend. */
function seen(sketches: Readonly<Record<string, unknown>>, batch = 1) {
  const told = report({}, { batch });
  const backends = Object.entries(sketches).map(([id, sessionSketch]) => ({
    id,
    outcomes: { answered: 1 },
    sessionSketch,
  }));
  return { ...told, backends } as typeof told;
}

it("merges what isolates report of a backend, and counts a session once that came to two", async () => {
  const held = ring("estimates-merged");
  await held.put({ a: 1, b: 1 });
  const sinceMs = Date.now();
  await held.lease({ isolate: "isolate-1", report: seen({ a: ONE, b: ONE }) });
  await held.lease({ isolate: "isolate-2", report: seen({ a: BOTH }) });
  expect((await held.status()).backends).toMatchObject([
    { id: "a", estimatedSessions: { count: 2, sinceMs } },
    { id: "b", estimatedSessions: { count: 1, sinceMs } },
  ]);
});

it("takes a report whose sketch cannot be read, without it", async () => {
  const held = ring("estimates-unreadable");
  await held.put({ a: 1 });
  for (const [index, sketch] of ["A", "A".repeat(600), 7, null].entries())
    await held.lease({ report: seen({ a: sketch }, index + 1) });
  expect((await held.status()).backends).toMatchObject([
    { estimatedSessions: { count: 0 }, outcomes: { answered: 4 } },
  ]);
});

it("forgets sessions that have not come for an hour", async () => {
  const held = ring("estimates-forgotten");
  await held.put({ a: 1 });
  await held.lease({ report: seen({ a: ONE }) });
  pass(30 * MINUTE_MS);
  await held.lease({ report: seen({ a: OTHER }, 2) });
  expect((await held.status()).backends).toMatchObject([{ estimatedSessions: { count: 2 } }]);
  pass(30 * MINUTE_MS);
  expect((await held.status()).backends).toMatchObject([
    { estimatedSessions: { count: 1, sinceMs: Date.now() - 50 * MINUTE_MS } },
  ]);
});

it("begins anew with the object, which says so, and with a pool of the same name", async () => {
  const held = ring("estimates-evicted");
  await held.put({ a: 1 });
  await held.lease({ report: seen({ a: ONE }) });
  await held.evict();
  pass(5_000);
  const afresh = { estimatedSessions: { count: 0, sinceMs: Date.now() } };
  expect((await held.status()).backends).toMatchObject([afresh]);
  await held.lease({ report: seen({ a: ONE }) });
  await held.do({ kind: "delete-pool" });
  pass(5_000);
  await held.put({ a: 1 });
  expect((await held.status()).backends).toMatchObject([
    { estimatedSessions: { count: 0, sinceMs: Date.now() } },
  ]);
});
