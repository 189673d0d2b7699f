import { describe, expect, it } from "vitest";
import { toTypeText } from "./type-text.ts";

describe("the text of a type", () => {
  it.each<[Record<string, unknown>, string]>([
    [{ type: "string" }, "string"],
    [{ type: ["number", "null"] }, "number | null"],
    [{ enum: ["a", "b"] }, '"a" | "b"'],
    [{ const: true }, "true"],
    [{ type: "array", items: { prefixItems: [{ type: "number" }, { type: "number" }] } }, "[number, number][]"],
    [{ type: "array", items: [{ type: "number" }, { type: "string" }] }, "[number, string]"],
    [{ type: "array", items: { anyOf: [{ type: "string" }, { type: "number" }] } }, "(string | number)[]"],
    [{ $ref: "#/components/schemas/User" }, "User"],
    [{ allOf: [{ $ref: "#/components/schemas/User" }, { type: "object" }] }, "User & object"],
    [{ type: "object", additionalProperties: { type: "number" } }, "{ [name]: number }"],
    [{}, "any"],
    [
      {
        type: "object",
        required: ["id"],
        properties: { id: { type: "string" }, tags: { type: "array", items: { type: "string" } } },
      },
      "{\n  id: string\n  tags?: string[]\n}",
    ],
  ])("writes the schema %j as a TypeScript type", (schema, text) => {
    expect(toTypeText(schema)).toBe(text);
  });
});
