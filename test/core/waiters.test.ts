import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Look, Waiters } from "../../durable/io/waiters.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { NOON } from "./support/build.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Something that several wait for, and how often they looked at it. */
class Thing {
  readonly waiters = new Waiters<string>();
  view = "before";
  isDone = false;
  nextMs: EpochMs | null = null;
  looks = 0;

  wait(waitMs: number, name = "thing"): Promise<string> {
    const look = (): Look<string> => {
      this.looks++;
      return { view: this.view, isDone: this.isDone, nextMs: this.nextMs };
    };
    return this.waiters.until({ name, look, waitMs, gone: new AbortController().signal });
  }

  /** Something happens, and everybody gets as far as they get by themselves. */
  async happen(): Promise<void> {
    this.waiters.wake();
    await vi.advanceTimersByTimeAsync(0);
  }
}

it("looks four times a second at most, however often it is woken", async () => {
  const thing = new Thing();
  void thing.wait(60_000);
  for (let turn = 0; turn < 100; turn++) {
    await thing.happen();
    await vi.advanceTimersByTimeAsync(10);
  }
  expect(thing.looks).toBeLessThanOrEqual(1 + 4 + 1);
  expect(thing.looks).toBeGreaterThanOrEqual(1 + 4);
});

it("looks at once when it is woken after a rest, and loses no wake that comes during one", async () => {
  const thing = new Thing();
  const waiting = thing.wait(60_000);
  await thing.happen();
  expect(thing.looks).toBe(2);
  Object.assign(thing, { view: "after", isDone: true });
  await thing.happen();
  expect(thing.looks).toBe(2);
  await vi.advanceTimersByTimeAsync(250);
  expect(await waiting).toBe("after");
  // And where nothing happened in a rest, nobody looks after it.
  expect(thing.looks).toBe(3);
});

it("looks once for all who wait for the same, and for each who waits for something else", async () => {
  const thing = new Thing();
  const waiting = Array.from({ length: 50 }, (_, index) => thing.wait(60_000, `thing ${index % 5}`));
  await thing.happen();
  expect(thing.looks).toBe(5 + 5);
  thing.isDone = true;
  await vi.advanceTimersByTimeAsync(250);
  await thing.happen();
  expect(thing.looks).toBe(5 + 5 + 5);
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(["before"]));
});

it("shows nobody what was so before something happened, though no time has passed", async () => {
  const thing = new Thing();
  expect(await thing.wait(0)).toBe("before");
  thing.view = "after";
  thing.waiters.wake();
  expect(await thing.wait(0)).toBe("after");
});

it("looks when it may be so by itself, and when the wait is over", async () => {
  const thing = new Thing();
  thing.nextMs = after(NOON, 3_000);
  const waiting = thing.wait(10_000);
  await vi.advanceTimersByTimeAsync(2_999);
  expect(thing.looks).toBe(1);
  thing.nextMs = null;
  await vi.advanceTimersByTimeAsync(1);
  expect(thing.looks).toBe(2);
  thing.view = "late";
  await vi.advanceTimersByTimeAsync(7_000);
  expect(await waiting).toBe("late");
});

it("tells the hundred and first who comes at once how things are", async () => {
  const thing = new Thing();
  const waiting = Array.from({ length: 100 }, () => thing.wait(60_000));
  expect(await thing.wait(60_000)).toBe("before");
  thing.isDone = true;
  await thing.happen();
  await Promise.all(waiting);
  // Then there is room again.
  thing.isDone = false;
  await thing.happen();
  const again = thing.wait(60_000);
  Object.assign(thing, { view: "again", isDone: true });
  await thing.happen();
  await vi.advanceTimersByTimeAsync(250);
  expect(await again).toBe("again");
});
