import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { freezeTime, id, pass, ring } from "./support.ts";

// As for drains, what `view` shows after an alarm is the alarm's doing: it looks at no clock.

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

const PIN = { health: "unhealthy", reason: "looked at it", forMs: 60_000 } as const;

it("takes a backend out until the alarm says that the pin is over, through evictions", async () => {
  const held = ring("pin-evicted");
  await held.put({ a: 1, b: 1, c: 1 });
  const untilMs = Date.now() + 60_000;
  const { version } = await held.do({ kind: "pin-backend", id: id("a"), pin: PIN });
  expect(await held.admits()).toEqual({ a: "none", b: "new", c: "new" });
  await held.evict();
  expect(await held.alarmAtMs()).toBe(untilMs);
  expect((await held.status()).backends[0]).toMatchObject({
    id: "a",
    admits: "none",
    health: "unhealthy",
    pin: { health: "unhealthy", reason: "looked at it", untilMs },
  });
  await held.evict();
  pass(60_000);
  expect(await held.runAlarm()).toBe(true);
  await held.evict();
  expect((await held.view()).version).toBe(version + 1);
  expect(await held.admits()).toEqual({ a: "new", b: "new", c: "new" });
  expect(await held.alarmAtMs()).toBeNull();
  const [first] = (await held.published()).backends;
  expect(first?.servingSinceMs).toBe(untilMs);
});

it("leaves no alarm when it is taken back", async () => {
  const held = ring("pin-taken-back");
  await held.put({ a: 1 });
  await held.do({ kind: "pin-backend", id: id("a"), pin: PIN });
  await held.do({ kind: "unpin-backend", id: id("a") });
  expect(await held.alarmAtMs()).toBeNull();
  expect((await held.status()).backends[0]).toMatchObject({ health: "healthy", pin: null });
});

it("shows in the status how traffic is shared out, and who panics", async () => {
  const held = ring("pin-tiers");
  await held.put({ a: 1, b: 1, c: { priority: 1 } });
  expect((await held.status()).tiers.map(({ sharePercent }) => sharePercent)).toEqual([100, 0]);
  for (const name of ["a", "b", "c"]) await held.do({ kind: "pin-backend", id: id(name), pin: PIN });
  const { tiers, backends } = await held.status();
  expect(tiers).toEqual([
    { priority: 0, isDegraded: false, sharePercent: 67, isPanicking: true },
    { priority: 1, isDegraded: false, sharePercent: 33, isPanicking: true },
  ]);
  expect(backends.map(({ admits, health }) => `${admits} ${health}`)).toEqual(Array(3).fill("new unhealthy"));
});
