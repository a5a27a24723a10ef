import type { Precondition } from "../model/command.ts";
import type { Refusal } from "../model/refusal.ts";

/** What a precondition is held against: whether the target is there, and the version of what holds it. */
export interface Target {
  readonly exists: boolean;
  /** Whether what would hold it is there: its pool, the directory. */
  readonly hasHolder: boolean;
  readonly version: number;
}

/**
 * Holds a change's precondition against its target, as RFC 9110 §13.1 says; null when it may go on. A version is that of what
 * holds the target, so it can be asked for though the target is not there yet: nothing has changed since it was looked for.
 */
export function checkPrecondition(precondition: Precondition, target: Target): Refusal | null {
  if (precondition.ifAbsent && target.exists) {
    return { kind: "stale-version", expected: "none", actual: String(target.version) };
  }
  const { ifMatch } = precondition;
  if (ifMatch === null) return null;
  const isThere = ifMatch === "*" ? target.exists : target.hasHolder;
  if (isThere && (ifMatch === "*" || ifMatch.includes(target.version))) return null;
  return {
    kind: "stale-version",
    expected: describe(ifMatch),
    actual: isThere ? String(target.version) : "none",
  };
}

function describe(ifMatch: readonly number[] | "*"): string {
  return ifMatch === "*" ? "any" : ifMatch.join(" or ");
}
