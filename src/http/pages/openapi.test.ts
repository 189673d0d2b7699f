import SwaggerParser from "@apidevtools/swagger-parser";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { beforeAll, describe, expect, it } from "vitest";
import { ExampleCheck, findBareFields, toPointerPart } from "../../../test/helpers/described-document.ts";
import { createApi } from "../../../test/helpers/http-api.ts";
import type { Accounts } from "../../auth/accounts.ts";

type Json = Record<string, unknown>;

interface Operation {
  operationId?: string;
  summary?: string;
  description?: string;
  security?: unknown[];
  tags?: string[];
  parameters?: { name: string; description?: string; schema: Json }[];
  requestBody?: { content: Record<string, { schema: Json; example?: unknown }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: Json; example?: unknown }> }>;
}

let document: { paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Json> } };
let operations: { name: string; pointer: string; operation: Operation }[];

beforeAll(async () => {
  document = (await createApi({ config: { demo: true }, accounts: {} as Accounts }).call("/openapi.json")).body;
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method} ${path}`,
      pointer: `#/paths/${toPointerPart(path)}/${method}`,
      operation,
    })),
  );
});

/** Every schema that stands outside the named ones: of parameters and bodies. */
function* unnamedSchemas() {
  for (const { pointer, operation } of operations) {
    for (const [i, { schema }] of (operation.parameters ?? []).entries())
      yield { schema, pointer: `${pointer}/parameters/${i}/schema` };
    for (const { media, pointer: at } of bodiesOf(operation, pointer))
      yield { schema: media.schema, pointer: `${at}/schema` };
  }
}

function* bodiesOf({ requestBody, responses }: Operation, pointer: string) {
  const bodies = [
    ["requestBody", requestBody] as const,
    ...Object.entries(responses).map(([status, body]) => [`responses/${status}`, body] as const),
  ];
  for (const [place, body] of bodies) {
    for (const [type, media] of Object.entries(body?.content ?? {}))
      yield { media, pointer: `${pointer}/${place}/content/${toPointerPart(type)}` };
  }
}

function* allSchemas() {
  for (const [name, schema] of Object.entries(document.components.schemas))
    yield { schema, pointer: `#/components/schemas/${name}` };
  yield* unnamedSchemas();
}

describe("the OpenAPI document", () => {
  it("is valid OpenAPI 3.1, as Swagger's parser reads it", async () => {
    await expect(SwaggerParser.validate(structuredClone(document) as never)).resolves.toBeDefined();
  });

  it("has nothing that Redocly's recommended rules remark, examples included", async () => {
    const config = await createConfig({
      extends: ["recommended"],
      rules: {
        "no-invalid-schema-examples": "error",
        "no-invalid-media-type-examples": "error",
        "no-invalid-parameter-examples": "error",
      },
    });
    const problems = await lintFromString({ source: JSON.stringify(document), absoluteRef: "openapi.json", config });
    expect(problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`)).toEqual(
      [],
    );
  });

  it("names, explains and places every operation, each under an id of its own", () => {
    const incomplete = operations.filter(
      ({ operation: { operationId, summary, description, tags, security } }) =>
        !operationId || !summary || !description || tags?.length !== 1 || security === undefined,
    );
    expect(incomplete.map(({ name }) => name)).toEqual([]);
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length);
    expect(operations.every(({ operation }) => /^[a-z]\w+$/.test(operation.operationId as string))).toBe(true);
  });

  it("says which routes everybody may call", () => {
    const open = operations
      .filter(({ operation }) => operation.security?.length === 0)
      .map(({ operation }) => operation.operationId);
    expect(open.sort()).toEqual(["getLiveness", "getMetrics", "getReadiness", "register", "signIn", "signInToDemo"]);
  });

  it("describes every field and parameter, and has an example of each", () => {
    const bare = [...allSchemas()].flatMap(({ schema, pointer }) => findBareFields(document as never, schema, pointer));
    for (const { pointer, operation } of operations) {
      for (const { name, description, schema } of operation.parameters ?? [])
        if (!description || schema.examples === undefined) bare.push(`${pointer}, parameter ${name}`);
    }
    expect(bare).toEqual([]);
    const namesWithout = Object.entries(document.components.schemas).filter(([, schema]) => !schema.description);
    expect(namesWithout.map(([name]) => name)).toEqual([]);
  });

  it("has an example of every body", () => {
    const without = operations.flatMap(({ pointer, operation }) =>
      [...bodiesOf(operation, pointer)].filter(({ media }) => media.example === undefined).map((body) => body.pointer),
    );
    expect(without).toEqual([]);
  });

  it("has no example that its own schema refuses", () => {
    const check = new ExampleCheck(document as never, "2020-12");
    const refusals = [...allSchemas()].flatMap(({ schema, pointer }) => check.refusalsBelow(schema, pointer));
    for (const { pointer, operation } of operations) {
      for (const { media, pointer: at } of bodiesOf(operation, pointer))
        refusals.push(...[check.refusal(`${at}/schema`, media.example)].filter((refusal) => refusal !== null));
    }
    expect(refusals).toEqual([]);
  });
});
