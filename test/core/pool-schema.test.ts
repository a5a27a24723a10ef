import { expect, it } from "vitest";
import { PoolNameSchema } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import { PoolConfigSchema, PoolDocumentSchema, PoolPatchSchema } from "../../durable/model/pool.ts";
import { ID_RANGE, refusal } from "./support/refusal.ts";

const DEFAULTS = {
  policy: "round_robin",
  keylessPolicy: "random",
  hashBalanceFactor: null,
  ringPoints: 160,
  slowStart: { windowMs: 0, aggression: 1, minWeightPercent: 10 },
  tiers: { overprovisioningPercent: 140, panicThresholdPercent: 50, fallbackPool: null },
  maxInFlight: null,
  waiting: { timeoutMs: 250, maxRequests: 100 },
  health: {
    probe: null,
    startsAs: "healthy",
    failureStatuses: [500, 502, 503, 504],
    trustAnnouncements: false,
    local: { connectFailures: 3, gatewayErrors: 5, minSkipMs: 1_000, maxSkipMs: 30_000 },
    failurePercentage: { enforce: true, thresholdPercent: 85, minAttempts: 50, windowMs: 30_000 },
    breaker: {
      enforce: true,
      shortWindow: 1_500,
      shortPercent: 10,
      longWindow: 3_000,
      longPercent: 5,
      minIsolationMs: 100,
      maxIsolationMs: 30_000,
      halfOpenSuccesses: 0,
    },
    consecutiveGatewayFailures: { enforce: false, failures: 5 },
    skipped: { enforce: true },
    ejection: { baseMs: 30_000, maxMs: 300_000, maxPercent: 10, minAvailablePercent: 50 },
    webhooks: [],
  },
  retry: {
    maxAttempts: 3,
    statuses: [502, 503, 504],
    methods: ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"],
    idempotencyKeys: true,
    bodyBytes: 65_536,
    backoffMs: 25,
    maxBackoffMs: 250,
    totalTimeoutMs: null,
    budget: { percent: 20, floor: 100 },
    hedge: { afterMs: null, percent: 10 },
  },
  shed: { newPercent: 0, sessionPercent: 0 },
  affinity: [],
  stickyDebtRounds: 16,
  connections: { maxEntries: 50_000, idleMs: 900_000 },
  tokens: {
    generator: "encrypted",
    serverIdBytes: 4,
    nonceBytes: 12,
    lifetimeMs: 86_400_000,
    rotateEveryMs: null,
    cookie: {
      name: null,
      sameSite: "Lax",
      path: "/",
      domain: null,
      secure: true,
      persistent: false,
      passOn: false,
    },
    header: null,
  },
  sessions: {
    maxAgeMs: null,
    maxRequests: null,
    lost: { ejected: "temporary", drained: "sticky", removed: "sticky" },
  },
  headerTimeoutMs: 15_000,
  bodyIdleTimeoutMs: 300_000,
  webSocketIdleTimeoutMs: null,
  drainMs: 300_000,
  settleMs: 5_000,
  closeSocketsAtDeadline: false,
  sync: { refreshMs: 5_000, leaseMs: 30_000, waitMs: 2_000, maxStaleMs: 3_600_000, maxPerSecond: 100 },
};

it("fills in every default", () => {
  expect(parse(PoolConfigSchema, {})).toEqual({ ok: true, value: DEFAULTS });
  expect(parse(PoolDocumentSchema, {})).toEqual({ ok: true, value: { ...DEFAULTS, backends: [] } });
});

it("fills in what is left out of a part that is given", () => {
  expect(parse(PoolConfigSchema, { sync: { leaseMs: 60_000 }, connections: { maxEntries: 1 } })).toEqual({
    ok: true,
    value: {
      ...DEFAULTS,
      sync: { ...DEFAULTS.sync, leaseMs: 60_000 },
      connections: { maxEntries: 1, idleMs: 900_000 },
    },
  });
});

it.each([
  [
    "policy",
    "fastest",
    'must be one of "round_robin", "random", "first", "least_request", "peak_ewma", "rendezvous", "maglev", "ring_hash"',
  ],
  [
    "keylessPolicy",
    null,
    'must be one of "round_robin", "random", "first", "least_request", "peak_ewma", "rendezvous", "maglev", "ring_hash"',
  ],
  ["headerTimeoutMs", 9, "must be an integer 10…600000"],
  ["headerTimeoutMs", 600_001, "must be an integer 10…600000"],
  ["bodyIdleTimeoutMs", 99, "must be an integer 100…3600000"],
  ["webSocketIdleTimeoutMs", 3_600_001, "must be an integer 100…3600000"],
  ["closeSocketsAtDeadline", "yes", "must be true or false"],
  ["stickyDebtRounds", 1_001, "must be an integer 0…1000"],
  ["settleMs", 600_001, "must be an integer 0…600000"],
  ["drainMs", -1, "must be an integer 0…604800000"],
  ["drainMs", 604_800_001, "must be an integer 0…604800000"],
])("refuses %s of %j", (field, value, range) => {
  expect(parse(PoolConfigSchema, { [field]: value })).toEqual(refusal([field, value, range]));
});

