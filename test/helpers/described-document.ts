import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { addFormats } from "./ajv-formats.ts";

/*
 * Checks of a document that describes an interface: every field has a description and an example, and every example passes
 * its own schema.
 */

type Json = Record<string, unknown>;

/** Walks everything that is a schema below a part of the document, with the JSON pointer to it. */
export function* schemasIn(schema: Json, pointer: string): Generator<{ schema: Json; pointer: string }> {
  if (typeof schema !== "object" || schema === null) return;
  yield { schema, pointer };
  for (const key of ["properties", "definitions"]) {
    for (const [name, child] of Object.entries((schema[key] ?? {}) as Record<string, Json>))
      yield* schemasIn(child, `${pointer}/${key}/${toPointerPart(name)}`);
  }
  for (const key of ["anyOf", "oneOf", "allOf", "prefixItems", "items"]) {
    const list = schema[key];
    if (Array.isArray(list)) for (const [i, child] of list.entries()) yield* schemasIn(child, `${pointer}/${key}/${i}`);
  }
  for (const key of ["items", "additionalProperties"]) {
    const child = schema[key];
    if (!Array.isArray(child)) yield* schemasIn(child as Json, `${pointer}/${key}`);
  }
}

export function toPointerPart(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Names the fields below a schema that have no description or no example, neither themselves nor by what they refer to. */
export function findBareFields(document: Json, schema: Json, pointer: string): string[] {
  const bare: string[] = [];
  for (const { schema: parent, pointer: at } of schemasIn(schema, pointer)) {
    for (const [name, field] of Object.entries((parent.properties ?? {}) as Record<string, Json>)) {
      const told = withTarget(document, field);
      if (!told.description) bare.push(`${at}/${name}: no description`);
      if (told.examples === undefined && told.const === undefined) bare.push(`${at}/${name}: no example`);
    }
  }
  return bare;
}

/** The field with what it refers to. */
function withTarget(document: Json, field: Json): Json {
  const target = typeof field.$ref === "string" ? find(document, field.$ref) : {};
  const wrapped = Array.isArray(field.allOf) ? withTarget(document, field.allOf[0]) : {};
  return { ...target, ...wrapped, ...field };
}

export function find(document: Json, ref: string): Json {
  return ref
    .split("/")
    .slice(1)
    .reduce<unknown>((at, part) => (at as Json)[part.replaceAll("~1", "/").replaceAll("~0", "~")], document) as Json;
}

/** Checks values against schemas of one document. */
export class ExampleCheck {
  readonly #ajv: Ajv;

  constructor(document: Json, draft: "2020-12" | "7") {
    const options = { strict: false, validateSchema: false, allErrors: false } as const;
    this.#ajv = draft === "7" ? new Ajv(options) : (new Ajv2020(options) as unknown as Ajv);
    addFormats(this.#ajv);
    const { id: _, ...schemas } = document;
    this.#ajv.addSchema({ ...schemas, $id: "document" });
  }

  /** What is wrong with the value by the schema at the pointer; null where it passes. */
  refusal(pointer: string, value: unknown): string | null {
    const validate = this.#ajv.compile({ $ref: `document${encodeURI(pointer).replaceAll("%23", "#")}` });
    return validate(value) ? null : `${pointer}: ${JSON.stringify(value)}: ${this.#ajv.errorsText(validate.errors)}`;
  }

  /** The refusals of all examples that stand below a schema. */
  refusalsBelow(schema: Json, pointer: string): string[] {
    return [...schemasIn(schema, pointer)]
      .flatMap(({ schema: { examples = [] }, pointer: at }) =>
        (examples as unknown[]).map((example) => this.refusal(at, example)),
      )
      .filter((refusal) => refusal !== null);
  }
}
