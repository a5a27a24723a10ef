import { expect, it } from "vitest";
import { HealthCheckSchema } from "../../durable/model/health-check.ts";
import { parse } from "../../durable/model/parse.ts";
import { refusal } from "./support/refusal.ts";

const HTTP = { kind: "http" } as const;

it.each(["OPERATOR_TOKENS", "VIEWER_TOKENS", "CONNECTION_HEADER_SECRET"])(
  "refuses to send %s anywhere, in a probe or a webhook",
  (secret) => {
    const range = "must not be one of OPERATOR_TOKENS, VIEWER_TOKENS, CONNECTION_HEADER_SECRET";
    const headers = [{ name: "x-key", secret }];
    expect(parse(HealthCheckSchema, { probe: { ...HTTP, headers } })).toEqual(
      refusal(["probe.headers.0.secret", secret, range]),
    );
    expect(parse(HealthCheckSchema, { webhooks: [{ url: "https://w.example/", secret }] })).toEqual(
      refusal(["webhooks.0.secret", secret, range]),
    );
  },
);

it("refuses to look for text where there is no body", () => {
  const probe = { ...HTTP, method: "HEAD", contains: "well" };
  expect(parse(HealthCheckSchema, { probe })).toMatchObject({
    ok: false,
    refusal: { errors: [{ field: "probe", range: expect.stringContaining("HEAD") }] },
  });
  expect(parse(HealthCheckSchema, { probe: { ...probe, contains: null } }).ok).toBe(true);
});

it.each([0, "", "x".repeat(1_025)])("names the range of a text to look for: %j", (contains) => {
  expect(parse(HealthCheckSchema, { probe: { ...HTTP, contains } })).toMatchObject({
    refusal: { errors: [{ field: "probe.contains", range: "must be 1…1024 characters" }] },
  });
});
