/*
 * Values that break a field that trusts its caller, and payloads in which each field is replaced by each of them.
 */

type Json = Record<string, unknown>;

/** In the text of a payload this stands for a number that JSON can write and no double can hold. */
const BEYOND_DOUBLES = "beyond doubles";

/** Values of every type, at and past the limits of what the database, a Date and a double hold. */
export const FIELD_VALUES: readonly unknown[] = [
  null,
  true,
  [],
  [[[]]],
  {},
  JSON.parse('{"__proto__":{"a":1},"constructor":1}'),
  "",
  " ",
  "\u0000",
  "a\u0000b",
  "\ud800",
  "a\udc00",
  "İ".repeat(50),
  "x".repeat(129),
  "x".repeat(256),
  "\u{1f600}".repeat(128),
  "x".repeat(10_000),
  ".",
  "..",
  "a/user:bob",
  "%00",
  "NaN",
  "infinity",
  "a@b",
  "A@EXAMPLE.ORG\u0000",
  "2026-01-01T00:00:00+23:59",
  "2026-01-01T00:00:00-23:59",
  "0000-01-01T00:00:00Z",
  "0001-01-01T00:00:00+23:59",
  "9999-12-31T23:59:59-23:59",
  "1",
  "1e400",
  "9223372036854775808",
  0,
  -1,
  0.5,
  1e-5,
  4e-6,
  1e-10,
  5e-324,
  0.0004,
  1.0004,
  2_147_483,
  2_147_483.6474,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 53 - 1,
  2 ** 53,
  1e21,
  1e308,
  BEYOND_DOUBLES,
];

/** The JSON of a payload; it may contain a number too large for JSON.stringify. */
export function toJsonText(payload: unknown): string {
  return JSON.stringify(payload).replaceAll(JSON.stringify(BEYOND_DOUBLES), "1e400");
}

/** The payload with each of its fields, at every depth, replaced by each of the values in turn. */
export function* withEachField(payload: unknown): Generator<{ field: string; payload: unknown }> {
  for (const path of pathsOf(payload)) {
    for (const value of FIELD_VALUES) yield { field: path.join("."), payload: replace(payload, path, value) };
  }
}

function pathsOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([name, child]) => pathsOf(child, [...path, name]))];
}

function replace(payload: unknown, [name, ...rest]: string[], value: unknown): unknown {
  if (name === undefined) return value;
  const copy = (Array.isArray(payload) ? [...payload] : { ...(payload as Json) }) as Json;
  copy[name] = replace(copy[name], rest, value);
  return copy;
}

/** Makes a payload with every property that a JSON schema names. `known` holds the values of properties by name. */
export function exampleOf(schema: Json, known: Json, schemas: Json = {}, name = ""): unknown {
  if (typeof schema.$ref === "string") {
    return exampleOf(schemas[schema.$ref.split("/").at(-1) as string] as Json, known, schemas, name);
  }
  if (Array.isArray(schema.allOf)) {
    return Object.assign({}, ...schema.allOf.map((part) => exampleOf(part as Json, known, schemas, name)));
  }
  const choices = (schema.anyOf ?? schema.oneOf) as Json[] | undefined;
  if (choices !== undefined) return exampleOf(choices[0] as Json, known, schemas, name);
  if (schema.properties !== undefined) {
    const properties = Object.entries(schema.properties as Record<string, Json>);
    return Object.fromEntries(properties.map(([key, child]) => [key, exampleOf(child, known, schemas, key)]));
  }
  if (name in known) return known[name];
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if (Array.isArray(schema.prefixItems)) {
    return schema.prefixItems.map((child) => exampleOf(child as Json, known, schemas, name));
  }
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "array") return [exampleOf((schema.items ?? {}) as Json, known, schemas, name)];
  if (type === "number" || type === "integer") return 1;
  if (type === "boolean") return true;
  return type === "object" ? {} : "text";
}
