type Json = Record<string, unknown>;

const SCHEMAS = "#/components/schemas/";

/** Writes a JSON schema as a TypeScript type. */
export function toTypeText(schema: Json, indent = ""): string {
  const inner = `${indent}  `;
  if (typeof schema.$ref === "string") return schema.$ref.replace(SCHEMAS, "");
  for (const [key, joint] of [
    ["anyOf", " | "],
    ["oneOf", " | "],
    ["allOf", " & "],
  ] as const) {
    if (Array.isArray(schema[key])) return (schema[key] as Json[]).map((part) => toTypeText(part, indent)).join(joint);
  }
  if (Array.isArray(schema.enum)) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const tuple = schema.prefixItems ?? schema.items;
  if (Array.isArray(tuple)) return `[${(tuple as Json[]).map((part) => toTypeText(part, indent)).join(", ")}]`;
  if (Array.isArray(schema.type)) {
    return schema.type.map((type) => toTypeText({ ...schema, type }, indent)).join(" | ");
  }
  if (schema.type === "array") {
    const item = toTypeText((schema.items ?? {}) as Json, indent);
    return / [|&] /.test(item) && !item.startsWith("{") ? `(${item})[]` : `${item}[]`;
  }
  if (schema.type === "object" && schema.properties) {
    const required = new Set((schema.required ?? []) as string[]);
    const lines = Object.entries(schema.properties as Record<string, Json>).map(
      ([name, property]) => `${inner}${name}${required.has(name) ? "" : "?"}: ${toTypeText(property, inner)}\n`,
    );
    return `{\n${lines.join("")}${indent}}`;
  }
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return `{ [name]: ${toTypeText(schema.additionalProperties as Json, indent)} }`;
  }
  return typeof schema.type === "string" ? schema.type : "any";
}
