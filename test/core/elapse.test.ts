import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { stay } from "../../worker/edge/elapse.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A request whose client leaves when a test says so. */
function passage() {
  const client = new AbortController();
  return {
    gone: client.signal,
    get isAbandoned() {
      return client.signal.aborted;
    },
    leave: () => client.abort(),
  };
}

it("waits for as long as it should while the client stays", async () => {
  const over = vi.fn<() => void>();
  void stay(passage(), 100).then(over);
  await vi.advanceTimersByTimeAsync(99);
  expect(over).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(over).toHaveBeenCalledOnce();
});

it("ends with the client, whether it leaves meanwhile or has left before", async () => {
  const leaving = passage();
  const waited = stay(leaving, 100);
  leaving.leave();
  await waited;
  await stay(leaving, 100);
  expect(vi.getTimerCount()).toBe(0);
});
