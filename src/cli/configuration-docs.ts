import { z } from "zod";
import { VARIABLES } from "../config.ts";

/*
 * The page docs/configuration.md, made from the schema that reads the environment. `npm run docs:configuration` writes
 * the page, and a test compares it with the schema.
 */

const HEAD = `# Configuration

Playhead is configured by environment variables, which it reads once at the start. It also reads a file \`.env\` in the
working directory; a variable of the environment overrides the file. No variable has to be set. An empty variable counts
as not set. If variables are wrong, Playhead lists all of them, each with the value it got and the values it takes, and
exits with 1.

This page is made from \`src/config.ts\` by \`npm run docs:configuration\`.

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

/** Describes the values that the variable takes, as far as the schema tells. */
function describeInput(schema: z.ZodType): string {
  const { type, format, minimum, maximum, minLength, enum: choices, anyOf } = toInputSchema(schema);
  if (anyOf !== undefined) {
    return anyOf
      .map((one) => (one.const === undefined ? `${one.minimum} to ${one.maximum}` : `\`${one.const}\``))
      .join(", ");
  }
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
  // The schema's own default, if it has one: a parsed default may depend on the machine, as an absolute path does.
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
  /** A word, or a number. */
  anyOf?: { const?: string; minimum?: number; maximum?: number }[];
  default?: unknown;
}

function toInputSchema(schema: z.ZodType): InputSchema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as InputSchema;
}
