import * as fc from "fast-check";
import { expect, it } from "vitest";
import { after, type EpochMs } from "../../durable/model/time.ts";
import { GuessLimiter } from "../../worker/core/guess-limiter.ts";
import { networkOf } from "../../worker/core/identify.ts";
import { NOON } from "./support/build.ts";

const FORGET_MS = 60_000;

/** Guesses as often and as early as it may, and says how long each wait was. */
function guessEagerly(limiter: GuessLimiter, network: string, guesses: number): readonly number[] {
  let nowMs = NOON;
  return Array.from({ length: guesses }, () => {
    limiter.countWrong(network, nowMs);
    const waitMs = limiter.waitMs(network, nowMs);
    nowMs = after(nowMs, waitMs);
    return waitMs;
  });
}

it("lets five wrong tokens through, then one after each wait, which doubles up to eight minutes", () => {
  const waits = guessEagerly(new GuessLimiter(), "a", 11);
  expect(waits).toEqual([0, 0, 0, 0, 30_000, 60_000, 120_000, 240_000, 480_000, 480_000, 480_000]);
});

it("makes only the network wait that guesses", () => {
  const limiter = new GuessLimiter();
  guessEagerly(limiter, "a", 5);
  expect(limiter.waitMs("a", NOON)).toBe(30_000);
  expect(limiter.waitMs("b", NOON)).toBe(0);
});

it("forgets who sent no wrong token for a minute, counted from the end of its wait", () => {
  const limiter = new GuessLimiter();
  guessEagerly(limiter, "a", 5);
  const freeMs = after(NOON, 30_000);
  limiter.countWrong("a", after(freeMs, FORGET_MS));
  expect(limiter.waitMs("a", after(freeMs, FORGET_MS))).toBe(0);
});

it("remembers who waits less than a minute between wrong tokens", () => {
  const limiter = new GuessLimiter();
  const times = [0, 1, 2, 3, 4].map((count) => after(NOON, count * (FORGET_MS - 1)));
  for (const nowMs of times) limiter.countWrong("a", nowMs);
  expect(limiter.waitMs("a", times.at(-1) ?? NOON)).toBe(30_000);
});

it("lets a hundred wrong tokens of all networks through at once, and twenty more per second", () => {
  const limiter = new GuessLimiter();
  const guess = (from: number, nowMs: EpochMs): number => {
    let at = from;
    for (; limiter.waitMs(`network-${at}`, nowMs) === 0; at++) limiter.countWrong(`network-${at}`, nowMs);
    return at - from;
  };
  expect(guess(0, NOON)).toBe(100);
  expect(limiter.waitMs("somebody", NOON)).toBe(50);
  expect(limiter.waitMs("somebody", after(NOON, 49))).toBe(1);
  expect(guess(1_000, after(NOON, 1_000))).toBe(20);
  expect(guess(2_000, after(NOON, 3_600_000))).toBe(100);
});

interface Guess {
  readonly network: number;
  readonly passedMs: number;
}

const GUESSES: fc.Arbitrary<readonly Guess[]> = fc.array(
  fc.record({
    network: fc.oneof(fc.nat({ max: 2 }), fc.nat({ max: 200 })),
    passedMs: fc.oneof(fc.constant(0), fc.nat({ max: 100 }), fc.nat({ max: 90_000 })),
  }),
  { maxLength: 300, size: "max" },
);

it("looks at a token of a network as soon as it has waited for as long as it was told, if nobody else guesses, and never before", () => {
  fc.assert(
    fc.property(GUESSES, (guesses) => {
      const limiter = new GuessLimiter();
      let nowMs = NOON;
      for (const { network, passedMs } of guesses) {
        nowMs = after(nowMs, passedMs);
        const name = String(network);
        const waitMs = limiter.waitMs(name, nowMs);
        expect(limiter.waitMs(name, after(nowMs, waitMs))).toBe(0);
        expect(limiter.waitMs(name, after(nowMs, Math.max(0, waitMs - 1))) > 0).toBe(waitMs > 0);
        if (waitMs === 0) limiter.countWrong(name, nowMs);
      }
    }),
  );
});

