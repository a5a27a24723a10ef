/**
 * Remembers values by text, at most so many: in two generations of half as many. What is used moves into the younger one;
 * when that is full the older one is forgotten at once. So whatever is among the last half to be used is still there. A
 * `Map` kept in the order of use would be exact, and slow: a find costs two changes, and V8 walks over deleted entries to
 * get to the oldest.
 */
export class Recent<Value> {
  readonly #generation: number;
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();

  /** @param maxEntries at least 2. */
  constructor(maxEntries: number) {
    this.#generation = Math.max(1, Math.floor(maxEntries / 2));
  }

  /** Entries held; a text that was used in both generations has two. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** The value of a text, which counts as used. */
  find(text: string): Value | undefined {
    const young = this.#young.get(text);
    if (young !== undefined) return young;
    const old = this.#old.get(text);
    if (old !== undefined) this.add(text, old);
    return old;
  }

  /** Remembers a value for a text that has none. */
  add(text: string, value: Value): void {
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(text, value);
  }

  /** Forgets the value of a text. */
  forget(text: string): void {
    this.#young.delete(text);
    this.#old.delete(text);
  }
}
