/** One thing wrong with what was sent: which field, what it held, and what it may hold. */
export interface FieldError {
  /** Dotted path into the body, `If-Match`, or a path parameter; empty for the body itself. */
  readonly field: string;
  readonly value: unknown;
  /** What the field may hold, in words: `must be an integer 0…1000`. */
  readonly range: string;
}

/**
 * Why a command was not carried out. Nothing was changed. The kinds map to the HTTP status of the admin API:
 * `not-found` 404, `conflict` 409, `stale-version` 412, `invalid` 422.
 */
export type Refusal =
  | { readonly kind: "not-found"; readonly detail: string }
  | { readonly kind: "conflict"; readonly detail: string; readonly errors?: readonly FieldError[] }
  | { readonly kind: "stale-version"; readonly expected: string; readonly actual: string }
  | { readonly kind: "invalid"; readonly errors: readonly [FieldError, ...FieldError[]] };

/** Refuses one field. */
export function invalid(field: string, value: unknown, range: string): Refusal {
  return { kind: "invalid", errors: [{ field, value, range }] };
}