it.each([
  ["refreshMs", 499, "must be an integer 500…60000"],
  ["leaseMs", 3_600_001, "must be an integer 1000…3600000"],
  ["waitMs", 49, "must be an integer 50…30000"],
  ["maxStaleMs", -1, "must be an integer 0…86400000"],
  ["maxPerSecond", 0, "must be an integer 1…500"],
  ["maxPerSecond", 501, "must be an integer 1…500"],
])("refuses sync.%s of %j", (field, value, range) => {
  expect(parse(PoolConfigSchema, { sync: { [field]: value } })).toEqual(
    refusal([`sync.${field}`, value, range]),
  );
});

it.each([
  ["slowStart.windowMs", 3_600_001, "must be an integer 0…3600000"],
  ["slowStart.aggression", 0.09, "must be a number 0.1…10"],
  ["slowStart.aggression", 10.1, "must be a number 0.1…10"],
  ["slowStart.aggression", "1", "must be a number 0.1…10"],
  ["slowStart.minWeightPercent", 0, "must be an integer 1…100"],
  ["tiers.overprovisioningPercent", 99, "must be an integer 100…1000"],
  ["tiers.overprovisioningPercent", 1_001, "must be an integer 100…1000"],
  ["tiers.panicThresholdPercent", 101, "must be an integer 0…100"],
  ["tiers.fallbackPool", "Spare", ID_RANGE],
  ["maxInFlight", 0, "must be an integer 1…10000"],
  ["maxInFlight", 10_001, "must be an integer 1…10000"],
  ["waiting.timeoutMs", 10_001, "must be an integer 0…10000"],
  ["waiting.maxRequests", 1_001, "must be an integer 1…1000"],
  ["shed.newPercent", -1, "must be an integer 0…100"],
  ["shed.sessionPercent", 0.5, "must be an integer 0…100"],
])("refuses %s of %j", (field, value, range) => {
  expect(parse(PoolConfigSchema, under(field, value))).toEqual(refusal([field, value, range]));
});

it.each([
  { slowStart: { windowMs: 3_600_000, aggression: 0.1, minWeightPercent: 100 } },
  { slowStart: { windowMs: 0, aggression: 10, minWeightPercent: 1 } },
  { tiers: { overprovisioningPercent: 100, panicThresholdPercent: 0, fallbackPool: "spare" } },
  { maxInFlight: 1, keylessPolicy: "least_request" },
  { maxInFlight: 10_000, shed: { newPercent: 100, sessionPercent: 100 } },
])("takes %j", (input) => {
  expect(parse(PoolConfigSchema, input)).toMatchObject({ ok: true, value: input });
});

it.each([
  ["refreshMs", 60_001, "must be an integer 500…60000"],
  ["leaseMs", 999, "must be an integer 1000…3600000"],
])("refuses sync.%s of %j, and the relation it breaks as well", (field, value, range) => {
  const relation = ["sync", "(object)", "must have leaseMs of at least 2 × refreshMs"] as const;
  expect(parse(PoolConfigSchema, { sync: { [field]: value } })).toEqual(
    refusal([`sync.${field}`, value, range], relation),
  );
});

it.each([
  ["maxEntries", 0, "must be an integer 1…200000"],
  ["idleMs", 999, "must be an integer 1000…86400000"],
])("refuses connections.%s of %j", (field, value, range) => {
  expect(parse(PoolConfigSchema, { connections: { [field]: value } })).toEqual(
    refusal([`connections.${field}`, value, range]),
  );
});

it("refuses a lease shorter than two refreshes, also where one of them is a default", () => {
  const range = "must have leaseMs of at least 2 × refreshMs";
  expect(parse(PoolConfigSchema, { sync: { refreshMs: 500, leaseMs: 1_000 } })).toMatchObject({ ok: true });
  for (const sync of [{ refreshMs: 501, leaseMs: 1_000 }, { refreshMs: 15_001 }, { leaseMs: 9_999 }])
    expect(parse(PoolConfigSchema, { sync })).toEqual(refusal(["sync", "(object)", range]));
});

