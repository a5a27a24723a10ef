import { type ConversionConfig, type JsonSchema, toJsonSchemaDefs } from "@valibot/to-json-schema";
import type * as v from "valibot";

/** Schemas by the name they have in the document. */
type Named = Readonly<Record<string, v.GenericSchema>>;

const CONFIG: ConversionConfig = {
  target: "draft-2020-12",
  overrideRef: ({ referenceId }) => `#/components/schemas/${referenceId}`,
  // What a function decides says for itself what it is, by metadata.
  overrideSchema: ({ valibotSchema, jsonSchema }) =>
    valibotSchema.type === "custom" ? jsonSchema : undefined,
  overrideAction: ({ valibotAction, jsonSchema, errors }) => {
    const said = sentenceOf(valibotAction);
    const isSaid = valibotAction.type === "regex" || errors !== undefined;
    return said !== null && isSaid ? describe(jsonSchema, said) : jsonSchema;
  },
};

/** Schemas of bodies and answers, as they are before they are parsed. */
export function toComponents(schemas: Named): Readonly<Record<string, JsonSchema>> {
  return toJsonSchemaDefs({ ...schemas }, { ...CONFIG, typeMode: "input" });
}

/** Schemas of parameters, which are text, by what they stand for: the digits of an integer are one. */
export function toParameters(schemas: Named): Readonly<Record<string, JsonSchema>> {
  const parameters = toJsonSchemaDefs({ ...schemas }, { ...CONFIG, typeMode: "output" });
  return Object.fromEntries(
    Object.entries(parameters).map(([name, schema]) => {
      const isInteger = schema.type === "integer" && schema.default !== undefined;
      return [name, isInteger ? { ...schema, default: Number(schema.default) } : schema];
    }),
  );
}

/** The same schema for a body that gives only what is to change: nothing is required in it, and there are no defaults. */
export function toPatch(schema: JsonSchema): JsonSchema {
  const { default: _, required: __, properties, anyOf, oneOf, ...rest } = schema;
  const alternatives = anyOf ?? oneOf;
  return {
    ...rest,
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, property]) => [name, patchOf(property)]),
          ),
        }),
    ...(alternatives === undefined ? {} : { anyOf: alternatives.map(patchOf) }),
  };
}

function patchOf(schema: JsonSchema | boolean): JsonSchema | boolean {
  return typeof schema === "boolean" ? schema : toPatch(schema);
}

/** What JSON Schema cannot say is said in the words of our refusals. */
function describe(schema: JsonSchema, said: string): JsonSchema {
  const { description } = schema;
  if (description?.includes(said) === true) return schema;
  return { ...schema, description: description === undefined ? said : `${description}; ${said}` };
}

/** What an action of a schema demands, in words; null: it has none, as it only names or changes the value. */
function sentenceOf(action: object): string | null {
  if (!("message" in action) || typeof action.message !== "string") return null;
  return "field" in action ? `${String(action.field)} ${action.message}` : action.message;
}
