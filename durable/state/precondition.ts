import type { Precondition } from "../model/command.ts";
import type { Refusal } from "../model/refusal.ts";

/** What a precondition is held against: whether the target is there, and the version of what holds it. */
export interface Target {
  readonly exists: boolean;
  readonly version: number;
}

/** Holds a change's precondition against its target, as RFC 9110 §13.1 says; null when it may go on. */
export function checkPrecondition(precondition: Precondition, target: Target): Refusal | null {
  if (precondition.ifAbsent && target.exists) {
    return { kind: "stale-version", expected: "none", actual: String(target.version) };
  }
  const { ifMatch } = precondition;
  if (ifMatch === null) return null;
  const actual = target.exists ? String(target.version) : "none";
  if (!target.exists) return { kind: "stale-version", expected: describe(ifMatch), actual };
  if (ifMatch === "*" || ifMatch.includes(target.version)) return null;
  return { kind: "stale-version", expected: describe(ifMatch), actual };
}

function describe(ifMatch: readonly number[] | "*"): string {
  return ifMatch === "*" ? "any" : ifMatch.join(" or ");
}
