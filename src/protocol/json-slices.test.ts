import { describe, expect, it } from "vitest";
import { isLong, toJsonSlices } from "./json-slices.ts";

const list = (length: number) => Array.from({ length }, (_, i) => ({ id: i, text: `"\u2028${i}"`, none: undefined }));

describe("the JSON of a long value", () => {
  it.each([
    ["a list", list(501)],
    ["a list in an object", { ok: true, none: undefined, progress: { userId: "a", lessons: [], files: list(1234) } }],
    ["several lists", { a: list(600), b: null, c: list(1000), d: list(3) }],
  ])("is the same in slices as in one piece, for %s", async (_, value) => {
    expect(isLong(value)).toBe(true);
    expect((await toJsonSlices(value)).join("")).toBe(JSON.stringify(value));
  });

  it("is made while other work is done", async () => {
    let [turns, isMade] = [0, false];
    const count = () => {
      turns += 1;
      if (!isMade) setImmediate(count);
    };
    setImmediate(count);
    const slices = await toJsonSlices({ files: list(10_000) });
    isMade = true;
    expect(Math.max(...slices.map(({ length }) => length))).toBeLessThan(20_000);
    expect(turns).toBeGreaterThan(10);
  });

  it("is not needed for a value whose lists are short", () => {
    expect(isLong({ progress: { files: list(500) } })).toBe(false);
    expect(isLong({ ok: true, results: [] })).toBe(false);
  });
});
