import type { Context } from "hono";
import type { GenericSchema, InferOutput } from "valibot";
import type { Precondition } from "../../durable/model/command.ts";
import { parse } from "../../durable/model/parse.ts";
import { invalid } from "../../durable/model/refusal.ts";
import { ok, type Result, refuse } from "../../durable/model/result.ts";
import type { Settings } from "../core/settings.ts";
import type { Env } from "../env.ts";

/** What hono carries through a request of the admin API. */
export interface AdminContext {
  readonly Bindings: Env;
  readonly Variables: { readonly settings: Settings };
}

/** Reads the request's body as JSON and parses it; an empty body is an empty object. */
export async function readBody<const Schema extends GenericSchema>(
  context: Context<AdminContext>,
  schema: Schema,
): Promise<Result<InferOutput<Schema>>> {
  const text = await context.req.text();
  const body = parseJson(text);
  return body.ok ? parse(schema, body.value) : body;
}

function parseJson(text: string): Result<unknown> {
  try {
    return ok(text.trim() === "" ? {} : JSON.parse(text));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return refuse(invalid("body", text.slice(0, 40), `must be JSON (${reason})`));
  }
}

const ETAG = /^"(\d{1,15})"$/;

/** Reads `If-Match` and `If-None-Match: *` (RFC 9110 §13.1). */
export function readPrecondition(context: Context<AdminContext>): Result<Precondition> {
  const match = context.req.header("if-match")?.trim();
  const noneMatch = context.req.header("if-none-match")?.trim();
  if (noneMatch !== undefined && noneMatch !== "*") {
    return refuse(invalid("If-None-Match", noneMatch, "must be *"));
  }
  const ifAbsent = noneMatch === "*";
  if (match === undefined || match === "*") return ok({ ifMatch: match ?? null, ifAbsent });
  const versions = match.split(",").map((tag) => ETAG.exec(tag.trim())?.[1]);
  return versions.every((version) => version !== undefined)
    ? ok({ ifMatch: versions.map(Number), ifAbsent })
    : refuse(invalid("If-Match", match, 'must be * or ETags as they were given, such as "41"'));
}
