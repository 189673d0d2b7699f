import { html, raw } from "hono/html";

/*
 * `/docs`: the OpenAPI document as a page to read, made on the server and without a script. To try calls, load /openapi.json
 * into a client. Swagger UI would add 12 MB to the installation, or make the page depend on the internet.
 */

type Json = Record<string, unknown>;

interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  security?: unknown[];
  parameters?: { name: string; in: string; required?: boolean; schema?: Json }[];
  requestBody?: { required?: boolean; content?: Record<string, { schema?: Json }> };
  responses?: Record<string, { description?: string; content?: Record<string, { schema?: Json }> }>;
}

interface OpenApi {
  info: { title: string; version: string; description?: string };
  servers?: { url: string }[];
  paths?: object;
  components?: { schemas?: object };
}

const SCHEMAS = "#/components/schemas/";
const METHODS = ["get", "post", "put", "patch", "delete"] as const;

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d8dbe2, #3a3f4b); --soft: light-dark(#f5f6f8, #22252c) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem }
summary { cursor: pointer } code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .6rem .8rem; border-radius: 6px; overflow-x: auto }
.method { display: inline-block; width: 4.2rem; font-weight: 700 } .what { opacity: .75; margin-left: .5rem }`;

/** Renders the page: every operation under its tag, and then every named schema. */
export function renderDocs(document: OpenApi) {
  const schemas = (document.components?.schemas ?? {}) as Record<string, Json>;
  const operations = Object.entries((document.paths ?? {}) as Record<string, Record<string, Operation>>).flatMap(
    ([path, item]) => METHODS.flatMap((method) => (item[method] ? [{ method, path, operation: item[method] }] : [])),
  );
  const tags = [...new Set(operations.map(({ operation }) => tagOf(operation)))];
  const { title, version, description } = document.info;
  const path = document.servers?.[0]?.url ?? "/";
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="favicon.svg" type="image/svg+xml"><title>${title} API</title><style>${raw(STYLE)}</style></head>
<body><h1>${title} API ${version}</h1>
<p>${description ?? ""} The same for machines: <a href="openapi.json">openapi.json</a>.</p>
${path === "/" ? "" : html`<p>All addresses stand below <code>${path}</code>.</p>`}
<p>Every call that fails is answered with a <a href="#Problem"><code>Problem</code></a>, as <code>application/problem+json</code>.</p>
${tags.map(
  (tag) => html`<h2>${tag}</h2>
${operations.filter(({ operation }) => tagOf(operation) === tag).map((call) => renderOperation(call, schemas))}`,
)}
<h2>Schemas</h2>
${Object.entries(schemas).map(
  ([
    name,
    schema,
  ]) => html`<details id="${name}" open><summary><code>${name}</code></summary><pre>${toTypeText(schema)}</pre></details>
`,
)}</body></html>`;
}

function tagOf(operation: Operation): string {
  return operation.tags?.[0] ?? "Other";
}

interface Call {
  method: string;
  path: string;
  operation: Operation;
}

function renderOperation({ method, path, operation }: Call, schemas: Record<string, Json>) {
  const parameters = (operation.parameters ?? []).map(
    ({ name, in: place, required, schema }) => `${place} ${name}${required ? "" : "?"}: ${toTypeText(schema ?? {})}\n`,
  );
  const types = Object.keys(operation.requestBody?.content ?? {});
  const body = types[0] === undefined ? undefined : operation.requestBody?.content?.[types[0]]?.schema;
  return html`<details><summary><code><span class="method">${method.toUpperCase()}</span>${path}</code><span class="what">${operation.summary ?? ""}</span></summary>
<p>${withCode(operation.description ?? "")} ${operation.security ? html`Needs <code>Authorization: Bearer &lt;token&gt;</code>.` : ""}</p>
${parameters.length > 0 ? html`<pre>${parameters}</pre>` : ""}
${body ? html`<p>Body${operation.requestBody?.required ? "" : " (optional)"}, ${types.join(" or ")}:</p><pre>${toTypeText(resolve(body, schemas))}</pre>` : ""}
${Object.entries(operation.responses ?? {})
  // The problem is the same for every operation, and stands once at the top.
  .filter(([status]) => status !== "default")
  .map(([status, { description, content }]) => {
    const schema = Object.values(content ?? {})[0]?.schema;
    return html`<p><b>${status}</b> ${withCode(description ?? "")}</p>${schema ? html`<pre>${toTypeText(resolve(schema, schemas))}</pre>` : ""}`;
  })}</details>
`;
}

/** The schema that a reference names. References inside it stay: their schemas are further down the page. */
function resolve(schema: Json, schemas: Record<string, Json>): Json {
  return typeof schema.$ref === "string" ? (schemas[schema.$ref.replace(SCHEMAS, "")] ?? schema) : schema;
}

/** Text in which backticks mark code. */
function withCode(text: string) {
  return text.split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));
}

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
  if (Array.isArray(schema.prefixItems)) {
    return `[${(schema.prefixItems as Json[]).map((part) => toTypeText(part, indent)).join(", ")}]`;
  }
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
