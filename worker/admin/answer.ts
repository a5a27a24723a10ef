import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { FieldError, Refusal } from "../../durable/model/refusal.ts";

/** An error of the admin API (RFC 9457). */
interface AdminProblem {
  readonly status: ContentfulStatusCode;
  readonly title: string;
  readonly detail: string;
  readonly errors?: readonly FieldError[];
  /** What was done before, and what was not. */
  readonly progress?: Progress;
}

/** How far a change of several steps has come. */
interface Progress {
  readonly applied: readonly object[];
  readonly remaining: readonly string[];
}

/** Answers with `application/problem+json`. */
export function problem(
  context: Context,
  { status, title, detail, errors, progress }: AdminProblem,
): Response {
  const body = {
    type: "about:blank",
    title,
    status,
    detail,
    ...(errors === undefined ? {} : { errors }),
    ...progress,
  };
  return context.body(JSON.stringify(body), status, { "content-type": "application/problem+json" });
}

/** Answers a refusal with the status its kind stands for. */
export function refused(context: Context, refusal: Refusal, progress: Progress | null = null): Response {
  return problem(context, { ...toProblem(refusal), ...(progress === null ? {} : { progress }) });
}

function toProblem(refusal: Refusal): AdminProblem {
  switch (refusal.kind) {
    case "not-found":
      return { status: 404, title: "Not found", detail: refusal.detail };
    case "conflict":
      return { status: 409, title: "Conflict", detail: refusal.detail };
    case "stale-version":
      return {
        status: 412,
        title: "Precondition failed",
        detail: staleInWords(refusal),
      };
    case "invalid":
      return {
        status: 422,
        title: "Invalid",
        detail: refusal.errors.map(inWords).join("; "),
        errors: refusal.errors,
      };
  }
}

function staleInWords({ expected, actual }: Extract<Refusal, { kind: "stale-version" }>): string {
  if (expected === "none")
    return `the precondition wants it not to be there, and it is, in version ${actual}`;
  const isWanted = `the precondition wants ${expected === "any" ? "it to be there" : `version ${expected}`}`;
  return actual === "none" ? `${isWanted}, and it is not there` : `${isWanted}, and it is ${actual}`;
}

/** Answers for an object that could not be reached. */
export function unavailable(context: Context, progress: Progress | null = null): Response {
  context.header("retry-after", "1");
  return problem(context, {
    status: 503,
    title: "Unavailable",
    detail:
      "an object could not be reached; whether the change was made is unknown, so read before you repeat it",
    ...(progress === null ? {} : { progress }),
  });
}

/** Answers with a document and the version it is at, which `If-Match` can name. */
export function versioned(
  context: Context,
  version: number,
  body: object,
  status: ContentfulStatusCode = 200,
): Response {
  context.header("etag", `"${version}"`);
  return context.json(body, status);
}

function inWords({ field, value, range }: FieldError): string {
  return [
    field,
    typeof value === "string" && !value.startsWith("(") ? JSON.stringify(value) : String(value),
    range,
  ]
    .filter((part) => part !== "")
    .join(" ");
}
