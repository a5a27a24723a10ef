import { expect, it } from "vitest";
import { parseSettings } from "../../worker/core/settings.ts";

const DEFAULTS = {
  adminPrefix: "/_ring",
  adminHost: null,
  isForwardedTrusted: false,
  isLocal: false,
  front: null,
  arePrivateBackendsAllowed: false,
};

it("fills in every default, also for variables left empty", () => {
  expect(parseSettings({})).toEqual(DEFAULTS);
  expect(
    parseSettings({
      ADMIN_PREFIX: "",
      ADMIN_HOST: "",
      TRUST_FORWARDED: "",
      LOCAL_RUNTIME: "",
      CONNECTION_HEADER: "",
      CONNECTION_HEADER_SECRET: "",
      ALLOW_PRIVATE_BACKENDS: "",
    }),
  ).toEqual(DEFAULTS);
});

it("takes what is set, and no notice of other variables", () => {
  expect(
    parseSettings({
      ADMIN_PREFIX: "/ops/ring-1",
      ADMIN_HOST: "ring.example.com",
      TRUST_FORWARDED: "true",
      LOCAL_RUNTIME: "true",
      CONNECTION_HEADER: "X-Connection",
      CONNECTION_HEADER_SECRET: "sixteen-or-more!",
      ALLOW_PRIVATE_BACKENDS: "false",
      OPERATOR_TOKEN: "secret",
    }),
  ).toEqual({
    adminPrefix: "/ops/ring-1",
    adminHost: "ring.example.com",
    isForwardedTrusted: true,
    isLocal: true,
    front: { header: "x-connection", secret: "sixteen-or-more!" },
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
  ["CONNECTION_HEADER", "x connection", "must be the name of a header, or empty"],
  ["CONNECTION_HEADER", "x-connection:", "must be the name of a header, or empty"],
  ["CONNECTION_HEADER", "x".repeat(65), "must be the name of a header, or empty"],
  ["CONNECTION_HEADER", "é", "must be the name of a header, or empty"],
  ["CONNECTION_HEADER", 5, "must be the name of a header, or empty"],
  ["ALLOW_PRIVATE_BACKENDS", "TRUE", 'must be "true" or "false"'],
])("refuses to start with %s %j, and says what it may hold", (name, value, range) => {
  expect(() => parseSettings({ [name]: value })).toThrow(`${name} ${JSON.stringify(value)} ${range}`);
});

it.each([undefined, "", "fifteen-letters", "sixteen or more!", "sixteen-or-mor\u00e9", 5, null])(
  "refuses to start with a front whose secret is %j, and does not show what it is",
  (secret) => {
    const variables = { CONNECTION_HEADER: "x-connection", CONNECTION_HEADER_SECRET: secret };
    expect(() => parseSettings(variables)).toThrow(
      /^CONNECTION_HEADER_SECRET must be at least 16 visible characters when CONNECTION_HEADER is set$/,
    );
  },
);

it("takes no notice of a secret where there is no front", () => {
  expect(parseSettings({ CONNECTION_HEADER_SECRET: "short" })).toEqual(DEFAULTS);
});
