import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { AppError, ERRORS, toWireError } from "./errors.ts";

const page = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");
const rows = new Map(
  [...page.matchAll(/^\| +`(\w+)` +\| +(\d{3}) +\| +(.+?) +\| +(.+?) +\|$/gm)].map(
    ([, code, status, meaning, remedy]) => [
      code as string,
      { status: Number(status), meaning: meaning as string, remedy: remedy as string },
    ],
  ),
);

describe("docs/errors.md", () => {
  it.each(Object.entries(ERRORS))("states the status, the meaning and the remedy of %s", (code, { status }) => {
    expect(rows.get(code)?.status).toBe(status);
    expect(rows.get(code)?.meaning).toMatch(/\w{3}/);
    expect(rows.get(code)?.remedy).toMatch(/\w{3}/);
  });

  it("names only codes that exist", () => {
    const inFinerTable = [...page.matchAll(/^\| +\d{3} +\| +`(\w+)` +\|/gm)].map(([, code]) => code as string);
    const inExamples = [...page.matchAll(/"code": "(\w+)"|urn:playhead:error:(\w+)/g)].map(
      ([, a, b]) => (a ?? b) as string,
    );
    expect(inFinerTable.length).toBeGreaterThan(2);
    expect(inExamples.length).toBeGreaterThan(2);
    for (const code of [...rows.keys(), ...inFinerTable, ...inExamples]) expect(Object.keys(ERRORS)).toContain(code);
  });
});

describe("an error on the wire", () => {
  it("carries the code, the message, the wait in whole milliseconds and the issues of an AppError", () => {
    const error = new AppError("overloaded", "too many", { retryAfterMs: 12.3, issues: [{ path: "a", message: "b" }] });
    expect(toWireError(error)).toEqual({
      code: "overloaded",
      message: "too many",
      retryAfterMs: 13,
      issues: [{ path: "a", message: "b" }],
    });
  });

  it("shows nothing of a thrown value that is no AppError", () => {
    for (const thrown of [new Error("secret"), "secret", undefined, { message: "secret", code: "conflict" }]) {
      expect(toWireError(thrown)).toMatchObject({ code: "internal" });
      expect(JSON.stringify(toWireError(thrown))).not.toContain("secret");
    }
  });
});
