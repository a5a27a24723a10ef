import type { Route } from "../model/route.ts";

/**
 * Whether two routes could both match one request and neither is more specific: same host, same path, as many header
 * matches, and methods and headers that one request can satisfy together.
 */
export function isTie(a: Route, b: Route): boolean {
  return (
    a.host === b.host &&
    a.path === b.path &&
    a.headers.length === b.headers.length &&
    methodsTie(a.methods, b.methods) &&
    headersAgree(a, b)
  );
}

function methodsTie(a: Route["methods"], b: Route["methods"]): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.some((method) => b.includes(method));
}

/** False when some header would need two values at once. */
function headersAgree(a: Route, b: Route): boolean {
  return !a.headers.some(({ name, value }) =>
    b.headers.some(
      (other) =>
        other.name === name && value !== undefined && other.value !== undefined && other.value !== value,
    ),
  );
}
