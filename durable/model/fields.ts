import * as v from "valibot";

/** An integer from `min` to `max`. */
export function integer(min: number, max: number) {
  const range = `must be an integer ${min}…${max}`;
  return v.pipe(v.number(range), v.integer(range), v.minValue(min, range), v.maxValue(max, range));
}

/** One of a fixed list of words. */
export function oneOf<const Words extends readonly [string, ...string[]]>(words: Words) {
  return v.picklist(words, `must be one of ${words.map((word) => JSON.stringify(word)).join(", ")}`);
}

/** An object with exactly these fields; any other is refused by name. */
export function record<const Entries extends v.ObjectEntries>(entries: Entries) {
  const known = Object.keys(entries).join(", ");
  return v.strictObject(entries, (issue) =>
    issue.expected === "never"
      ? `is not known here; known: ${known}`
      : issue.expected === "Object"
        ? `must be an object with ${known}`
        : "is required",
  );
}

/** A list of at most `max` items. */
export function list<const Item extends v.GenericSchema>(item: Item, max: number) {
  const range = `must be a list of at most ${max}`;
  return v.pipe(v.array(item, range), v.maxLength(max, range), v.readonly());
}
