import { expect, it } from "vitest";
import { ObjectUnavailable } from "../../worker/core/object-unavailable.ts";

/** An error with what the platform writes on it. */
const marked = (marks: object): Error => Object.assign(new Error("no answer"), marks);

it.each([
  ["failed", {}],
  ["failed", { remote: true }],
  ["failed", { retryable: false, overloaded: false }],
  ["interrupted", { retryable: true }],
  ["interrupted", { remote: true, durableObjectReset: true }],
  ["overloaded", { overloaded: true }],
  ["overloaded", { overloaded: true, retryable: true }],
] as const)("is %s: %o", (failure, marks) => {
  expect(new ObjectUnavailable("sync failed", marked(marks)).failure).toBe(failure);
});

it.each([null, undefined, "overloaded", { overloaded: true }])("takes %o for a plain failure", (thrown) => {
  expect(new ObjectUnavailable("sync failed", thrown).failure).toBe("failed");
});
