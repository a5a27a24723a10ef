import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { epochMs } from "../../durable/model/time.ts";
import type { Choice } from "../../worker/core/choice.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { WaitingLine } from "../../worker/core/waiting-line.ts";
import { waitForRoom } from "../../worker/edge/wait-for-room.ts";
import { NOON, snapshot } from "./support/build.ts";
import { poolConfig, visit } from "./support/visit.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
});

afterEach(() => {
  vi.useRealTimers();
});

const RULES = { timeoutMs: 250, maxRequests: 100 };

/** A pool whose only place is taken. */
function busy() {
  const view = new PoolView(snapshot({ a: 1 }, { config: poolConfig({ maxInFlight: 1 }) }), NOON, 0);
  const line = new WaitingLine((choosing) => view.choose(choosing));
  view.onRoom = (channel) => line.serve(channel, epochMs(Date.now()));
  view.choose(visit());
  const [channel] = view.channels();
  if (channel === undefined) throw new Error("there is no backend");
  return { line, channel };
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

function wait(request: Request, line: WaitingLine): Promise<Choice> {
  const found = waitForRoom(request, line, visit(), RULES, epochMs(Date.now()));
  if (found === null) throw new Error("it does not wait");
  return found;
}

it("gets the place that another one leaves, and leaves nothing behind", async () => {
  const { line, channel } = busy();
  const request = new Request();
  const found = wait(request, line);
  expect(request.held).toBe(1);
  await vi.advanceTimersByTimeAsync(100);
  channel.end();
  expect(await found).toMatchObject({ kind: "backend", channel });
  await vi.advanceTimersByTimeAsync(0);
  expect([request.held, vi.getTimerCount(), channel.inFlight]).toEqual([0, 0, 1]);
});

it("is refused when the time is up, and not before", async () => {
  const { line } = busy();
  const seen = vi.fn<(choice: Choice) => void>();
  void wait(new Request(), line).then(seen);
  await vi.advanceTimersByTimeAsync(249);
  expect(seen).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(seen).toHaveBeenCalledWith({ kind: "full" });
});

it("takes no place when its client leaves, neither in line nor just called, and the next one gets it", async () => {
  const { line, channel } = busy();
  const [leaving, called, staying] = [new Request(), new Request(), new Request()];
  const found = [leaving, called, staying].map((request) => wait(request, line));
  leaving.client.abort();
  await vi.advanceTimersByTimeAsync(0);
  channel.end();
  called.client.abort();
  expect(await Promise.all(found)).toMatchObject([{ kind: "full" }, { kind: "full" }, { channel }]);
  expect([channel.inFlight, vi.getTimerCount()]).toEqual([1, 0]);
});

it("does not wait where the pool does not want it, nor in a line that is too long", () => {
  const { line } = busy();
  const ask = (rules: typeof RULES) => waitForRoom(new Request(), line, visit(), rules, NOON);
  expect(ask({ timeoutMs: 0, maxRequests: 100 })).toBeNull();
  expect(ask({ timeoutMs: 250, maxRequests: 1 })).not.toBeNull();
  expect(ask({ timeoutMs: 250, maxRequests: 1 })).toBeNull();
});
