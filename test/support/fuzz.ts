import { appendFileSync } from "node:fs";
import * as fc from "fast-check";

/**
 * What is fuzzed, and how many of all cases each target gets, percent. They are counted where they run: a target that does
 * not run is missed by `npm run fuzz`.
 */
const SHARES = {
  base64url: 5,
  tokens: 10,
  cookies: 9,
  curtain: 6,
  urls: 9,
  routes: 6,
  clients: 6,
  headers: 8,
  problems: 4,
  words: 5,
  bodies: 12,
  syncBodies: 2,
  pools: 3,
  directories: 2,
  syncs: 3,
  wire: 4,
  memory: 4,
  admin: 2,
} as const;

/** What is fuzzed. */
export const TARGETS: readonly string[] = Object.keys(SHARES);

/** Cases of all targets together. */
const CASES = numberFrom("FUZZ_CASES", 5_000);

/** The same cases come with the same seed. */
export const SEED = numberFrom("FUZZ_SEED", 1);

/** How many cases a target gets. */
export function casesOf(target: keyof typeof SHARES): number {
  return Math.ceil((CASES * SHARES[target]) / 100);
}

/** Counts cases that were tried, where somebody adds them up. */
export function countCases(target: keyof typeof SHARES, cases: number): void {
  const file = process.env["FUZZ_COUNTS"];
  if (file !== undefined) appendFileSync(file, `${target} ${cases}\n`);
}

/** Tries a check on as many values as the target gets; of the first that fails, the report tells the seed and the path. */
export function fuzz<Value>(
  target: keyof typeof SHARES,
  arbitrary: fc.Arbitrary<Value>,
  check: (value: Value) => void,
): void {
  let cases = 0;
  const counted = fc.property(arbitrary, (value) => {
    cases++;
    check(value);
  });
  fc.assert(counted, { numRuns: casesOf(target), seed: SEED });
  countCases(target, cases);
}

function numberFrom(variable: string, otherwise: number): number {
  const value = process.env[variable] ?? String(otherwise);
  if (!/^\d{1,9}$/.test(value)) throw new Error(`${variable} ${value} must be an integer 0…999999999`);
  return Number(value);
}
