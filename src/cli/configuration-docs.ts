import { z } from "zod";
import { VARIABLES } from "../config.ts";

/*
 * The page docs/configuration.md, made from the schema that reads the environment. Written by
 * `npm run docs:configuration`; a test holds the page to it.
 */

const HEAD = `# Configuration

Everything is set by environment variables, read once at the start; a file \`.env\` in the working directory is read as
well, and what the environment says comes before it. Nothing has to be set. An empty variable counts as not set. What
is wrong is listed at once, with what was given and what is wanted, and the process exits with 1.

Made from \`src/config.ts\` by \`npm run docs:configuration\`.

| Variable | Takes | Default | Purpose |
|---|---|---|---|
`;

/** The whole page, as Markdown. */
export function renderConfigurationPage(): string {
  const rows = Object.entries(VARIABLES).map(([name, schema]) => {
    const cells = [`\`${name}\``, describeInput(schema), describeDefault(schema), schema.description ?? ""];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return `${HEAD}${rows.join("\n")}\n`;
}

/** What may be written into the variable, as far as the schema says it. */
function describeInput(schema: z.ZodType): string {
  const { type, format, minimum, maximum, minLength, enum: choices } = toInputSchema(schema);
  if (choices !== undefined) {
    return choices.map((choice) => `\`${choice}\``).join(", ");
  }
  if (type === "integer") {
    return `${minimum} to ${maximum}`;
  }
  if (format === "uri") {
    return "a URL";
  }
  if (Array.isArray(parseNothing(schema))) {
    return "a list, comma-separated";
  }
  return minLength !== undefined && minLength > 1 ? `a text of at least ${minLength} characters` : "a text";
}

function describeDefault(schema: z.ZodType): string {
  // The schema's own default where it has one: what parsing makes of it may depend on the machine.
  const value = toInputSchema(schema).default ?? parseNothing(schema);
  const text = Array.isArray(value) ? value.join(",") : String(value ?? "");
  return text === "" ? "" : `\`${text}\``;
}

function parseNothing(schema: z.ZodType): unknown {
  return schema.safeParse(undefined).data;
}

interface InputSchema {
  type?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  enum?: string[];
  default?: unknown;
}

function toInputSchema(schema: z.ZodType): InputSchema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as InputSchema;
}
