import { expect, it } from "vitest";
import { checkPrecondition } from "../../durable/state/precondition.ts";

const THERE = { exists: true, hasHolder: true, version: 7 };
const MISSING = { exists: false, hasHolder: true, version: 7 };
const NOWHERE = { exists: false, hasHolder: false, version: 7 };

it.each([
  ["no condition, target there", { ifMatch: null, ifAbsent: false }, THERE],
  ["no condition, target missing", { ifMatch: null, ifAbsent: false }, MISSING],
  ["If-Match of the present version", { ifMatch: [7], ifAbsent: false }, THERE],
  ["If-Match of several, the present one among them", { ifMatch: [5, 7], ifAbsent: false }, THERE],
  ["If-Match: *, target there", { ifMatch: "*", ifAbsent: false }, THERE],
  ["If-Match of the present version, target missing", { ifMatch: [7], ifAbsent: false }, MISSING],
  ["If-None-Match: *, target missing", { ifMatch: null, ifAbsent: true }, MISSING],
] as const)("lets a change go on: %s", (_, precondition, target) => {
  expect(checkPrecondition(precondition, target)).toBeNull();
});

it.each([
  ["If-Match of another version", { ifMatch: [6], ifAbsent: false }, THERE, "6", "7"],
  ["If-Match of several others", { ifMatch: [5, 6], ifAbsent: false }, THERE, "5 or 6", "7"],
  ["If-Match of nothing readable", { ifMatch: [], ifAbsent: false }, THERE, "", "7"],
  ["If-Match of another version, target missing", { ifMatch: [6], ifAbsent: false }, MISSING, "6", "7"],
  ["If-Match of the version, nothing there", { ifMatch: [7], ifAbsent: false }, NOWHERE, "7", "none"],
  ["If-Match: *, target missing", { ifMatch: "*", ifAbsent: false }, MISSING, "any", "none"],
  ["If-None-Match: *, target there", { ifMatch: null, ifAbsent: true }, THERE, "none", "7"],
] as const)("stops a change: %s", (_, precondition, target, expected, actual) => {
  expect(checkPrecondition(precondition, target)).toEqual({ kind: "stale-version", expected, actual });
});
