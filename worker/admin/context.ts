import type { Context } from "hono";
import type { GenericSchema, InferOutput } from "valibot";
import type { Author, Precondition } from "../../durable/model/command.ts";
import { parseReason } from "../../durable/model/history.ts";
import type { PoolName } from "../../durable/model/names.ts";
import { parse } from "../../durable/model/parse.ts";
import { invalid, type Refusal } from "../../durable/model/refusal.ts";
import { ok, type Result, refuse } from "../../durable/model/result.ts";
import type { Settings } from "../core/settings.ts";
import type { Env } from "../env.ts";

/** What hono carries through a request of the admin API. */
export interface AdminContext {
  readonly Bindings: Env;
  readonly Variables: {
    readonly settings: Settings;
    /** Whose token it is, as the history calls them. */
    readonly operator: string;
    /** What the change is part of: its reason in the history, where the header gives none. */
    readonly occasion?: string;
    /** As text; empty when there was none. */
    readonly body: string;
    /** The request asks what a write would do, and writes nothing. */
    readonly isDryRun: boolean;
  };
}

/** Reads the request's body as JSON and parses it; an empty body is an empty object. */
export function readBody<const Schema extends GenericSchema>(
  context: Context<AdminContext>,
  schema: Schema,
): Result<InferOutput<Schema>> {
  const body = parseJson(context.get("body"));
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

/** Who asks, and why if the header `Ring-Reason` says. */
export function readAuthor(context: Context<AdminContext>): Result<Author> {
  const reason = parseReason(context.req.header("ring-reason"));
  if (!reason.ok) return reason;
  return ok({ operator: context.get("operator"), reason: reason.value ?? context.get("occasion") ?? null });
}

/** With `W/`, too: whoever compresses our answers on their way weakens their ETags, and a version is the same compressed or not. */
const ETAG = /^(?:W\/)?"(\d{1,15})"$/;

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

/** Reads a name out of the path. */
export function readName<const Schema extends GenericSchema>(
  context: Context<AdminContext>,
  parameter: string,
  schema: Schema,
): Result<InferOutput<Schema>> {
  const name = parse(schema, context.req.param(parameter));
  if (name.ok || name.refusal.kind !== "invalid") return name;
  const [{ value, range }] = name.refusal.errors;
  return refuse(invalid(parameter, value, range));
}

/** A refusal that says which pool is not there. */
export function noPoolNamed(name: PoolName, refusal: Refusal): Refusal {
  return refusal.kind === "not-found"
    ? { kind: "not-found", detail: `pool ${name} does not exist` }
    : refusal;
}
