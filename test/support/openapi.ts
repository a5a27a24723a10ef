import { Ajv2020 } from "@redocly/ajv/dist/2020.js";

/** One endpoint of an OpenAPI document, as far as tests look into it. */
export interface Endpoint {
  readonly id: string;
  readonly method: string;
  /** Such as `/pools/{pool}`. */
  readonly path: string;
  /** Names of parameters, headers among them. */
  readonly parameters: readonly string[];
  /** Of the body; null: there is none. */
  readonly example: object | null;
  /** Fields that a body may have; null: there is none. */
  readonly fields: readonly string[] | null;
  readonly responses: Readonly<Record<string, unknown>>;
}

/** What was answered. */
export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

// JSON of which only this file knows the shape; a wrong guess fails whatever reads it.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

/** An OpenAPI document that answers can be held against. */
export class OpenApi {
  readonly #document: Json;
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });

  constructor(document: Json) {
    this.#document = document;
    this.#ajv.addSchema(closed(document), "document");
  }

  endpoints(): readonly Endpoint[] {
    return Object.entries<Json>(this.#document.paths).flatMap(([path, operations]) =>
      Object.entries<Json>(operations).map(([method, operation]) => {
        const content = operation.requestBody?.content["application/json"];
        return {
          id: operation.operationId,
          method: method.toUpperCase(),
          path,
          parameters: operation.parameters.map((parameter: Json) => this.#follow(parameter).name),
          example: content?.example ?? null,
          fields: content === undefined ? null : Object.keys(this.#follow(content.schema).properties),
          responses: operation.responses,
        };
      }),
    );
  }

  /** What is wrong with an answer: a status, a type, a header or a body that the document does not tell of. */
  faults({ id, responses }: Endpoint, { status, headers, body }: Answered): readonly string[] {
    const told = responses[status];
    if (told === undefined) return [`${id}: status ${status} ${JSON.stringify(body)}`];
    const response = this.#follow(told);
    const type = headers.get("content-type") ?? "";
    const schema = response.content[type]?.schema;
    if (schema === undefined) return [`${id}: ${status} of type ${type}`];
    const validate = this.#ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"document#/')));
    const errors = validate(body) ? [] : (validate.errors ?? []);
    const isNowhere = (body as Json).version === null;
    const isEtagWrong = (response.headers?.ETag !== undefined && !isNowhere) !== headers.has("etag");
    return [
      ...errors.map(
        (error) => `${id}: ${status} ${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`,
      ),
      ...(isEtagWrong ? [`${id}: ${status} with ETag ${headers.get("etag")}`] : []),
    ];
  }

  #follow(json: Json): Json {
    if (json.$ref === undefined) return json;
    return json.$ref
      .slice(2)
      .split("/")
      .reduce((at: Json, name: string) => at[name], this.#document);
  }
}

/** The same document, by which no object may have a field that it does not tell of. */
function closed(json: Json): Json {
  if (Array.isArray(json)) return json.map(closed);
  if (typeof json !== "object" || json === null) return json;
  const all = Object.fromEntries(Object.entries(json).map(([name, value]) => [name, closed(value)]));
  return json.properties === undefined ? all : { additionalProperties: false, ...all };
}
