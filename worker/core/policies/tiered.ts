import type { BackendId } from "../../../durable/model/names.ts";
import type { Hash64 } from "../keyed-hash.ts";
import type { PickContext, Picker } from "./policy.ts";

/** The picker of one tier, and what of the traffic the tier takes. */
export interface TierPicker {
  readonly picker: Picker;
  /** Relative to the others; 0: only what they cannot take. */
  readonly share: number;
}

/**
 * Shares requests out between tiers: by their key, so that one key stays in its tier while shares stand, else by chance. Each
 * tier has a range of the keys, one after the other, so when traffic spills from one tier to the next only the keys at their
 * border move. What a tier cannot take goes to the first that can.
 */
export class Tiered implements Picker {
  readonly #tiers: readonly TierPicker[];
  readonly #sum: number;

  constructor(tiers: readonly TierPicker[]) {
    this.#tiers = tiers;
    this.#sum = tiers.reduce((sum, { share }) => sum + share, 0);
  }

  pick(context: PickContext): BackendId | null {
    const { key, chance } = context;
    let place = this.#sum * (key === null ? chance : placeOf(key));
    let drawn: TierPicker | null = null;
    for (const tier of this.#tiers) {
      if (place < tier.share) {
        drawn = tier;
        break;
      }
      place -= tier.share;
    }
    if (drawn === null) return this.#pickAny(context);
    // What of the chance has not been used is as random as the whole of it was.
    const rest = key === null ? { ...context, chance: place / drawn.share } : context;
    return drawn.picker.pick(rest) ?? this.#pickAny(rest);
  }

  #pickAny(context: PickContext): BackendId | null {
    for (const { picker } of this.#tiers) {
      const picked = picker.pick(context);
      if (picked !== null) return picked;
    }
    return null;
  }
}

/** Where a key belongs, 0 ≤ place < 1; by other bits than those that policies look at first. */
function placeOf({ high, low }: Hash64): number {
  const mixed = Math.imul(high ^ (low >>> 13), 0x9e37_79b1) ^ Math.imul(low, 0x85eb_ca77);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
}
