import { expect, it } from "vitest";
import type { Pin } from "../../durable/model/health.ts";
import { after } from "../../durable/model/time.ts";
import { pinEvents } from "../../durable/state/pin-events.ts";
import { NO_RING } from "../../durable/state/ring-state.ts";
import { NOON, pool } from "./support/build.ts";

const PIN: Pin = { health: "unhealthy", reason: "its disk is full", untilMs: after(NOON, 60_000) };
const OTHER: Pin = { ...PIN, health: "healthy", reason: "it was not" };

it("tells a pin that was set, changed or ended, with what it said", () => {
  const before = pool({ a: { pin: null }, b: { pin: PIN }, c: { pin: PIN }, d: { pin: PIN }, e: {} });
  const now = pool({ a: { pin: PIN }, b: { pin: OTHER }, c: { pin: null }, d: { pin: PIN }, e: {} });
  const common = { atMs: NOON, cause: "operator" };
  expect(pinEvents(before, now, "operator", NOON)).toEqual([
    { ...common, backend: "a", kind: "pinned", evidence: PIN },
    { ...common, backend: "b", kind: "pinned", evidence: OTHER },
    { ...common, backend: "c", kind: "unpinned", evidence: PIN },
  ]);
});

it("tells nothing of backends and pools that came or went", () => {
  const pinned = pool({ a: { pin: PIN } });
  for (const other of [NO_RING, pool()]) {
    expect(pinEvents(pinned, other, "operator", NOON)).toEqual([]);
    expect(pinEvents(other, pinned, "operator", NOON)).toEqual([]);
  }
});
