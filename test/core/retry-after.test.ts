import { expect, it } from "vitest";
import { parseRetryAfter } from "../../worker/edge/retry-after.ts";
import { NOON } from "./support/build.ts";

it.each([
  [null, null],
  ["0", 0],
  [" 3 ", 3_000],
  ["Fri, 15 Jan 2027 08:00:10 GMT", 10_000],
  ["Fri, 15 Jan 2027 07:59:00 GMT", 0],
  ["soon", null],
  ["-1", null],
])("reads Retry-After %j as %s ms", (value, waitMs) => {
  expect(parseRetryAfter(value, NOON)).toBe(waitMs);
});
