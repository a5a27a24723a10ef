import { expect, it } from "vitest";
import { parseSettings } from "../../worker/core/settings.ts";

const DEFAULTS = {
  adminPrefix: "/_ring",
  adminHost: null,
  isForwardedTrusted: false,
  isLocal: false,
  arePrivateBackendsAllowed: false,
};

it("fills in every default, also for variables left empty", () => {
  expect(parseSettings({})).toEqual(DEFAULTS);
  expect(
    parseSettings({ ADMIN_PREFIX: "", ADMIN_HOST: "", TRUST_FORWARDED: "", ALLOW_PRIVATE_BACKENDS: "" }),
  ).toEqual(DEFAULTS);
});

it("takes what is set, and no notice of other variables", () => {
  expect(
    parseSettings({
      ADMIN_PREFIX: "/ops/ring-1",
      ADMIN_HOST: "ring.example.com",
      TRUST_FORWARDED: "true",
      LOCAL_RUNTIME: "true",
      ALLOW_PRIVATE_BACKENDS: "false",
      OPERATOR_TOKEN: "secret",
    }),
  ).toEqual({
    adminPrefix: "/ops/ring-1",
    adminHost: "ring.example.com",
    isForwardedTrusted: true,
    isLocal: true,
    arePrivateBackendsAllowed: false,
  });
});

it.each([
  ["ADMIN_PREFIX", "/", "must be a path such as /_ring, without trailing slash"],
  ["ADMIN_PREFIX", "/ring/", "must be a path such as /_ring, without trailing slash"],
  ["ADMIN_PREFIX", "ring", "must be a path such as /_ring, without trailing slash"],
  ["ADMIN_PREFIX", "/ring?", "must be a path such as /_ring, without trailing slash"],
  ["ADMIN_PREFIX", 5, "must be a path such as /_ring, without trailing slash"],
  ["ADMIN_HOST", "Ring.example.com", "must be a lower-case hostname without port, or empty"],
  ["ADMIN_HOST", "ring.example.com:8443", "must be a lower-case hostname without port, or empty"],
  ["TRUST_FORWARDED", "yes", 'must be "true" or "false"'],
  ["TRUST_FORWARDED", true, 'must be "true" or "false"'],
  ["ALLOW_PRIVATE_BACKENDS", "TRUE", 'must be "true" or "false"'],
])("refuses to start with %s %j, and says what it may hold", (name, value, range) => {
  expect(() => parseSettings({ [name]: value })).toThrow(`${name} ${JSON.stringify(value)} ${range}`);
});
