import type { Hash64 } from "../keyed-hash.ts";
import { xxHash64 } from "./xx-hash.ts";

/** Slots of every table: a prime, so that every step leads through all of them. Envoy's default. */
export const TABLE_SIZE = 65_537;

/** One that wants its share of the slots. */
interface Claimant {
  readonly name: string;
  readonly weight: number;
}

/**
 * Maglev's table (Eisenbud et al., NSDI 2016) with weights as Envoy has them: for every slot the index of the claimant that
 * has it. All take turns at their next free slot, the lighter ones only in as many rounds as their weight says. The
 * claimants' order decides who comes first, so it must be the same wherever the table is.
 */
export function buildMaglevTable(claimants: readonly Claimant[]): Uint16Array {
  const table = new Uint16Array(TABLE_SIZE);
  const isTaken = new Uint8Array(TABLE_SIZE);
  const { nexts, skips } = permutations(claimants);
  for (const index of turns(claimants.map(({ weight }) => weight))) {
    const skip = skips[index] ?? 1;
    let slot = nexts[index] ?? 0;
    while (isTaken[slot] === 1) slot = stepped(slot, skip);
    table[slot] = index;
    isTaken[slot] = 1;
    nexts[index] = stepped(slot, skip);
  }
  return table;
}

/** Where a claimant begins in the table, and how far it is from each of its slots to the next. */
export function permutationOf(name: string): { readonly offset: number; readonly skip: number } {
  const bytes = encoder.encode(name);
  return { offset: slotOf(xxHash64(bytes)), skip: (xxHash64(bytes, 1).low & 0xffff) + 1 };
}

/** A hash by the size of the table: 2^32 leaves 1 of it. */
export function slotOf({ high, low }: Hash64): number {
  return (high + low) % TABLE_SIZE;
}

const encoder = new TextEncoder();

function permutations(claimants: readonly Claimant[]) {
  const nexts = new Uint32Array(claimants.length);
  const skips = new Uint32Array(claimants.length);
  claimants.forEach(({ name }, index) => {
    const { offset, skip } = permutationOf(name);
    nexts[index] = offset;
    skips[index] = skip;
  });
  return { nexts, skips };
}

function stepped(slot: number, skip: number): number {
  const next = slot + skip;
  return next < TABLE_SIZE ? next : next - TABLE_SIZE;
}

/**
 * Whose turn it is, slot by slot. Envoy asks everybody in every round, which takes 30 million questions where one of a
 * thousand backends has a thousand times the weight of the others; the rounds of each can be told beforehand and sorted.
 */
function turns(weights: readonly number[]): Uint16Array {
  const largest = weights.reduce((most, weight) => Math.max(most, weight), 0);
  const rounds = roundsNeeded(weights, largest);
  const begins = new Uint32Array(rounds + 2);
  for (const weight of weights) {
    const count = turnsBy(rounds, weight, largest);
    for (let turn = 0; turn < count; turn++) {
      const after = roundOf(turn, weight, largest) + 1;
      begins[after] = (begins[after] ?? 0) + 1;
    }
  }
  for (let round = 1; round < begins.length; round++) {
    begins[round] = (begins[round] ?? 0) + (begins[round - 1] ?? 0);
  }
  // More than there are slots take part in the last round; what is past the end is dropped by the array.
  const order = new Uint16Array(weights.length === 0 ? 0 : TABLE_SIZE);
  weights.forEach((weight, index) => {
    const count = turnsBy(rounds, weight, largest);
    for (let turn = 0; turn < count; turn++) {
      const round = roundOf(turn, weight, largest);
      const place = begins[round] ?? 0;
      order[place] = index;
      begins[round] = place + 1;
    }
  });
  return order;
}

/** The fewest rounds in which all slots are taken. */
function roundsNeeded(weights: readonly number[], largest: number): number {
  let low = 0;
  let high = weights.length === 0 ? 0 : TABLE_SIZE;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const taken = weights.reduce((sum, weight) => sum + turnsBy(middle, weight, largest), 0);
    if (taken >= TABLE_SIZE) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Turns that a weight has had by the end of a round: one at once, so that nobody goes without. */
function turnsBy(round: number, weight: number, largest: number): number {
  if (weight === largest || round === 0) return round;
  return Math.floor((round * weight) / largest) + 1;
}

/** The round, counted from 1, of a turn, counted from 0. */
function roundOf(turn: number, weight: number, largest: number): number {
  return weight === largest ? turn + 1 : Math.max(1, Math.ceil((turn * largest) / weight));
}
