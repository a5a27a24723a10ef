/** A document with a patch laid over it, object by object; lists and everything else are replaced. */
export function merge(held: unknown, patch: unknown): unknown {
  if (!isPlainObject(held) || !isPlainObject(patch)) return patch;
  const given = Object.entries(patch).filter(([, value]) => value !== undefined);
  // Only fields of its own: a patch may name `__proto__`, which the schema then refuses like any unknown field.
  const merged = given.map(
    ([name, value]) => [name, merge(Object.hasOwn(held, name) ? held[name] : undefined, value)] as const,
  );
  return { ...held, ...Object.fromEntries(merged) };
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
