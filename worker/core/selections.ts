import { type Material, Selection } from "./selection.ts";
import { isInSubset, type WantedSubset } from "./subset.ts";

/** Subsets that are kept ready, the least recently used forgotten first. */
const MAX_SUBSETS = 256;

/**
 * What the pickers of subsets may take in one pool, bytes: an eighth of an isolate's 128 MB. A client chooses which subsets are
 * asked for, and by maglev each has a table of 131 kB for every tier.
 */
const MAX_SUBSET_BYTES = 16_000_000;

/** Everybody in a pool that new traffic may go to, and the subsets of them that requests ask for. */
export class Selections {
  readonly everyone: Selection;
  /** By label and value: subsets that requests have asked for and that somebody is in, the least recently used first. */
  readonly #subsets = new Map<string, Selection>();
  #subsetBytes = 0;
  #material: Material;

  constructor(material: Material) {
    this.#material = material;
    this.everyone = new Selection(
      material,
      () => true,
      () => {},
    );
  }

  /** What the pickers of subsets take, bytes. */
  get subsetBytes(): number {
    return this.#subsetBytes;
  }

  /** Goes on with a newer snapshot. Subsets that nobody is in any more are forgotten. */
  adopt(material: Material): void {
    this.#material = material;
    this.everyone.adopt(material);
    for (const [name, subset] of this.#subsets) {
      subset.adopt(material);
      if (subset.isEmpty) this.#forget(name, subset);
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
    const subset = this.#subsets.get(name) ?? this.#create(label, value);
    if (subset.isEmpty) return null;
    this.#subsets.delete(name);
    this.#subsets.set(name, subset);
    if (this.#subsets.size > MAX_SUBSETS) this.#forgetOldest();
    return subset;
  }

  #create(label: string, value: string): Selection {
    return new Selection(
      this.#material,
      (backend) => isInSubset(backend, label, value),
      (bytes) => {
        this.#subsetBytes += bytes;
        // The newest is the one that grows, and is about to be chosen from.
        while (this.#subsetBytes > MAX_SUBSET_BYTES && this.#subsets.size > 1) this.#forgetOldest();
      },
    );
  }

  #forgetOldest(): void {
    const [oldest] = this.#subsets;
    if (oldest !== undefined) this.#forget(...oldest);
  }

  #forget(name: string, subset: Selection): void {
    this.#subsets.delete(name);
    this.#subsetBytes -= subset.bytes;
  }
}
