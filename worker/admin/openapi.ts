import * as v from "valibot";
import { WaitSchema } from "../../durable/model/duration.ts";
import * as names from "../../durable/model/names.ts";
import { version } from "../../package.json";
import { VersionSchema } from "./history.ts";
import { toParameters } from "./openapi/json-schema.ts";
import {
  GROUPS,
  type Operation,
  type Problem,
  type SharedParameter,
  type Status,
} from "./openapi/operations.ts";
import { createSchemas, SCHEMAS, type SchemaName } from "./openapi/schemas.ts";

const PATH_PARAMETERS = {
  pool: names.PoolNameSchema,
  backend: names.BackendIdSchema,
  route: names.RouteIdSchema,
  version: VersionSchema,
  to: VersionSchema,
};

const SUCCESSES: Readonly<Record<Status, string>> = {
  200: "Done, or shown.",
  201: "Done, and it is new.",
  202: "The wait was over too early: the change stands and does not govern everywhere yet, or not all can be stopped.",
};

/** What any request may be answered. */
const ALWAYS = {
  401: "No token, or an unknown one.",
  429: "Too many wrong tokens from this address. No token from there is looked at until Retry-After.",
  503: "No token is set; or an object could not be reached, and then read before you repeat a change.",
};

const PROBLEMS: Readonly<Record<Problem | keyof typeof ALWAYS, string>> = {
  ...ALWAYS,
  400: "The body broke off.",
  403: "A viewer's token, which may only read.",
  404: "There is no such thing.",
  409: "Not in this state.",
  412: "The precondition does not hold.",
  413: "The body is too large.",
  422: "Something is invalid; every wrong field is named.",
};

/** Describes the admin API under a prefix in OpenAPI 3.1, from the schemas that its requests are parsed with. */
export function createOpenApi(adminPrefix: string): object {
  return {
    openapi: "3.1.1",
    info: {
      title: "Ringmaster",
      version,
      summary: "The admin API of a load balancer at the edge.",
      description:
        "Units are in the names: Ms is milliseconds. What a field means beyond its range, and what to watch out for, is in worker/admin/README.md.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: adminPrefix }],
    security: [{ token: [] }],
    tags: GROUPS.map(({ tag, description }) => ({ name: tag, description })),
    paths: createPaths(),
    components: {
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          description: "A viewer's reads; an operator's also writes.",
        },
      },
      schemas: createSchemas(),
      parameters: { ...createPathParameters(), ...createSharedParameters() },
      headers: {
        ETag: {
          description:
            "The version that the answer is of, for If-Match. Only a preview of what is not there has none.",
          schema: { type: "string", pattern: '^"\\d{1,15}"$' },
        },
        "Retry-After": { description: "Seconds.", schema: { type: "integer", minimum: 1 } },
      },
      responses: Object.fromEntries(
        Object.entries(PROBLEMS).map(([status, description]) => [status, createProblem(status, description)]),
      ),
    },
  };
}

function createPaths(): Readonly<Record<string, Readonly<Record<string, object>>>> {
  const paths: Record<string, Record<string, object>> = {};
  for (const { tag, operations } of GROUPS) {
    for (const operation of operations) {
      const path = (paths[operation.path.replaceAll(/:(\w+)/g, "{$1}")] ??= {});
      path[operation.method] = createOperation(tag, operation);
    }
  }
  return paths;
}

function createOperation(tag: string, operation: Operation): object {
  const { id, summary, description, path, query, shared = [], body } = operation;
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name);
  const named = [...inPath, ...shared].map((name) => ({ $ref: `#/components/parameters/${name}` }));
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    parameters: [...named, ...(query === undefined ? [] : createQuery(query.entries, shared))],
    ...(body === undefined ? {} : { requestBody: createBody(body) }),
    responses: createResponses(operation),
  };
}

/** What only this endpoint takes in its query. */
function createQuery(entries: v.ObjectEntries, shared: readonly string[]): readonly object[] {
  const schemas = toParameters(entries);
  return Object.entries(entries)
    .filter(([name]) => !shared.includes(name))
    .map(([name, entry]) => ({
      name,
      in: "query",
      required: !v.is(entry, undefined),
      schema: schemas[name],
    }));
}

function createBody({ schema, example }: NonNullable<Operation["body"]>): object {
  // No body at all is taken for an empty object.
  return {
    required: !v.is(SCHEMAS[schema], {}),
    content: { "application/json": { schema: refTo(schema), example } },
  };
}

function createResponses({ answer, preview, isVersioned, statuses, problems }: Operation): object {
  const headers = isVersioned ? { headers: { ETag: { $ref: "#/components/headers/ETag" } } } : {};
  const successes = statuses.map((status) => {
    const schema =
      status === 200 && preview !== undefined ? { anyOf: [answer, preview].map(refTo) } : refTo(answer);
    return [
      status,
      { description: SUCCESSES[status], ...headers, content: { "application/json": { schema } } },
    ];
  });
  const failures = [...Object.keys(ALWAYS), ...problems].map((status) => [
    status,
    { $ref: `#/components/responses/${status}` },
  ]);
  return Object.fromEntries([...successes, ...failures]);
}

function createProblem(status: string, description: string): object {
  const isForLater = status === "429" || status === "503";
  return {
    description,
    ...(isForLater ? { headers: { "Retry-After": { $ref: "#/components/headers/Retry-After" } } } : {}),
    content: { "application/problem+json": { schema: refTo("Problem") } },
  };
}

function refTo(schema: SchemaName): object {
  return { $ref: `#/components/schemas/${schema}` };
}

function createPathParameters(): object {
  const parameters = Object.entries(toParameters(PATH_PARAMETERS)).map(([name, schema]) => [
    name,
    { name, in: "path", required: true, schema },
  ]);
  return Object.fromEntries(parameters);
}

function createSharedParameters(): Readonly<Record<SharedParameter, object>> {
  const { wait } = toParameters({ wait: WaitSchema });
  return {
    wait: {
      name: "wait",
      in: "query",
      description: "Answer when it is so, or with 202 when that takes longer. Left out: at once.",
      example: "10s",
      schema: wait,
    },
    dry_run: {
      name: "dry_run",
      in: "query",
      description: "1: nothing is changed, and the answer says what would be.",
      schema: { enum: ["0", "1"], default: "0" },
    },
    "If-Match": {
      name: "If-Match",
      in: "header",
      description: "Only at one of these versions, as ETags, or * for any.",
      schema: { type: "string", pattern: '^(\\*|(W/)?"\\d{1,15}"(\\s*,\\s*(W/)?"\\d{1,15}")*)$' },
      example: '"41"',
    },
    "If-None-Match": {
      name: "If-None-Match",
      in: "header",
      description: "Only if it is not there yet.",
      schema: { const: "*" },
    },
    "Ring-Reason": {
      name: "Ring-Reason",
      in: "header",
      description: "Why, for the history.",
      schema: { type: "string", maxLength: 200, pattern: "^[ -~]*$" },
      example: "more traffic",
    },
  };
}
