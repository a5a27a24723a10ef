/** What `NameSchema`s say they hold. */
export const ID_RANGE =
  "must be 1…63 characters of a-z, 0-9, '.', '_' or '-', beginning and ending with a letter or digit";

/** An `invalid` refusal, by field, value and range. */
export function refusal(...wrong: readonly (readonly [field: string, value: unknown, range: string])[]) {
  const errors = wrong.map(([field, value, range]) => ({ field, value, range }));
  return { ok: false, refusal: { kind: "invalid", errors } };
}
