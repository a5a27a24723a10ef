import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { UNREACHABLE } from "../../worker/core/problem.ts";
import { answerProblem } from "../../worker/edge/answer-problem.ts";
import { type Lane, Race } from "../../worker/edge/race.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** An attempt that ends as a test says. */
class Attempted {
  readonly #answer = Promise.withResolvers<Response>();
  readonly #lane: Lane;
  isOutrun = false;

  constructor(lane: Lane) {
    this.#lane = lane;
    lane.enter({ outrun: () => (this.isOutrun = true) });
  }

  get answer(): Promise<Response> {
    return this.#answer.promise;
  }

  get isAborted(): boolean {
    return this.#lane.signal.aborted;
  }

  bring(text: string): void {
    this.#lane.win();
    this.#answer.resolve(new Response(text));
  }

  /** Fails by an answer that may still be of use. */
  hold(text: string): { readonly isDropped: boolean } {
    const held = { isDropped: false };
    this.#lane.hold({ use: () => new Response(text), drop: () => (held.isDropped = true) });
    this.fail(text);
    return held;
  }

  /** Comes to nothing at all. */
  perish(): void {
    const problem = answerProblem(UNREACHABLE, new Request("http://shop.test/"));
    this.#answer.resolve(this.#lane.fail(true) ?? problem);
  }

  /** Fails, and answers itself only when nobody else is under way. */
  fail(text: string): void {
    this.#answer.resolve(this.#lane.fail(true) ?? new Response(text));
  }
}

/** An attempt that begins in a race. */
function enter(race: Race): Attempted {
  const begun: Attempted[] = [];
  race.start((lane) => {
    const attempted = new Attempted(lane);
    begun.push(attempted);
    return attempted.answer;
  });
  const [attempted] = begun;
  if (attempted === undefined) throw new Error("it did not begin");
  return attempted;
}

function raceOfTwo(): { readonly race: Race; readonly first: Attempted; readonly second: Attempted } {
  const race = new Race();
  return { race, first: enter(race), second: enter(race) };
}

describe.each(["first", "second"] as const)("the %s attempt", (name) => {
  const other = name === "first" ? "second" : "first";

  it("wins by bringing an answer, and the other one is aborted", async () => {
    const run = raceOfTwo();
    run[name].bring("here");
    expect([run[name].isOutrun, run[name].isAborted]).toEqual([false, false]);
    expect([run[other].isOutrun, run[other].isAborted]).toEqual([true, true]);
    // An aborted attempt fails, and nobody hears of it.
    run[other].fail("aborted");
    expect(await (await run.race.answer).text()).toBe("here");
  });

  it("just ends when it fails while the other one is under way", async () => {
    const run = raceOfTwo();
    run[name].fail("broken");
    expect(run[other].isAborted).toBe(false);
    run[other].bring("late, but here");
    expect([run[name].isOutrun, run[name].isAborted]).toEqual([false, false]);
    expect(await (await run.race.answer).text()).toBe("late, but here");
  });

  it("decides what comes of it when both fail and it is the last", async () => {
    const run = raceOfTwo();
    run[other].fail("broken");
    run[name].fail("broken as well");
    expect(await (await run.race.answer).text()).toBe("broken as well");
  });
});

describe("an answer that was worth a retry", () => {
  it("is the client's when the other attempt comes to nothing", async () => {
    const { race, first, second } = raceOfTwo();
    const held = first.hold("busy");
    second.perish();
    expect(await (await race.answer).text()).toBe("busy");
    expect(held.isDropped).toBe(false);
  });

  it("is dropped when the other one brings an answer, or another such", async () => {
    const { race, first, second } = raceOfTwo();
    const held = first.hold("busy");
    second.bring("here");
    expect(await (await race.answer).text()).toBe("here");
    expect(held.isDropped).toBe(true);

    const again = raceOfTwo();
    const earlier = again.first.hold("busy");
    const later = again.second.hold("busy as well");
    expect([earlier.isDropped, later.isDropped]).toEqual([true, false]);
  });
});

it("begins another attempt after a while, and none when it is over by then", async () => {
  const begin = vi.fn<() => void>();
  const slow = new Race();
  const first = enter(slow);
  slow.later(50, begin);
  await vi.advanceTimersByTimeAsync(49);
  expect(begin).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(begin).toHaveBeenCalledOnce();
  first.bring("here");
  for (const end of ["bring", "fail"] as const) {
    const quick = new Race();
    const only = enter(quick);
    quick.later(50, begin);
    only[end]("over");
    expect(await (await quick.answer).text()).toBe("over");
    expect(vi.getTimerCount()).toBe(0);
  }
});
