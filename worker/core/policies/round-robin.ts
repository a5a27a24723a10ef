import type { BackendId } from "../../../durable/model/names.ts";
import type { Candidate, PickContext, Picker, Preparation } from "./policy.ts";

/** Work a new isolate may spend on reaching its random place in the rotation, in steps of one backend each. */
const MAX_PHASE_STEPS = 1_000_000;

/**
 * Smooth weighted round robin, as nginx does it: each pick adds every weight to its backend's turn, takes the largest
 * turn (the first of equals) and subtracts the sum of weights from it. In every cycle of Σw/gcd picks each backend comes
 * exactly as often as its weight says, spread as evenly as can be: weights 5, 1, 1 give `a a b a c a a`.
 *
 * When the candidates change, those that stay keep what they are owed, which is their turn over the sum of weights, and
 * newcomers are owed nothing; the turns are then shifted to sum to zero again, on which the exactness rests. A new isolate
 * begins at a random place of the rotation.
 *
 * Traffic that is bound to a backend is charged to it as a turn of its own, so free traffic makes up for it.
 */
export class RoundRobin implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #indexes: ReadonlyMap<BackendId, number>;
  readonly #weights: Float64Array;
  readonly #turns: Float64Array;
  readonly #sum: number;

  private constructor(candidates: readonly Candidate[], turns: Float64Array) {
    this.#candidates = candidates;
    this.#indexes = new Map(candidates.map(({ id }, index) => [id, index]));
    this.#weights = Float64Array.from(candidates, (candidate) => candidate.weight);
    this.#turns = turns;
    this.#sum = this.#weights.reduce((sum, weight) => sum + weight, 0);
  }

  static prepare({ candidates, previous, chance }: Preparation<RoundRobin>): RoundRobin {
    // From one that had nobody to choose there is nothing to go on with, and no phase to keep.
    if (previous !== null && previous.#sum > 0) {
      return new RoundRobin(candidates, previous.#turnsFor(candidates));
    }
    const picker = new RoundRobin(candidates, new Float64Array(candidates.length));
    picker.#advance(chance);
    return picker;
  }

  pick({ exclude }: Omit<PickContext, "nowMs">): BackendId | null {
    if (exclude.size > 0) return this.#largest(exclude);
    const turns = this.#turns;
    const weights = this.#weights;
    let best = -1;
    let bestTurn = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < turns.length; index++) {
      const turn = (turns[index] as number) + (weights[index] as number);
      turns[index] = turn;
      if (turn > bestTurn) {
        best = index;
        bestTurn = turn;
      }
    }
    if (best === -1) return null;
    turns[best] = bestTurn - this.#sum;
    return this.#candidates[best]?.id ?? null;
  }

  /**
   * Charges a backend for a request that was bound to it, as if it had been its turn. A backend that owes `maxRounds`
   * rounds of turns already is not charged any more, so that free traffic never passes it by for longer than that; one
   * round is what nginx's sticky upstreams allow. One that is no candidate has no turns to lose.
   */
  charge(id: BackendId, maxRounds: number): void {
    const charged = this.#indexes.get(id);
    if (charged === undefined) return;
    const turns = this.#turns;
    const weights = this.#weights;
    if ((turns[charged] as number) <= (weights[charged] as number) - maxRounds * this.#sum) return;
    for (let index = 0; index < turns.length; index++) {
      turns[index] = (turns[index] as number) + (weights[index] as number);
    }
    turns[charged] = (turns[charged] as number) - this.#sum;
  }

  /** The backend nearest to its turn among those not excluded; nobody's turn moves. */
  #largest(exclude: ReadonlySet<BackendId>): BackendId | null {
    let best: BackendId | null = null;
    let bestTurn = Number.NEGATIVE_INFINITY;
    this.#candidates.forEach(({ id, weight }, index) => {
      const turn = (this.#turns[index] as number) + weight;
      if (turn > bestTurn && !exclude.has(id)) {
        best = id;
        bestTurn = turn;
      }
    });
    return best;
  }

  #advance(chance: number): void {
    const divisor = this.#weights.reduce(greatestCommonDivisor, 0);
    const cycle = divisor === 0 ? 0 : this.#sum / divisor;
    const reachable = Math.min(cycle, Math.ceil(MAX_PHASE_STEPS / Math.max(1, this.#turns.length)));
    const picks = Math.floor(chance * reachable);
    for (let pick = 0; pick < picks; pick++) this.pick({ exclude: NOTHING, key: null, chance: 0 });
  }

  /** Turns by backend. */
  turns(): ReadonlyMap<BackendId, number> {
    return new Map(this.#candidates.map(({ id }, index) => [id, this.#turns[index] as number]));
  }

  /** The turns of the picker that comes after this one. Bare, a turn of 500 out of 1000 would mean 50 cycles out of 10. */
  #turnsFor(candidates: readonly Candidate[]): Float64Array {
    const held = this.turns();
    const sum = candidates.reduce((total, { weight }) => total + weight, 0);
    const scale = this.#sum === 0 ? 1 : sum / this.#sum;
    const turns = Float64Array.from(candidates, ({ id }) => (held.get(id) ?? 0) * scale);
    const surplus = turns.reduce((total, turn) => total + turn, 0) / Math.max(1, turns.length);
    return surplus === 0 ? turns : turns.map((turn) => turn - surplus);
  }
}

const NOTHING: ReadonlySet<BackendId> = new Set();

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