const BY =
  'must be an object whose by is "token", "connection", "header", "cookie" or "query" (with a name) or "address"';
const TOKEN_RANGE = "must be 1…64 characters of A-Z, a-z, 0-9 and !#$%&'*+-.^_`|~";

it("takes every way to bind a request, and writes header names in lower case", () => {
  const affinity = [
    { by: "token" },
    { by: "connection" },
    { by: "header", name: "X-Account" },
    { by: "cookie", name: "Account" },
    { by: "query", name: "käufer" },
    { by: "address" },
  ];
  expect(parse(PoolConfigSchema, { affinity })).toMatchObject({
    value: { affinity: affinity.with(2, { by: "header", name: "x-account" }) },
  });
});

it.each([
  ["a word", "connection", "affinity", "connection", "must be a list of at most 6"],
  ["a word in it", ["connection"], "affinity.0", "connection", BY],
  ["an unknown way", [{ by: "moon" }], "affinity.0.by", "moon", BY],
  ["no way", [{}], "affinity.0.by", "(missing)", BY],
  ["a header without name", [{ by: "header" }], "affinity.0.name", "(missing)", "is required"],
  ["a header with a bad name", [{ by: "header", name: "a:b" }], "affinity.0.name", "a:b", TOKEN_RANGE],
  ["a cookie with a bad name", [{ by: "cookie", name: "a=b" }], "affinity.0.name", "a=b", TOKEN_RANGE],
  ["a query with no name", [{ by: "query", name: "" }], "affinity.0.name", "", "must be 1…64 characters"],
  [
    "seven",
    Array.from({ length: 7 }, () => ({ by: "connection" })),
    "affinity",
    "(a list of 7)",
    "must be a list of at most 6",
  ],
])("refuses an affinity chain that is, or holds, %s", (_, affinity, field, value, range) => {
  expect(parse(PoolConfigSchema, { affinity })).toEqual(refusal([field, value, range]));
});

const BOOLEAN = "must be true or false";
const PATH_RANGE = "must be a path beginning with / of at most 1024 visible characters without ;";
const DOMAIN_RANGE = "must be a lower-case domain name without leading dot";

it.each([
  ["generator", "random", 'must be one of "encrypted", "plaintext", "regional"'],
  ["lifetimeMs", 59_999, "must be an integer 60000…2592000000"],
  ["lifetimeMs", 2_592_000_001, "must be an integer 60000…2592000000"],
  ["header", "a b", TOKEN_RANGE],
  ["cookie.name", "a;b", TOKEN_RANGE],
  ["cookie.sameSite", "lax", 'must be one of "Strict", "Lax", "None"'],
  ["cookie.path", "api", PATH_RANGE],
  ["cookie.path", "/a;b", PATH_RANGE],
  ["cookie.domain", ".example.com", DOMAIN_RANGE],
  ["cookie.domain", "Example.com", DOMAIN_RANGE],
  ["cookie.secure", "yes", BOOLEAN],
  ["cookie.persistent", 1, BOOLEAN],
  ["cookie.passOn", null, BOOLEAN],
])("refuses tokens.%s of %j", (field, value, range) => {
  expect(errorsOf({ tokens: under(field, value) })).toContainEqual({
    field: `tokens.${field}`,
    value,
    range,
  });
});

it.each([
  ["serverIdBytes", 0, "must be an integer 1…15"],
  ["serverIdBytes", 16, "must be an integer 1…15"],
  ["nonceBytes", 3, "must be an integer 4…18"],
  ["nonceBytes", 19, "must be an integer 4…18"],
  ["rotateEveryMs", 3_599_999, "must be an integer 3600000…31536000000"],
])("refuses tokens.%s of %j, whatever it breaks beside", (field, value, range) => {
  expect(errorsOf({ tokens: { [field]: value } })).toContainEqual({
    field: `tokens.${field}`,
    value,
    range,
  });
});

it.each([
  ["maxAgeMs", 999, "must be an integer 1000…2592000000"],
  ["maxRequests", 0, "must be an integer 1…1000000000"],
  ["lost.ejected", "move", 'must be one of "temporary", "sticky", "refuse"'],
  ["lost.drained", null, 'must be one of "temporary", "sticky", "refuse"'],
  ["lost.removed", 1, 'must be one of "temporary", "sticky", "refuse"'],
])("refuses sessions.%s of %j", (field, value, range) => {
  expect(parse(PoolConfigSchema, { sessions: under(field, value) })).toEqual(
    refusal([`sessions.${field}`, value, range]),
  );
});

