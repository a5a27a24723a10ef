import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { type EpochMs, epochMs } from "../../durable/model/time.ts";
import type { Choice, Choosing } from "../../worker/core/choice.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import type { SubChannel } from "../../worker/core/sub-channel.ts";
import { WaitingLine } from "../../worker/core/waiting-line.ts";
import { Roll } from "../../worker/edge/roll.ts";
import type { Vigil } from "../../worker/edge/vigil.ts";
import { type Room, waitForRoom } from "../../worker/edge/wait-for-room.ts";
import { NOON, snapshot } from "./support/build.ts";
import { poolConfig, visit } from "./support/visit.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
});

afterEach(() => {
  vi.useRealTimers();
});

const RULES = { timeoutMs: 250, maxRequests: 100 };
const REFRESH_MS = 100;

/** A pool whose only place is taken, and its ring. */
class Pool implements Room {
  readonly view = new PoolView(snapshot({ a: 1 }, { config: poolConfig({ maxInFlight: 1 }) }), NOON, 0);
  readonly vigils = new Roll<Vigil>();
  readonly line = new WaitingLine({
    mayChoose: (nowMs) => nowMs < this.leaseEndsMs,
    choose: (choosing) => this.choose(choosing),
  });
  readonly channel: SubChannel;
  leaseEndsMs = Number.POSITIVE_INFINITY;
  /** What the ring has to say when somebody asks it; null: it says nothing new. */
  news: Snapshot | null = null;
  /** How often it was asked because time went by, and because somebody could not go on without. */
  readonly asked = { inPassing: 0, first: 0 };
  #dueMs = Date.now() + REFRESH_MS;

  constructor() {
    this.view.onRoom = (freed) => this.line.serve(freed, epochMs(Date.now()));
    this.view.choose(visit());
    const [channel] = this.view.channels();
    if (channel === undefined) throw new Error("there is no backend");
    this.channel = channel;
  }

  choose(choosing: Choosing): Choice {
    return this.view.choose(choosing);
  }

  keepUp(nowMs: number): number {
    if (nowMs >= this.#dueMs) {
      this.asked.inPassing++;
      this.#dueMs = nowMs + REFRESH_MS;
    }
    return this.#dueMs - nowMs;
  }

  async catchUp(nowMs: EpochMs): Promise<boolean> {
    if (nowMs < this.leaseEndsMs) return true;
    this.asked.first++;
    await Promise.resolve();
    this.leaseEndsMs = Number.POSITIVE_INFINITY;
    if (this.news !== null) this.view.adopt(this.news, nowMs, 0);
    return true;
  }
}

/** A request, and what keeps it alive that is not done. */
class Request {
  readonly client = new AbortController();
  readonly gone = this.client.signal;
  held = 0;

  get isAbandoned(): boolean {
    return this.gone.aborted;
  }

  waitUntil(work: Promise<unknown>): void {
    this.held++;
    void work.then(() => this.held--);
  }
}

function wait(request: Request, pool: Pool): Promise<Choice> {
  const found = waitForRoom(request, pool, visit(), RULES, epochMs(Date.now()));
  if (found === null) throw new Error("it does not wait");
  return found;
}

it("gets the place that another one leaves, and leaves nothing behind", async () => {
  const pool = new Pool();
  const { channel } = pool;
  const request = new Request();
  const found = wait(request, pool);
  expect(request.held).toBeGreaterThan(0);
  await vi.advanceTimersByTimeAsync(100);
  channel.end();
  expect(await found).toMatchObject({ kind: "backend", channel });
  await vi.advanceTimersByTimeAsync(0);
  expect([request.held, vi.getTimerCount(), channel.inFlight]).toEqual([0, 0, 1]);
});

it("is refused when the time is up, and not before", async () => {
  const pool = new Pool();
  const seen = vi.fn<(choice: Choice) => void>();
  void wait(new Request(), pool).then(seen);
  await vi.advanceTimersByTimeAsync(249);
  expect(seen).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(seen).toHaveBeenCalledWith({ kind: "full" });
});

it("takes no place when its client leaves, neither in line nor just called, and the next one gets it", async () => {
  const pool = new Pool();
  const { channel } = pool;
  const [leaving, called, staying] = [new Request(), new Request(), new Request()];
  const found = [leaving, called, staying].map((request) => wait(request, pool));
  leaving.client.abort();
  await vi.advanceTimersByTimeAsync(0);
  channel.end();
  called.client.abort();
  expect(await Promise.all(found)).toMatchObject([{ kind: "full" }, { kind: "full" }, { channel }]);
  expect([channel.inFlight, vi.getTimerCount()]).toEqual([1, 0]);
});

it("does not wait where the pool does not want it, nor in a line that is too long", () => {
  const pool = new Pool();
  const ask = (rules: typeof RULES) => waitForRoom(new Request(), pool, visit(), rules, NOON);
  expect(ask({ timeoutMs: 0, maxRequests: 100 })).toBeNull();
  expect(ask({ timeoutMs: 250, maxRequests: 1 })).not.toBeNull();
  expect(ask({ timeoutMs: 250, maxRequests: 1 })).toBeNull();
});

/** What the ring says once the only backend's drain is over. */
const CLOSED = snapshot({ a: { admits: "none" } });

describe("past the snapshot's lease", () => {
  it("is served once the ring was asked, by what the ring says", async () => {
    const pool = new Pool();
    const found = wait(new Request(), pool);
    pool.leaseEndsMs = Date.now();
    pool.channel.end();
    expect(await found).toMatchObject({ kind: "backend", channel: pool.channel });
    expect(pool.asked.first).toBe(1);
  });

  it.each([
    ["a place gets free", (pool: Pool) => pool.channel.end()],
    ["the time is up", () => {}],
  ])("goes to no backend that is closed by then, when %s", async (_, happens) => {
    const pool = new Pool();
    const found = wait(new Request(), pool);
    pool.leaseEndsMs = Date.now();
    pool.news = CLOSED;
    happens(pool);
    await vi.advanceTimersByTimeAsync(RULES.timeoutMs);
    expect(await found).toMatchObject({ kind: "no_backend" });
    expect([pool.asked.first, vi.getTimerCount()]).toEqual([1, 0]);
  });
});

it("keeps the isolate asking the ring while it waits, and no longer", async () => {
  const pool = new Pool();
  void wait(new Request(), pool);
  await vi.advanceTimersByTimeAsync(2 * REFRESH_MS);
  expect(pool.asked.inPassing).toBe(2);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([pool.asked.inPassing, pool.vigils.all().length]).toEqual([2, 0]);
});
