import { expect, it } from "vitest";
import { isPlatformRefusal, mayBePlatformRefusal } from "../../durable/model/platform.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import { classifyStatus } from "../../worker/core/classify.ts";

const BLAMED = new Set(DEFAULT_POOL_CONFIG.health.failureStatuses);

it.each([
  [101, "answered"],
  [200, "answered"],
  [304, "answered"],
  [403, "answered"],
  [429, "answered"],
  [499, "answered"],
  [500, "server_error"],
  [501, "deliberate_error"],
  [502, "gateway_error"],
  [503, "gateway_error"],
  [504, "gateway_error"],
  [520, "unreachable"],
  [521, "unreachable"],
  [522, "unreachable"],
  [523, "unreachable"],
  [524, "timed_out"],
  [525, "unreachable"],
  [526, "unreachable"],
  [527, "unreachable"],
  [528, "deliberate_error"],
  [530, "unreachable"],
  [599, "deliberate_error"],
] as const)("takes a response of status %d for %s", (status, outcome) => {
  expect(classifyStatus(status, BLAMED)).toBe(outcome);
});

it("leaves a pool the choice of what it holds against its backends, but for what the platform says", () => {
  const outcomes = [500, 503, 520, 524].map((status) => classifyStatus(status, new Set()));
  expect(outcomes).toEqual(["deliberate_error", "deliberate_error", "unreachable", "timed_out"]);
});

/** A response as the platform refuses an address, or nearly. */
function refusal(status = 403, headers: Readonly<Record<string, string>> = {}) {
  return { status, headers: new Headers({ server: "cloudflare", "content-length": "16", ...headers }) };
}

it("reads a 403 for the platform's refusal if it is short and the platform's", () => {
  expect(mayBePlatformRefusal(refusal())).toBe(true);
  expect(mayBePlatformRefusal(refusal(403, { server: "Cloudflare", "content-length": "18" }))).toBe(true);
});

it.each([
  ["another status", refusal(404)],
  ["another server", refusal(403, { server: "nginx" })],
  ["a long body", refusal(403, { "content-length": "65" })],
  ["a body of unknown length", { status: 403, headers: new Headers({ server: "cloudflare" }) }],
  ["no server", { status: 403, headers: new Headers({ "content-length": "16" }) }],
])("does not read a response with %s", (_, response) => {
  expect(mayBePlatformRefusal(response)).toBe(false);
});

it.each([
  ["error code: 1003", true],
  ["error code: 1003\n", true],
  ["error code: 1020", false],
  ["error code: 10031", false],
  ["<p>error code: 1003</p>", false],
  ["", false],
])("takes the body %j for that refusal: %s", (body, is) => {
  expect(isPlatformRefusal(body)).toBe(is);
});
