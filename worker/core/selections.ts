import { type Material, Selection } from "./selection.ts";
import { isInSubset, type WantedSubset } from "./subset.ts";

/** Subsets that are kept ready, the least recently used forgotten first: by maglev each has a table of 131 kB. */
const MAX_SUBSETS = 256;

/** Everybody in a pool that new traffic may go to, and the subsets of them that requests ask for. */
export class Selections {
  readonly everyone: Selection;
  /** By label and value: subsets that requests have asked for and that somebody is in, the least recently used first. */
  readonly #subsets = new Map<string, Selection>();
  #material: Material;

  constructor(material: Material) {
    this.#material = material;
    this.everyone = new Selection(material, () => true);
  }

  /** Goes on with a newer snapshot. Subsets that nobody is in any more are forgotten. */
  adopt(material: Material): void {
    this.#material = material;
    this.everyone.adopt(material);
    for (const [name, subset] of this.#subsets) {
      subset.adopt(material);
      if (subset.isEmpty) this.#subsets.delete(name);
    }
  }

  /** Who may be chosen; null: nobody that the request's subset allows. */
  select(subset: WantedSubset | null): Selection | null {
    if (subset === null) return this.everyone;
    const { label, value, fallback } = subset;
    const found = value === null ? null : this.#find(label, value);
    return found ?? (fallback === "any" ? this.everyone : null);
  }

  /** Null when nobody is in it: whoever sends made-up values must not fill the memory. */
  #find(label: string, value: string): Selection | null {
    const name = `${label}=${value}`;
    const known = this.#subsets.get(name);
    const subset = known ?? new Selection(this.#material, (backend) => isInSubset(backend, label, value));
    if (subset.isEmpty) return null;
    this.#subsets.delete(name);
    this.#subsets.set(name, subset);
    const [oldest] = this.#subsets.keys();
    if (this.#subsets.size > MAX_SUBSETS && oldest !== undefined) this.#subsets.delete(oldest);
    return subset;
  }
}
