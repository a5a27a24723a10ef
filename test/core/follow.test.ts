import { expect, it } from "vitest";
import { mustFollow } from "../../worker/core/follow.ts";

function headers(told: Readonly<Record<string, string>> = {}): Headers {
  return new Headers(told);
}

it.each([
  ["an event stream", { "content-type": "text/event-stream; charset=utf-8" }],
  ["a body over 256 kB", { "content-length": "262145" }],
])("follows %s to its end", (_, told) => {
  expect(mustFollow(headers(told), "new")).toBe(true);
});

it.each([
  ["a page", { "content-type": "text/html", "content-length": "5000" }],
  ["a body of 256 kB", { "content-length": "262144" }],
  ["an answer of unknown length", {}],
  ["no body", { "content-length": "0" }],
])("lets %s pass untouched", (_, told) => {
  expect(mustFollow(headers(told), "new")).toBe(false);
});

it.each(["sticky", "none"] as const)("follows everything from a backend that admits %s", (admits) => {
  expect(mustFollow(headers({ "content-length": "0" }), admits)).toBe(true);
});
