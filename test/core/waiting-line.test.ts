import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { after, type EpochMs } from "../../durable/model/time.ts";
import type { Choosing } from "../../worker/core/choice.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import type { SubChannel } from "../../worker/core/sub-channel.ts";
import { type Waiting, WaitingLine } from "../../worker/core/waiting-line.ts";
import { NOON, snapshot } from "./support/build.ts";
import { connection, poolConfig, visit } from "./support/visit.ts";

const BY_CONNECTION = [{ by: "connection" }] as const;
const RULES = { timeoutMs: 250, maxRequests: 100 };

/** A pool of backends with one place each, its line, and who was called. */
class Counter {
  readonly view: PoolView;
  readonly line: WaitingLine;
  readonly called: string[] = [];
  readonly woken: string[] = [];
  /** The lease of its snapshot lasts. */
  isLeased = true;
  nowMs: EpochMs = NOON;

  constructor(backends: Parameters<typeof snapshot>[0], maxInFlight = 1) {
    this.view = new PoolView(snapshot(backends, { config: poolConfig({ maxInFlight }) }), NOON, 0);
    this.line = new WaitingLine({
      mayChoose: () => this.isLeased,
      choose: (choosing) => this.view.choose(choosing),
    });
    this.view.onRoom = (channel) => this.line.serve(channel, this.nowMs);
  }

  /** Begins at once; null when there is no room. */
  begin(choosing: Choosing = visit()): SubChannel | null {
    const choice = this.view.choose(choosing);
    return choice.kind === "backend" ? choice.channel : null;
  }

  join(name: string, choosing: Choosing = visit(), rules = RULES): Waiting {
    const untilMs = after(this.nowMs, rules.timeoutMs);
    const waiting = {
      choosing,
      untilMs,
      call: () => void this.called.push(name),
      wake: () => void this.woken.push(name),
    };
    if (!this.line.join(waiting, rules, this.nowMs)) throw new Error(`${name} was refused`);
    return waiting;
  }

  /** Where a request goes that waited; why not, if it goes nowhere. */
  claim(waiting: Waiting): string {
    const choice = this.line.claim(waiting, this.nowMs);
    if (choice === null) return "ask first";
    return choice.kind === "backend" ? choice.channel.id : choice.kind;
  }

  get inFlight(): readonly number[] {
    return this.view.channels().map((channel) => channel.inFlight);
  }
}

describe("a place that gets free", () => {
  it("goes to the first in line in the same step, so that nobody who comes later can be quicker", () => {
    const counter = new Counter({ a: 1 });
    const open = counter.begin();
    const [first, second] = [counter.join("first"), counter.join("second")];
    open?.end();
    expect(counter.called).toEqual(["first"]);
    expect(counter.inFlight).toEqual([1]);
    expect(counter.begin()).toBeNull();
    expect(counter.claim(first)).toBe("a");
    counter.view.channels()[0]?.end();
    expect(counter.called).toEqual(["first", "second"]);
    expect(counter.claim(second)).toBe("a");
  });

  it("is passed by by those who are bound to another backend", () => {
    const counter = new Counter({ a: 1, b: 1 });
    const bound = visit({ affinity: BY_CONNECTION, connection: connection("tls 1") });
    const home = counter.begin(bound);
    const other = counter.begin();
    expect(other).not.toBeNull();
    counter.join("bound", bound);
    counter.join("free");
    other?.end();
    expect(counter.called).toEqual(["free"]);
    home?.end();
    expect(counter.called).toEqual(["free", "bound"]);
  });

  it("goes to the next when who was called is gone", () => {
    const counter = new Counter({ a: 1 });
    const open = counter.begin();
    const [first, second] = [counter.join("first"), counter.join("second")];
    open?.end();
    counter.line.leave(first);
    expect(counter.called).toEqual(["first", "second"]);
    expect(counter.claim(second)).toBe("a");
    expect(counter.inFlight).toEqual([1]);
  });

  // The runtime drops a request whose client left, and nothing of it runs any more.
  it("goes to the next when who was called never comes, as soon as anybody asks", () => {
    const counter = new Counter({ a: 1 });
    const open = counter.begin();
    const dead = counter.join("dead");
    open?.end();
    counter.nowMs = after(NOON, 1_000);
    const living = counter.join("living");
    counter.line.serve(null, counter.nowMs);
    expect(counter.called).toEqual(["dead", "living"]);
    expect([counter.claim(dead), counter.claim(living)]).toEqual(["full", "a"]);
    expect(counter.inFlight).toEqual([1]);
  });

  it("goes to nobody whose time is up", () => {
    const counter = new Counter({ a: 1 });
    const open = counter.begin();
    counter.join("late");
    counter.nowMs = after(NOON, RULES.timeoutMs);
    open?.end();
    expect(counter.called).toEqual([]);
    expect(counter.inFlight).toEqual([0]);
  });
});

