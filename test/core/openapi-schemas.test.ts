import { Ajv2020 } from "@redocly/ajv/dist/2020.js";
import * as fc from "fast-check";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { createSchemas, SCHEMAS, type SchemaName } from "../../worker/admin/openapi/schemas.ts";
import { NASTY_JSON, spoiled } from "../support/nasties.ts";
import { BACKEND, CONFIG, POOL, ROUTE } from "./support/whole-documents.ts";

const components = createSchemas();
const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema({ $id: "document", components: { schemas: components } });

function isDescribed(name: SchemaName, body: unknown): boolean {
  const validate = ajv.getSchema(`document#/components/schemas/${name}`);
  if (validate === undefined) throw new Error(`there is no ${name}`);
  return validate(body) === true;
}

/** Bodies that have every field. */
const WHOLE: Partial<Record<SchemaName, unknown>> = {
  Pool: POOL,
  PoolPatch: CONFIG,
  BackendInput: BACKEND,
  BackendPatch: BACKEND,
  RouteInput: ROUTE,
  RoutePatch: ROUTE,
  Pin: { health: "degraded", reason: "looked at it", forMs: 5_000 },
  DrainLabelled: { label: "zone", value: "a", forMs: null, force: true },
  DirectoryDocument: { version: 1, routes: [{ id: "r", ...ROUTE }], pools: [{ name: "p", document: POOL }] },
};
const NAMES = Object.keys(WHOLE) as SchemaName[];

it.each(NAMES)("describes %s with all its fields", (name) => {
  expect(v.is(SCHEMAS[name], WHOLE[name])).toBe(true);
  expect(isDescribed(name, WHOLE[name])).toBe(true);
});

it("describes no body more strictly than it is parsed", () => {
  const bodies = fc
    .constantFrom(...NAMES.filter((name) => name !== "PoolPatch"))
    .chain((name) => fc.oneof(spoiled(fc.constant(WHOLE[name])), NASTY_JSON).map((body) => ({ name, body })));
  fc.assert(
    fc.property(bodies, ({ name, body }) => {
      expect(!v.is(SCHEMAS[name], body) || isDescribed(name, body)).toBe(true);
    }),
    { numRuns: 5_000 },
  );
});

describe("a body out of range", () => {
  it.each([
    ["Pool", { backends: [{ id: "a", url: "http://h", weight: 1_001 }] }],
    ["Pool", { drainMs: -1 }],
    ["Pool", { drainMs: 1.5 }],
    ["Pool", { retry: { statuses: [200] } }],
    ["Pool", { affinity: Array.from({ length: 7 }, () => ({ by: "token" })) }],
    ["Pool", { affinity: [{ by: "header" }] }],
    ["Pool", { health: { probe: { kind: "udp" } } }],
    ["Pool", { unheardOf: 1 }],
    ["PoolPatch", { sync: { refreshMs: 1 } }],
    ["BackendInput", { weight: 1 }],
    ["BackendInput", { url: "http://h", labels: { zone: 1 } }],
    ["RouteInput", { pool: "No!" }],
    ["RouteInput", { pool: "p", methods: [] }],
    ["Pin", { health: "well", reason: "x" }],
    ["DirectoryDocument", { routes: [] }],
  ] as const)("is not %s by its description either: %j", (name, body) => {
    expect(isDescribed(name, body)).toBe(false);
  });
});

it("tells defaults of a body, and none of a patch", () => {
  expect(components["Pool"]?.properties?.["drainMs"]).toMatchObject({
    default: 300_000,
    minimum: 0,
    maximum: 604_800_000,
  });
  const { tokens, health } = components["PoolPatch"]?.properties ?? {};
  expect(JSON.stringify(tokens)).not.toMatch(/"default"|"required"/);
  // A list is replaced as a whole.
  expect(health).toMatchObject({ properties: { webhooks: { items: { required: ["url", "secret"] } } } });
});

it("tells what JSON Schema cannot say, of the field that it is about", () => {
  expect(components["RouteInput"]?.description).toBe("pool is required, or split, and not both");
  expect(components["Pool"]?.description).toContain("the ids of its backends must be unique");
});
