/** What a roll keeps. */
export interface Enrolled {
  /** Where it is on the roll; the roll's own to set. */
  place: number;
}

/**
 * What is under way in an isolate, each thing added once and removed once, in no order.
 *
 * A `Set` would do, but for the garbage it makes: it moves to a new table now and then, and the old one goes on naming the new one
 * and everything it held. Once an old one has survived two collections, each next one survives with all its requests, and so do
 * their headers in the runtime, until a full collection. Under load those took three times as long, and the runtime took eight times
 * as many pages of memory anew. An array that is written over names nobody who has gone.
 */
export class Roll<Item extends Enrolled> {
  readonly #places: (Item | null)[] = [];
  #size = 0;

  add(item: Item): void {
    item.place = this.#size;
    this.#places[this.#size++] = item;
  }

  /** Removes what is on it; anything else stays as it is. */
  remove(item: Item): void {
    if (this.#places[item.place] !== item) return;
    const last = this.#places[--this.#size] ?? item;
    this.#places[item.place] = last;
    last.place = item.place;
    this.#places[this.#size] = null;
  }

  /** Who is on it now, whatever is added or removed meanwhile. */
  all(): readonly Item[] {
    return this.#places.slice(0, this.#size).filter((item) => item !== null);
  }
}
