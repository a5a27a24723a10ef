import * as fc from "fast-check";
import type { GenericSchema } from "valibot";
import { expect, it } from "vitest";
import { BackendInputSchema, BackendPatchSchema } from "../../../durable/model/backend.ts";
import { PinInputSchema } from "../../../durable/model/health.ts";
import { parse } from "../../../durable/model/parse.ts";
import { PoolConfigSchema, PoolDocumentSchema, PoolPatchSchema } from "../../../durable/model/pool.ts";
import type { FieldError } from "../../../durable/model/refusal.ts";
import type { Result } from "../../../durable/model/result.ts";
import { RouteInputSchema, RoutePatchSchema } from "../../../durable/model/route.ts";
import { SyncRequestSchema } from "../../../durable/model/sync.ts";
import { fuzz } from "../../support/fuzz.ts";
import { NASTY_JSON, spoiled } from "../../support/nasties.ts";
import { BACKEND, CONFIG, POOL, ROUTE, SYNC } from "../support/whole-documents.ts";

const PIN = { health: "degraded", reason: "looked at it", forMs: 5_000 };

/** A schema, and a body that has every field of it. */
interface Body {
  readonly schema: GenericSchema;
  readonly whole: unknown;
}

/** What the admin API takes. */
const BODIES: Readonly<Record<string, Body>> = {
  pool: { schema: PoolDocumentSchema, whole: POOL },
  config: { schema: PoolConfigSchema, whole: CONFIG },
  poolPatch: { schema: PoolPatchSchema, whole: POOL },
  backend: { schema: BackendInputSchema, whole: BACKEND },
  backendPatch: { schema: BackendPatchSchema, whole: BACKEND },
  route: { schema: RouteInputSchema, whole: ROUTE },
  routePatch: { schema: RoutePatchSchema, whole: ROUTE },
  pin: { schema: PinInputSchema, whole: PIN },
};

/** Bodies with something wrong, and a few that are of another kind altogether. */
function spoiledLike(whole: unknown): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 6, arbitrary: spoiled(fc.constant(whole)) },
    { weight: 2, arbitrary: spoiled(spoiled(fc.constant(whole))) },
    spoiled(fc.constantFrom(...Object.values(BODIES).map((body) => body.whole))),
    NASTY_JSON,
  );
}

it("takes every body that has all fields as they may be", () => {
  for (const { schema, whole } of Object.values(BODIES))
    expect(parse(schema, whole)).toMatchObject({ ok: true });
  expect(parse(SyncRequestSchema, SYNC)).toMatchObject({ ok: true });
});

it("parses every body into what parses to itself, or names field, value and range of what is wrong", () => {
  const named = fc
    .constantFrom(...Object.entries(BODIES))
    .chain(([name, { whole }]) => spoiledLike(whole).map((body) => ({ name, body })));
  fuzz("bodies", named, ({ name, body }) => {
    const { schema } = BODIES[name] ?? { schema: PoolDocumentSchema };
    const parsed = parse(schema, body);
    expect(asText(parsedAgain(schema, parsed))).toBe(asText(parsed));
    const errors = errorsIn(parsed);
    expect(errors.length > 0).toBe(!parsed.ok);
    expect(errors.length).toBeLessThanOrEqual(20);
    for (const { field, value, range } of errors) {
      expect(typeof field).toBe("string");
      expect(range).toMatch(/^(?:must|is) /);
      expect(asText(value).length).toBeLessThanOrEqual(1_300);
    }
    expect(Object.keys(Object.prototype)).toEqual([]);
  });
});

it("parses every sync into what parses to itself, or refuses it", () => {
  fuzz("syncBodies", spoiledLike(SYNC), (body) => {
    const parsed = parse(SyncRequestSchema, body);
    expect(asText(parsedAgain(SyncRequestSchema, parsed))).toBe(asText(parsed));
    expect(errorsIn(parsed).length > 0).toBe(!parsed.ok);
  });
});

/** As it is stored and sent: a zero has no sign there. */
function asText(value: unknown): string {
  return JSON.stringify(value);
}

function parsedAgain(schema: GenericSchema, parsed: Result<unknown>): Result<unknown> {
  return parsed.ok ? parse(schema, JSON.parse(JSON.stringify(parsed.value))) : parsed;
}

function errorsIn(parsed: Result<unknown>): readonly FieldError[] {
  return parsed.ok || parsed.refusal.kind !== "invalid" ? [] : parsed.refusal.errors;
}
