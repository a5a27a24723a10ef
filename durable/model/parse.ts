import * as v from "valibot";
import type { FieldError } from "./refusal.ts";
import { ok, type Result, refuse } from "./result.ts";

const LONGEST_SHOWN = 200;

/** Errors named in one refusal; who mends so many will send it again. */
const MOST_ERRORS = 20;

/**
 * Parses untrusted data against a schema into a complete typed value with defaults.
 *
 * @returns the value, or an `invalid` refusal that names every wrong field (of many the first 20), what it held and what it may hold.
 */
export function parse<const Schema extends v.GenericSchema>(
  schema: Schema,
  input: unknown,
): Result<v.InferOutput<Schema>> {
  const parsed = v.safeParse(schema, input);
  if (parsed.success) return ok(parsed.output);
  const [first, ...others] = parsed.issues;
  const errors: [FieldError, ...FieldError[]] = [describe(first)];
  for (const issue of others) {
    if (errors.length === MOST_ERRORS) break;
    const error = describe(issue);
    if (!errors.some((known) => isSame(known, error))) errors.push(error);
  }
  return refuse({ kind: "invalid", errors });
}

/** One rule may be broken in two ways. */
function isSame(one: FieldError, other: FieldError): boolean {
  return one.field === other.field && one.range === other.range;
}

function describe(issue: v.BaseIssue<unknown>): FieldError {
  // Of an unknown field valibot gives the name for input, and of a relation that names a field the whole object.
  const at = issue.expected === "never" || issue.type === "check" ? issue.path?.at(-1) : undefined;
  const value = at === undefined ? issue.input : at.value;
  return { field: v.getDotPath(issue) ?? "", value: shown(value), range: issue.message };
}

/** A value as it may be repeated in an answer: nothing long, nothing nested, and of a URL no user or password. */
function shown(value: unknown): unknown {
  if (typeof value === "string") {
    const safe = value.replace(/^([a-z]+:\/\/)[^/]*@/i, "$1…@");
    return safe.length > LONGEST_SHOWN ? `${safe.slice(0, LONGEST_SHOWN)}…` : safe;
  }
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (value === undefined) return "(missing)";
  return Array.isArray(value) ? `(a list of ${value.length})` : `(${typeof value})`;
}
