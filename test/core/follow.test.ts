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
  "application/octet-stream",
  "Application/Octet-Stream; charset=binary",
  "application/x-ndjson",
  "application/grpc",
  "application/grpc+proto",
  "application/grpc-web; charset=utf-8",
  "application/zip",
  "application/gzip",
  "application/x-tar",
  "audio/mpeg",
  "video/mp4 ; codecs=avc1",
  "multipart/x-mixed-replace; boundary=frame",
])("follows %s of unknown length to its end", (type) => {
  expect(mustFollow(headers({ "content-type": type }), "new")).toBe(true);
});

it.each([
  ["a page", { "content-type": "text/html", "content-length": "5000" }],
  ["a body of 256 kB", { "content-length": "262144" }],
  ["an answer of unknown length", {}],
  ["a page of unknown length", { "content-type": "text/html; charset=utf-8" }],
  ["JSON of unknown length", { "content-type": "application/json" }],
  ["what is only named like a download", { "content-type": "application/zippy" }],
  ["a short download", { "content-type": "application/octet-stream", "content-length": "5000" }],
  ["no body", { "content-length": "0" }],
])("lets %s pass untouched", (_, told) => {
  expect(mustFollow(headers(told), "new")).toBe(false);
});

it.each(["sticky", "none"] as const)("follows everything from a backend that admits %s", (admits) => {
  expect(mustFollow(headers({ "content-length": "0" }), admits)).toBe(true);
});