describe("while the snapshot is past its lease", () => {
  it("gives a place to nobody, but wakes all who wait to ask, and then serves them in order", () => {
    const counter = new Counter({ a: 1 });
    const open = counter.begin();
    const first = counter.join("first");
    counter.join("second");
    counter.isLeased = false;
    open?.end();
    expect([counter.called, counter.woken, counter.inFlight]).toEqual([[], ["first", "second"], [0]]);
    counter.isLeased = true;
    counter.line.serve(null, NOON);
    expect([counter.called, counter.claim(first)]).toEqual([["first"], "a"]);
  });

  it("lets nobody have what was found for him before, nor what there is now", () => {
    const counter = new Counter({ a: 1 });
    const open = counter.begin();
    const [called, waiting] = [counter.join("called"), counter.join("waiting")];
    open?.end();
    expect(counter.called).toEqual(["called"]);
    counter.isLeased = false;
    expect([counter.claim(called), counter.claim(waiting)]).toEqual(["ask first", "ask first"]);
    expect(counter.inFlight).toEqual([0]);
  });
});

it("calls as many as there is room for when the limit is raised", () => {
  const counter = new Counter({ a: 1 });
  counter.begin();
  for (const name of ["first", "second", "third"]) counter.join(name);
  counter.view.adopt(snapshot({ a: 1 }, { config: poolConfig({ maxInFlight: 3 }) }), NOON, 0);
  counter.line.serve(null, NOON);
  expect(counter.called).toEqual(["first", "second"]);
});

it("looks once more when the time is up", () => {
  const counter = new Counter({ a: 1 });
  counter.begin();
  const waiting = counter.join("first");
  counter.view.adopt(snapshot({ a: 1, b: 1 }, { config: poolConfig({ maxInFlight: 1 }) }), NOON, 0);
  expect(counter.claim(waiting)).toBe("b");
  expect(counter.claim(waiting)).toBe("full");
});

it("refuses those who come when too many wait, and forgets the dead among these", () => {
  const counter = new Counter({ a: 1 });
  counter.begin();
  const rules = { timeoutMs: 250, maxRequests: 2 };
  counter.join("first", visit(), rules);
  counter.join("second", visit(), rules);
  expect(() => counter.join("third", visit(), rules)).toThrow("third was refused");
  counter.nowMs = after(NOON, 1_250);
  expect(() => counter.join("third", visit(), rules)).not.toThrow();
});

it("never exceeds the limit, leaves no place unused that somebody waits for, and loses none, whatever happens", () => {
  const events = fc.array(fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 30 })), { maxLength: 150 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), events, (limit, history) => {
      const counter = new Counter({ a: 2, b: 1 }, limit);
      const open: SubChannel[] = [];
      const waiting: { readonly number: number; readonly each: Waiting }[] = [];
      const seats = (): number => counter.inFlight.reduce((sum, each) => sum + each, 0);
      let number = 0;
      for (const [kind, which] of history) {
        const [some] = waiting.splice(kind >= 3 ? which % Math.max(1, waiting.length) : 0, kind >= 3 ? 1 : 0);
        if (kind === 0) {
          for (const channel of open.splice(which % Math.max(1, open.length), 1)) channel.end();
        } else if (some !== undefined && kind === 3) {
          counter.line.leave(some.each);
        } else if (some !== undefined) {
          const choice = counter.line.claim(some.each, counter.nowMs);
          if (choice?.kind === "backend") open.push(choice.channel);
        } else {
          const begun = counter.begin();
          if (begun !== null) open.push(begun);
          else waiting.push({ number, each: counter.join(String(number)) });
          number++;
        }
        const inLine = waiting.filter((each) => !counter.called.includes(String(each.number)));
        for (const each of counter.inFlight) expect(each).toBeLessThanOrEqual(limit);
        expect(inLine.length === 0 || seats() === 2 * limit).toBe(true);
        // First come, first served: whoever is still in line came after everybody who was called.
        expect(inLine.every((each) => counter.called.every((name) => Number(name) < each.number))).toBe(true);
      }
      for (const { each } of waiting) counter.line.leave(each);
      for (const channel of open) channel.end();
      expect(seats()).toBe(0);
    }),
  );
});
