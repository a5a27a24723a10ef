import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Roll } from "../../worker/edge/roll.ts";
import { Vigil, type Watched } from "../../worker/edge/vigil.ts";

const REFRESH_MS = 5_000;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A pool whose ring wants to be asked every 5 s. */
class Pool implements Watched {
  readonly vigils = new Roll<Vigil>();
  asked = 0;
  #dueMs = Date.now() + REFRESH_MS;

  keepUp(nowMs: number): number {
    if (nowMs >= this.#dueMs) {
      this.asked++;
      this.#dueMs = nowMs + REFRESH_MS;
    }
    return this.#dueMs - nowMs;
  }
}

/** A request that keeps something open, and counts how often it looked after that. */
class Keeping {
  held = 0;
  looks = 0;
  wantsMs = Number.POSITIVE_INFINITY;
  readonly vigil: Vigil;

  constructor(pool: Pool) {
    this.vigil = new Vigil(this, pool, () => {
      this.looks++;
      return this.wantsMs;
    });
  }

  waitUntil(work: Promise<unknown>): void {
    this.held++;
    void work.then(() => this.held--);
  }
}

function pass(durationMs: number): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(durationMs);
}

it("asks the ring at its pace, once for all that is open, and lets its request go when it ends", async () => {
  const pool = new Pool();
  const [first, second] = [new Keeping(pool), new Keeping(pool)];
  await pass(3 * REFRESH_MS);
  expect(pool.asked).toBe(3);
  expect([first.held, second.held]).toEqual([1, 1]);
  first.vigil.end();
  await pass(2 * REFRESH_MS);
  expect(pool.asked).toBe(5);
  second.vigil.end();
  await pass(10 * REFRESH_MS);
  expect(pool.asked).toBe(5);
  expect([first.held, second.held, pool.vigils.all().length]).toEqual([0, 0, 0]);
});

it("looks when it wanted to, and at once when it is called", async () => {
  const pool = new Pool();
  const keeping = new Keeping(pool);
  keeping.wantsMs = 400;
  await pass(0);
  expect(keeping.looks).toBe(1);
  await pass(400);
  expect(keeping.looks).toBe(2);
  for (const vigil of pool.vigils.all()) vigil.call();
  await pass(0);
  expect(keeping.looks).toBe(3);
  keeping.vigil.end();
});
