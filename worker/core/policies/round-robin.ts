import type { BackendId } from "../../../durable/model/names.ts";
import type { Candidate, PickContext, Picker, Preparation } from "./policy.ts";
import { Rotation } from "./rotation.ts";
import { PARTS } from "./turns.ts";

/** How far into its rotation a new isolate may begin, in picks: what it takes to get there is a few milliseconds at most. */
const MAX_PHASE = 2 ** 13;

/**
 * Smooth weighted round robin, as nginx does it: each pick adds every weight to its backend's turn, takes the largest
 * turn (the first of equals) and subtracts the sum of weights from it. In every cycle of Σw/gcd picks each backend comes
 * exactly as often as its weight says, spread as evenly as can be: weights 5, 1, 1 give `a a b a c a a`. The order is this
 * one however long the cycle.
 *
 * A backend that a pick must do without, since it can take nothing now, has no part in that pick: the others take their
 * turns among themselves, each as often as its weight says among those, and it goes on afterwards where it was. A retry
 * moves nobody's turn.
 *
 * When the candidates change, those that stay keep what they are owed, which is their turn over the sum of weights, and
 * newcomers are owed nothing; the turns are then shifted to sum to zero again, on which the exactness rests. A new isolate
 * begins at a random place of the rotation.
 *
 * Traffic that is bound to a backend is charged to it as a turn of its own, so free traffic makes up for it. Others may then be
 * owed many rounds, and would take them all before a newcomer had its first turn. So when somebody comes, nobody goes on
 * being owed more than one round, which is what leads to the newcomer within two cycles; what is left of a debt then goes to
 * all others, the newcomer included.
 */
export class RoundRobin implements Picker {
  readonly #candidates: readonly Candidate[];
  readonly #indexes: ReadonlyMap<BackendId, number>;
  readonly #rotation: Rotation;

  private constructor(candidates: readonly Candidate[], turns: Float64Array) {
    this.#candidates = candidates;
    this.#indexes = new Map(candidates.map(({ id }, index) => [id, index]));
    this.#rotation = new Rotation(
      candidates.map(({ weight }) => weight),
      turns,
    );
  }

  static prepare({ candidates, previous, chance }: Preparation<RoundRobin>): RoundRobin {
    // From one that had nobody to choose there is nothing to go on with, and no phase to keep.
    if (previous !== null && previous.#rotation.sum > 0) {
      return new RoundRobin(candidates, previous.#turnsFor(candidates));
    }
    const picker = new RoundRobin(candidates, new Float64Array(candidates.length));
    picker.#advance(chance);
    return picker;
  }

  /** Goes on at turns that `turns()` gave for these candidates, in their order. */
  static resume(candidates: readonly Candidate[], turns: readonly number[]): RoundRobin {
    return new RoundRobin(
      candidates,
      Float64Array.from(candidates, (_, index) => turns[index] ?? 0),
    );
  }

  pick({ exclude, isRetry }: PickContext): BackendId | null {
    const out = exclude.size === 0 ? NOBODY : this.#indexesOf(exclude);
    const picked = isRetry ? this.#rotation.peek(out) : this.#rotation.take(out);
    return this.#candidates[picked]?.id ?? null;
  }

  /**
   * Charges a backend for a request that was bound to it, as if it had been its turn. A backend that owes `maxRounds`
   * rounds of turns already is not charged any more, so that free traffic never passes it by for longer than that; one
   * round is what nginx's sticky upstreams allow, and with none nobody is charged. One that is no candidate has no turns to
   * lose.
   */
  charge(id: BackendId, maxRounds: number): void {
    if (maxRounds === 0) return;
    const charged = this.#indexes.get(id);
    if (charged === undefined) return;
    const { weight = 0 } = this.#candidates[charged] ?? {};
    const least = weight - maxRounds * this.#rotation.sum;
    if (this.#rotation.at(charged) > least) this.#rotation.serve(charged);
  }

  /** Turns by backend. */
  turns(): ReadonlyMap<BackendId, number> {
    return new Map(this.#candidates.map(({ id }, index) => [id, this.#rotation.at(index)]));
  }

  #indexesOf(ids: ReadonlySet<BackendId>): ReadonlySet<number> {
    const indexes = new Set<number>();
    for (const id of ids) {
      const index = this.#indexes.get(id);
      if (index !== undefined) indexes.add(index);
    }
    return indexes;
  }

  #advance(chance: number): void {
    const picks = Math.floor(chance * Math.min(this.#rotation.cycle, MAX_PHASE));
    for (let pick = 0; pick < picks; pick++) this.#rotation.take(NOBODY);
  }

  /** The turns of the picker that comes after this one. Bare, a turn of 500 out of 1000 would mean 50 cycles out of 10. */
  #turnsFor(candidates: readonly Candidate[]): Float64Array {
    const sum = candidates.reduce((total, { weight }) => total + weight, 0);
    const scale = sum / this.#rotation.sum;
    const hasNewcomers = candidates.some(({ id }) => !this.#indexes.has(id));
    const most = hasNewcomers ? sum : Number.POSITIVE_INFINITY;
    const turns = Float64Array.from(candidates, ({ id }) => {
      const index = this.#indexes.get(id);
      return index === undefined ? 0 : Math.min(this.#rotation.at(index) * scale, most);
    });
    return balanced(turns);
  }
}

const NOBODY: ReadonlySet<number> = new Set();

/** Turns in whole parts, all shifted alike so that they sum to zero, but for a part that the last ones lose for the rest. */
function balanced(turns: Float64Array): Float64Array {
  const parts = turns.map((turn) => Math.round(turn * PARTS));
  const surplus = parts.reduce((sum, part) => sum + part, 0);
  const every = Math.floor(surplus / parts.length);
  const more = parts.length - (surplus - every * parts.length);
  return parts.map((part, index) => (part - every - (index >= more ? 1 : 0)) / PARTS);
}
