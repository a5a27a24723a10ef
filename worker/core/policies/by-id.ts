import type { Candidate } from "./policy.ts";

/** Candidates in an order that does not depend on the one they come in. */
export function byId(candidates: readonly Candidate[]): readonly Candidate[] {
  return candidates.toSorted((one, other) => (one.id < other.id ? -1 : 1));
}
