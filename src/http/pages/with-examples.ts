/*
 * Examples for the parts of a document that have none of their own. The schemas carry an example for each field
 * (protocol/doc.ts); here the examples of objects, lists and bodies are put together from them.
 */

type Json = Record<string, unknown>;

/** The parts of a JSON schema that hold further schemas: by name, one, or a list. */
const BY_NAME = ["properties", "definitions", "patternProperties"];
const SINGLE = ["items", "additionalProperties", "contains", "not"];
const LISTS = ["anyOf", "oneOf", "allOf", "prefixItems"];

/** Finds the schema that a `$ref` names. */
export type Resolve = (ref: string) => Json;

/** Finds `#/a/b` in the document. */
export function resolverOf(document: Json): Resolve {
  return (ref) =>
    ref
      .split("/")
      .slice(1)
      .reduce<unknown>((at, part) => (at as Json)[part], document) as Json;
}

/** An example of the schema: its own, or one made of the examples in it. Undefined where there is none. */
export function exampleOf(schema: Json, resolve: Resolve): unknown {
  if (typeof schema.$ref === "string") return exampleOf(resolve(schema.$ref), resolve);
  if (Array.isArray(schema.examples)) return schema.examples[0];
  if ("const" in schema) return schema.const;
  for (const choice of [schema.anyOf, schema.oneOf]) {
    if (Array.isArray(choice)) return exampleOf(choice[0], resolve);
  }
  if (Array.isArray(schema.allOf)) {
    return Object.assign({}, ...schema.allOf.map((part: Json) => exampleOf(part, resolve)));
  }
  if (schema.properties !== undefined) {
    const fields = Object.entries(schema.properties as Record<string, Json>);
    return Object.fromEntries(
      fields.map(([name, field]) => [name, exampleOf(field, resolve)]).filter(([, value]) => value !== undefined),
    );
  }
  if (schema.type === "array" && schema.items !== undefined) {
    const item = exampleOf(schema.items as Json, resolve);
    return item === undefined ? undefined : [item];
  }
  if (Array.isArray(schema.enum)) return schema.enum[0];
  return schema.default;
}

/** Gives every object and list of a schema, at every depth, an example. Changes the schema. */
export function addSchemaExamples(schema: Json, resolve: Resolve): void {
  if (typeof schema !== "object" || schema === null || typeof schema.$ref === "string") return;
  for (const child of childrenOf(schema)) addSchemaExamples(child, resolve);
  if (schema.examples !== undefined) return;
  const example = exampleOf(schema, resolve);
  if (example !== undefined) schema.examples = [example];
}

function childrenOf(schema: Json): Json[] {
  return [
    ...BY_NAME.flatMap((key) => Object.values((schema[key] ?? {}) as Record<string, Json>)),
    ...SINGLE.map((key) => schema[key] as Json).filter((child) => typeof child === "object"),
    ...LISTS.flatMap((key) => (schema[key] ?? []) as Json[]),
  ];
}
