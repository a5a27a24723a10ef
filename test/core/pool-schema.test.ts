import { expect, it } from "vitest";
import { PoolNameSchema } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import { PoolConfigSchema, PoolDocumentSchema, PoolPatchSchema } from "../../durable/model/pool.ts";
import { ID_RANGE, refusal } from "./support/refusal.ts";

const DEFAULTS = {
  policy: "round_robin",
  affinity: [],
  connections: { maxEntries: 50_000, idleMs: 900_000 },
  headerTimeoutMs: 15_000,
  drainMs: 300_000,
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
  ["policy", "least_request", 'must be one of "round_robin", "rendezvous"'],
  ["headerTimeoutMs", 9, "must be an integer 10…600000"],
  ["headerTimeoutMs", 600_001, "must be an integer 10…600000"],
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

it.each([
  ["a word", "connection", "affinity", "connection", "must be a list of at most 4"],
  ["a word in it", ["connection"], "affinity.0", "connection", "must be an object with by"],
  ["an unknown way", [{ by: "moon" }], "affinity.0.by", "moon", 'must be "connection"'],
  ["no way", [{}], "affinity.0.by", "(missing)", "is required"],
  [
    "five",
    Array.from({ length: 5 }, () => ({ by: "connection" })),
    "affinity",
    "(a list of 5)",
    "must be a list of at most 4",
  ],
])("refuses an affinity chain that is, or holds, %s", (_, affinity, field, value, range) => {
  expect(parse(PoolConfigSchema, { affinity })).toEqual(refusal([field, value, range]));
});

it.each([
  ["", {}, "policy, affinity, connections, headerTimeoutMs, drainMs, sync, backends"],
  ["sync.", { sync: {} }, "refreshMs, leaseMs, waitMs, maxStaleMs, maxPerSecond"],
  ["connections.", { connections: {} }, "maxEntries, idleMs"],
])("refuses an unknown field under '%s' by its name", (prefix, rest, known) => {
  const unknown = { poilcy: 1 };
  const [part] = Object.keys(rest);
  const input = part === undefined ? unknown : { [part]: unknown };
  expect(parse(PoolDocumentSchema, input)).toEqual(
    refusal([`${prefix}poilcy`, 1, `is not known here; known: ${known}`]),
  );
});

it("refuses unknown fields inside lists, with their place", () => {
  const backends = [
    { id: "a", url: "https://a.example" },
    { id: "b", url: "https://b.example", host: "b" },
  ];
  expect(parse(PoolDocumentSchema, { backends, affinity: [{ by: "connection", ttl: 5 }] })).toEqual(
    refusal(
      ["affinity.0.ttl", 5, "is not known here; known: by"],
      ["backends.1.host", "b", "is not known here; known: id, url, weight, via, labels, admin"],
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

it.each([
  {},
  { drainMs: 0 },
  { sync: { leaseMs: 60_000 } },
  { sync: {} },
  { connections: { idleMs: 1_000 } },
])("adds nothing to the patch %j", (patch) => {
  expect(parse(PoolPatchSchema, patch)).toEqual({ ok: true, value: patch });
});

it.each([
  ["drainMs", { drainMs: -1 }, -1, "must be an integer 0…604800000"],
  ["sync.leaseMs", { sync: { leaseMs: 1 } }, 1, "must be an integer 1000…3600000"],
  ["connections.idleMs", { connections: { idleMs: null } }, null, "must be an integer 1000…86400000"],
  [
    "backends",
    { backends: [] },
    "(a list of 0)",
    "is not known here; known: policy, affinity, connections, headerTimeoutMs, drainMs, sync",
  ],
])("refuses %s in the patch %j", (field, patch, value, range) => {
  expect(parse(PoolPatchSchema, patch)).toEqual(refusal([field, value, range]));
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
