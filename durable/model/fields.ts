import * as v from "valibot";

/** An integer from `min` to `max`. */
export function integer(min: number, max: number) {
  const range = `must be an integer ${min}…${max}`;
  return v.pipe(v.number(range), v.integer(range), v.minValue(min, range), v.maxValue(max, range));
}

/** An integer as a query carries it. */
export function digits(min: number, max: number) {
  const range = `must be an integer ${min}…${max}`;
  return v.pipe(v.string(range), v.regex(/^\d{1,16}$/, range), v.transform(Number), integer(min, max));
}

/** A percentage: an integer 0…100. */
export const PercentSchema = integer(0, 100);

const METHOD_RANGE = "must be an upper-case method name, such as GET";

/** A method of HTTP. */
export const MethodSchema = v.pipe(v.string(METHOD_RANGE), v.regex(/^[A-Z][A-Z-]{0,31}$/, METHOD_RANGE));

/** One of a fixed list of words. */
export function oneOf<const Words extends readonly [string, ...string[]]>(words: Words) {
  return v.picklist(words, `must be one of ${words.map((word) => JSON.stringify(word)).join(", ")}`);
}

/** An object with exactly these fields; any other is refused by name, and so is a list, which valibot would let pass. */
export function record<const Entries extends v.ObjectEntries>(
  entries: Entries,
): v.StrictObjectSchema<Entries, v.ErrorMessage<v.StrictObjectIssue>> {
  const known = Object.keys(entries).join(", ");
  // Without prototype, or valibot would take `__proto__`, `constructor` and the like for known, and let them pass.
  const own: Entries = { ...entries };
  Object.setPrototypeOf(own, null);
  const shape = `must be an object with ${known === "" ? "no fields" : known}`;
  const schema = v.strictObject(own, (issue: v.StrictObjectIssue) =>
    issue.expected === "never"
      ? `is not known here; known: ${known}`
      : issue.expected === "Object"
        ? shape
        : "is required",
  );
  return {
    ...schema,
    // `this` is the schema that runs: this one, or one that valibot made of it, such as a partial one.
    "~run"(dataset, config) {
      return schema["~run"].call(this, withoutList(dataset), config);
    },
  };
}

/** A list becomes a text that says so, which the schema then refuses. */
function withoutList(dataset: v.UnknownDataset): v.UnknownDataset {
  return Array.isArray(dataset.value) ? { value: `(a list of ${dataset.value.length})` } : dataset;
}

/** A list of at most `max` items. */
export function list<const Item extends v.GenericSchema>(item: Item, max: number) {
  const range = `must be a list of at most ${max}`;
  const items = v.array(item, range);
  const counted: typeof items = {
    ...items,
    // Counted before any item is looked at: half a million wrong ones must not make half a million errors.
    "~run"(dataset, config) {
      const isTooLong = Array.isArray(dataset.value) && dataset.value.length > max;
      return items["~run"].call(this, isTooLong ? withoutList(dataset) : dataset, config);
    },
  };
  return v.pipe(counted, v.maxLength(max, range), v.readonly());
}

/**
 * Says what a check finds wrong of the field at `path`, as valibot's own does, and keeps the path's name in `field`, so that
 * the check can be described.
 */
export const forward: typeof v.forward = (action, path) => {
  const forwarded = v.forward(action, path);
  return Object.assign(forwarded, { field: path.join(".") });
};