it("looks at no more than five wrong tokens of one network at once, and four a minute in the long run", () => {
  const pauseMs = fc.oneof(fc.constantFrom(0, 59_999, FORGET_MS, 90_000), fc.nat({ max: 70_000 }));
  fc.assert(
    fc.property(fc.array(pauseMs, { maxLength: 200, size: "max" }), (pauses) => {
      const limiter = new GuessLimiter();
      let nowMs = NOON;
      let guesses = 0;
      for (const pause of pauses) {
        nowMs = after(nowMs, pause);
        if (limiter.waitMs("a", nowMs) > 0) continue;
        limiter.countWrong("a", nowMs);
        guesses++;
        expect(guesses).toBeLessThanOrEqual(5 + (4 * (nowMs - NOON)) / FORGET_MS);
      }
    }),
    { numRuns: 500 },
  );
});

// Whoever owns a /48 of IPv6 has 65,536 networks to guess from.
it("remembers a network for as long as it has to wait, however many others guess meanwhile, and stays bounded", () => {
  const limiter = new GuessLimiter();
  const waits = guessEagerly(limiter, "a", 9);
  const nowMs = after(
    NOON,
    waits.slice(0, -1).reduce((sum, waitMs) => sum + waitMs, 0),
  );
  let other = 0;
  for (let passedMs = 0; passedMs < 540_000; passedMs += 50) {
    const atMs = after(nowMs, passedMs);
    while (limiter.waitMs(`other-${other}`, atMs) === 0) limiter.countWrong(`other-${other++}`, atMs);
    expect(limiter.waitMs("a", atMs)).toBeGreaterThanOrEqual(480_000 - passedMs);
  }
  const lastMs = after(nowMs, 539_999);
  limiter.countWrong("a", lastMs);
  expect(limiter.waitMs("a", lastMs)).toBe(480_000);
  for (let more = 0; more < 20_000; more++) limiter.countWrong(`more-${more}`, after(lastMs, 50 * more));
  expect(other).toBeGreaterThan(10_000);
  expect(limiter.size).toBeLessThanOrEqual(23_000);
});

/** The networks of one /48, in turn. */
function networksOf(site: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => networkOf(`${site}:${index.toString(16)}::1`));
}

it("slows an IPv6 /48 as a whole after twenty wrong tokens, and lets nobody else wait for it", () => {
  const limiter = new GuessLimiter();
  let looked = 0;
  for (const network of networksOf("2001:db8:1", 20_000)) {
    if (limiter.waitMs(network, NOON) > 0) continue;
    limiter.countWrong(network, NOON);
    looked++;
  }
  expect(looked).toBe(20);
  expect(limiter.waitMs(networkOf("2001:db8:1:ffff::1"), NOON)).toBe(30_000);
  expect(limiter.waitMs(networkOf("2001:db8:2::1"), NOON)).toBe(0);
  expect(limiter.waitMs("192.0.2.1", NOON)).toBe(0);
});

it("lets a network that a right token came from wait for its own wrong ones only", () => {
  const limiter = new GuessLimiter();
  const home = networkOf("2001:db8:1:ffff::1");
  limiter.countRight(home);
  limiter.countRight("192.0.2.1");
  for (const network of networksOf("2001:db8:1", 20)) limiter.countWrong(network, NOON);
  for (let other = 0; other < 100; other++) limiter.countWrong(`other-${other}`, NOON);
  expect(limiter.waitMs("somebody", NOON)).toBeGreaterThan(0);
  expect([home, "192.0.2.1"].map((network) => limiter.waitMs(network, NOON))).toEqual([0, 0]);
  for (let guess = 0; guess < 5; guess++) limiter.countWrong(home, NOON);
  limiter.countRight(home);
  expect(limiter.waitMs(home, NOON)).toBe(30_000);
});

it("knows the last 256 networks that a right token came from, and forgets the others", () => {
  const limiter = new GuessLimiter();
  for (let network = 0; network < 300; network++) limiter.countRight(`known-${network}`);
  for (let other = 0; other < 100; other++) limiter.countWrong(`other-${other}`, NOON);
  const waits = Array.from({ length: 300 }, (_, network) => limiter.waitMs(`known-${network}`, NOON));
  expect(waits.filter((waitMs) => waitMs === 0)).toHaveLength(256);
  expect(waits.slice(44).every((waitMs) => waitMs === 0)).toBe(true);
  expect(limiter.size).toBe(256 + 100);
});
