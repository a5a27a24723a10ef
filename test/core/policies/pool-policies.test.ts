import { expect, it } from "vitest";
import { parse } from "../../../durable/model/parse.ts";
import { PolicySchema, PoolDocumentSchema, type PoolPatch } from "../../../durable/model/pool.ts";
import { applyPoolCommand } from "../../../durable/state/ring-command.ts";
import { moment, NOON, pool, poolName } from "../support/build.ts";
import { refusal } from "../support/refusal.ts";

const POLICIES =
  'must be one of "round_robin", "random", "first", "least_request", "peak_ewma", "rendezvous", "maglev", "ring_hash"';
const FACTORS = "must be an integer 100…1000";
const POINTS = "must be a multiple of 4, 4…1000";

function patched(patch: PoolPatch) {
  return applyPoolCommand(
    pool({ a: 1 }),
    { kind: "patch-pool", patch },
    {
      ...moment(NOON),
      pool: poolName("shop"),
      precondition: { ifMatch: null, ifAbsent: false },
      birth: { incarnation: "born", secret: "0f0e0d0c0b0a09080706050403020100" },
    },
  );
}

it.each(PolicySchema.options)("takes the policy %s, put or patched", (policy) => {
  expect(parse(PoolDocumentSchema, { policy })).toMatchObject({ ok: true, value: { policy } });
  expect(patched({ policy })).toMatchObject({ ok: true, value: { state: { config: { policy } } } });
});

it.each([{ hashBalanceFactor: 100 }, { hashBalanceFactor: 1_000 }, { ringPoints: 4 }, { ringPoints: 1_000 }])(
  "takes %j, put or patched, and what is back at its default",
  (told) => {
    expect(parse(PoolDocumentSchema, told)).toMatchObject({ ok: true, value: told });
    expect(patched(told)).toMatchObject({ ok: true, value: { state: { config: told } } });
    expect(patched({ hashBalanceFactor: null })).toMatchObject({ ok: true });
  },
);

it.each([
  ["policy", "fastest", POLICIES],
  ["policy", null, POLICIES],
  ["hashBalanceFactor", 99, FACTORS],
  ["hashBalanceFactor", 1_001, FACTORS],
  ["hashBalanceFactor", 120.5, FACTORS],
  ["ringPoints", 0, POINTS],
  ["ringPoints", 1_004, POINTS],
  ["ringPoints", "160", POINTS],
])("refuses %s of %j, put or patched", (field, value, range) => {
  expect(parse(PoolDocumentSchema, { [field]: value })).toEqual(refusal([field, value, range]));
  expect(patched({ [field]: value })).toEqual(refusal([field, value, range]));
});

it("refuses ring points that are no multiple of 4", () => {
  expect(parse(PoolDocumentSchema, { ringPoints: 162 })).toEqual(refusal(["ringPoints", 162, POINTS]));
});
