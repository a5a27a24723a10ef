import * as v from "valibot";

/** Longest wait that a caller may ask for, milliseconds. */
const MAX_WAIT_MS = 60_000;

const WAIT_RANGE = "must be a duration of at most 60s, such as 500ms, 10s or 1m";

const UNITS = { ms: 1, s: 1_000, m: 60_000 } as const;

/** How long a caller wants to wait, as a query carries it: `500ms`, `10s`, `1m`. Becomes milliseconds. */
export const WaitSchema = v.pipe(
  v.string(WAIT_RANGE),
  v.regex(/^\d{1,5}(?:ms|s|m)$/, WAIT_RANGE),
  v.transform((text) => Number.parseInt(text, 10) * UNITS[unitOf(text)]),
  v.maxValue(MAX_WAIT_MS, WAIT_RANGE),
);

function unitOf(text: string): keyof typeof UNITS {
  if (text.endsWith("ms")) return "ms";
  return text.endsWith("s") ? "s" : "m";
}