const ROTATION_RANGE =
  "must be long enough for 6 live configurations: a quarter of tokens.lifetimeMs + sync.maxStaleMs + 2 × sync.leaseMs, and a fifth of that with the last two counted twice";

it.each([
  [
    "server id and nonce of twenty bytes",
    { tokens: { serverIdBytes: 4, nonceBytes: 16 } },
    ["tokens.nonceBytes", 16, "must be at most 19 together with serverIdBytes"],
  ],
  [
    "no room for a number beside the region",
    { tokens: { generator: "regional", serverIdBytes: 1 } },
    ["tokens.serverIdBytes", 1, "must be at least 2 with generator regional: one for the region"],
  ],
  ...[{ path: "/shop" }, { domain: "example.com" }, { secure: false }, { name: "__Host-a", path: "/a" }].map(
    (cookie) =>
      [
        `a __Host- cookie with ${JSON.stringify(cookie)}`,
        { tokens: { cookie } },
        [
          "tokens.cookie.name",
          "name" in cookie ? cookie.name : null,
          "must not begin with __Host-, as it does by default, unless path is /, domain null and secure true",
        ],
      ] as const,
  ),
  [
    "a __Secure- cookie that is not",
    { tokens: { cookie: { name: "__Secure-a", secure: false } } },
    ["tokens.cookie.secure", false, "must be true while the name begins with __Secure-"],
  ],
  [
    "a cookie for other sites that is not secure",
    { tokens: { cookie: { name: "a", secure: false, sameSite: "None" } } },
    ["tokens.cookie.secure", false, "must be true with sameSite None"],
  ],
  [
    "tokens that are asked for and cannot travel",
    { affinity: [{ by: "token" }], tokens: { cookie: null } },
    [
      "affinity",
      "(a list of 1)",
      "must not hold the step token while tokens.cookie and tokens.header are both null",
    ],
  ],
  ...[
    "cookie",
    "Set-Cookie",
    "location",
    "Content-Encoding",
    "host",
    "x-forwarded-for",
    "ring-session",
    "cf-ray",
  ].map(
    (header) =>
      [
        `the header ${header} for tokens`,
        { tokens: { header } },
        [
          "tokens.header",
          header,
          "must be the name of a header that means nothing else, such as x-session-token",
        ],
      ] as const,
  ),
  [
    "a prefix written small that a browser heeds",
    { tokens: { cookie: { name: "__secure-a", secure: false } } },
    ["tokens.cookie.secure", false, "must be true while the name begins with __Secure-"],
  ],
  [
    "a rotation that needs more configurations than there may be",
    { tokens: { rotateEveryMs: 22_514_999 } },
    ["tokens.rotateEveryMs", 22_514_999, ROTATION_RANGE],
  ],
] as const)("refuses %s", (_, input, wrong) => {
  expect(parse(PoolConfigSchema, input)).toEqual(refusal(wrong));
  expect(parse(PoolDocumentSchema, input)).toEqual(refusal(wrong));
});

it.each([
  { tokens: { serverIdBytes: 15, nonceBytes: 4 } },
  { tokens: { serverIdBytes: 1, nonceBytes: 18 } },
  { tokens: { generator: "regional", serverIdBytes: 2 } },
  { tokens: { cookie: { name: "ring", path: "/shop", domain: "example.com", secure: false } } },
  { tokens: { cookie: null, header: "x-session" } },
  { tokens: { rotateEveryMs: 22_515_000 } },
  { tokens: { rotateEveryMs: 3_600_000, lifetimeMs: 60_000, cookie: null } },
  { sessions: { maxAgeMs: 1_000, maxRequests: 1, lost: { ejected: "refuse" } } },
])("takes %j", (input) => {
  expect(parse(PoolConfigSchema, input)).toMatchObject({ ok: true, value: input });
});

/** An object with one field, by its dotted path. */
function under(path: string, value: unknown): object {
  const [first = "", ...rest] = path.split(".");
  return { [first]: rest.length === 0 ? value : under(rest.join("."), value) };
}

function errorsOf(input: unknown): readonly unknown[] {
  const result = parse(PoolConfigSchema, input);
  return result.ok || result.refusal.kind !== "invalid" ? [] : result.refusal.errors;
}

