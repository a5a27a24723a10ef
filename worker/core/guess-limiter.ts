import { after, type EpochMs } from "../../durable/model/time.ts";

/** Wrong tokens that one network may send in quick succession; the last of them closes it out. */
const FREE_GUESSES = 5;

/** The same of an IPv6 /48, which one may own, with 65,536 networks to guess from. More, as many may live in it. */
const FREE_SITE_GUESSES = 20;

/** A network that sent no wrong token for so long, or for so long after it was let in again, begins anew. */
const FORGET_MS = 60_000;

/** How long a network is shut out at first, and at most. Every wrong token after a wait doubles the next one. */
const FIRST_WAIT_MS = 30_000;
const LONGEST_WAIT_MS = 480_000;

/** Wrong tokens of all networks together: so many per second, and so many at once after a quiet time. */
const TOTAL_PER_SECOND = 20;
const TOTAL_BURST = 100;

/** What one wrong token takes of the total, which is counted in thousandths, so that a millisecond gives whole ones back. */
const COST = 1_000;
const FULL = TOTAL_BURST * COST;

/** Networks remembered that a right token came from. */
const MAX_KNOWN = 256;

/**
 * Networks remembered that guessed, and their sites. The total lets so many wrong tokens through in the longest time that one has
 * to be remembered, and none more but from those known; so nobody can have himself forgotten by guessing from elsewhere.
 */
const MAX_NETWORKS =
  MAX_KNOWN + 2 * (TOTAL_BURST + Math.ceil((TOTAL_PER_SECOND * (LONGEST_WAIT_MS + FORGET_MS)) / 1_000));

interface Guesser {
  /** Wrong tokens in a row. */
  readonly wrong: number;
  /** From then on a token of its is looked at. */
  readonly freeMs: EpochMs;
}

/**
 * Slows down who guesses admin tokens at this isolate: by network, by IPv6 site, and all together. A right token takes nothing
 * back, or whoever holds a viewer's could guess an operator's for as long as he likes. But a network that one came from waits
 * for its own wrong tokens only, so that nobody who guesses elsewhere can keep operators out.
 */
export class GuessLimiter {
  /** By their last wrong token, the newest last. */
  readonly #guessers = new Map<string, Guesser>();
  /** That a right token came from, the latest last. */
  readonly #known = new Set<string>();
  #left = FULL;
  #leftAtMs: EpochMs | null = null;

  /** Networks and sites remembered. */
  get size(): number {
    return this.#guessers.size + this.#known.size;
  }

  /** How long it takes until a token from this network (`networkOf`) is looked at, milliseconds; 0: now. */
  waitMs(network: string, nowMs: EpochMs): number {
    const ownMs = this.#waitOf(network, nowMs);
    if (this.#known.has(network)) return ownMs;
    const site = siteOf(network);
    const siteMs = site === null ? 0 : this.#waitOf(site, nowMs);
    const missing = COST - this.#refilled(nowMs);
    return Math.max(ownMs, siteMs, Math.ceil(missing / TOTAL_PER_SECOND));
  }

  /** A token from this network was looked at, and is wrong. */
  countWrong(network: string, nowMs: EpochMs): void {
    this.#left = Math.max(0, this.#refilled(nowMs) - COST);
    this.#leftAtMs = nowMs;
    this.#note(network, FREE_GUESSES, nowMs);
    const site = siteOf(network);
    if (site !== null) this.#note(site, FREE_SITE_GUESSES, nowMs);
  }

  /** A token from this network was looked at, and is right. */
  countRight(network: string): void {
    this.#known.delete(network);
    this.#known.add(network);
    const [oldest] = this.#known;
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }

  #waitOf(guesser: string, nowMs: EpochMs): number {
    return Math.max(0, (this.#guessers.get(guesser)?.freeMs ?? nowMs) - nowMs);
  }

  #note(guesser: string, freeGuesses: number, nowMs: EpochMs): void {
    const before = this.#guessers.get(guesser);
    const isAnew = before === undefined || nowMs >= after(before.freeMs, FORGET_MS);
    const wrong = isAnew ? 1 : before.wrong + 1;
    this.#guessers.delete(guesser);
    this.#guessers.set(guesser, { wrong, freeMs: after(nowMs, waitAfter(wrong, freeGuesses)) });
    if (this.#guessers.size > MAX_NETWORKS) this.#forgetOldest();
  }

  /** What is left of the total. */
  #refilled(nowMs: EpochMs): number {
    const passedMs = Math.max(0, nowMs - (this.#leftAtMs ?? nowMs));
    return Math.min(FULL, this.#left + passedMs * TOTAL_PER_SECOND);
  }

  #forgetOldest(): void {
    const [oldest] = this.#guessers.keys();
    if (oldest !== undefined) this.#guessers.delete(oldest);
  }
}

/** The /48 that an IPv6 /64, written in full, is part of; null for anything else. */
function siteOf(network: string): string | null {
  return network.includes(":") ? network.split(":", 3).join(":") : null;
}

/** How long nothing is looked at after so many wrong tokens in a row, milliseconds. */
function waitAfter(wrong: number, freeGuesses: number): number {
  return wrong < freeGuesses ? 0 : Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (wrong - freeGuesses));
}