it.each([
  [
    "",
    {},
    "policy, keylessPolicy, hashBalanceFactor, ringPoints, slowStart, tiers, maxInFlight, waiting, health, retry, shed, affinity, stickyDebtRounds, connections, tokens, sessions, headerTimeoutMs, bodyIdleTimeoutMs, webSocketIdleTimeoutMs, drainMs, settleMs, closeSocketsAtDeadline, sync, backends",
  ],
  ["sync.", { sync: {} }, "refreshMs, leaseMs, waitMs, maxStaleMs, maxPerSecond"],
  ["connections.", { connections: {} }, "maxEntries, idleMs"],
  ["slowStart.", { slowStart: {} }, "windowMs, aggression, minWeightPercent"],
  ["tiers.", { tiers: {} }, "overprovisioningPercent, panicThresholdPercent, fallbackPool"],
  ["waiting.", { waiting: {} }, "timeoutMs, maxRequests"],
  ["shed.", { shed: {} }, "newPercent, sessionPercent"],
  [
    "tokens.",
    { tokens: {} },
    "generator, serverIdBytes, nonceBytes, lifetimeMs, rotateEveryMs, cookie, header",
  ],
  ["sessions.", { sessions: {} }, "maxAgeMs, maxRequests, lost"],
])("refuses an unknown field under '%s' by its name", (prefix, rest, known) => {
  const unknown = { poilcy: 1 };
  const [part] = Object.keys(rest);
  const input = part === undefined ? unknown : { [part]: unknown };
  expect(parse(PoolDocumentSchema, input)).toEqual(
    refusal([`${prefix}poilcy`, 1, `is not known here; known: ${known}`]),
  );
});

it.each(["__proto__", "constructor", "toString"])(
  "refuses the unknown field %s, which every object has",
  (name) => {
    const input: unknown = JSON.parse(`{ "sync": { "${name}": { "leaseMs": 1 } } }`);
    expect(parse(PoolDocumentSchema, input)).toMatchObject({
      refusal: { errors: [{ field: `sync.${name}`, value: "(object)" }] },
    });
  },
);

it("refuses unknown fields inside lists, with their place", () => {
  const backends = [
    { id: "a", url: "https://a.example" },
    { id: "b", url: "https://b.example", host: "b" },
  ];
  expect(parse(PoolDocumentSchema, { backends, affinity: [{ by: "connection", ttl: 5 }] })).toEqual(
    refusal(
      ["affinity.0.ttl", 5, "is not known here; known: by"],
      ["backends.1.host", "b", "is not known here; known: id, url, weight, via, labels, priority, admin"],
    ),
  );
});

it("refuses a second backend of the same id, and names the second", () => {
  const backends = ["a", "b", "a"].map((id) => ({ id, url: "https://a.example" }));
  expect(parse(PoolDocumentSchema, { backends })).toEqual(
    refusal(["backends.2.id", "a", "must be unique in the pool"]),
  );
});

it("takes a thousand backends and refuses one more", () => {
  const backends = Array.from({ length: 1_001 }, (_, index) => ({
    id: `b${index}`,
    url: "https://a.example",
  }));
  expect(parse(PoolDocumentSchema, { backends: backends.slice(1) })).toMatchObject({ ok: true });
  expect(parse(PoolDocumentSchema, { backends })).toEqual(
    refusal(["backends", "(a list of 1001)", "must be a list of at most 1000"]),
  );
});

it.each([
  [null, null],
  ["round_robin", "round_robin"],
  [true, true],
  [[], "(a list of 0)"],
  [[{ id: "a" }], "(a list of 1)"],
])("refuses %j in the place of a pool", (input, value) => {
  expect(parse(PoolDocumentSchema, input)).toMatchObject({
    ok: false,
    refusal: { kind: "invalid", errors: [{ field: "", value: expect.toBeOneOf([value, `${value}`]) }] },
  });
});

it.each([{}, { drainMs: 0 }, { sync: { leaseMs: 1 } }, { tokens: { cookie: null } }])(
  "leaves the patch %j as it is, to be checked with what it is laid over",
  (patch) => {
    expect(parse(PoolPatchSchema, patch)).toEqual({ ok: true, value: patch });
  },
);

it.each([null, "text", 5, []])("refuses %j in the place of a patch", (patch) => {
  expect(parse(PoolPatchSchema, patch)).toMatchObject({
    refusal: { kind: "invalid", errors: [{ field: "", range: "must be an object" }] },
  });
});

it.each(["a", "0", "a.b_c-d", "a".repeat(63)])("takes the name %s", (name) => {
  expect(parse(PoolNameSchema, name)).toEqual({ ok: true, value: name });
});

it.each([
  "",
  "A",
  "-a",
  "a-",
  ".a",
  "a.",
  "a b",
  "a/b",
  "a\n",
  "ä",
  "😀",
  "a😀b",
  "__proto__",
  "a".repeat(64),
  5,
])("refuses the name %j", (name) => {
  expect(parse(PoolNameSchema, name)).toEqual(refusal(["", name, ID_RANGE]));
});
