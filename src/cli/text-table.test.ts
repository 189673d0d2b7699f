import { describe, expect, it } from "vitest";
import { toTable } from "./text-table.ts";

describe("a table", () => {
  it("aligns its columns under their headings", () => {
    expect(
      toTable(
        ["id", "title", "status"],
        [
          ["1", "A talk", "live"],
          ["22", "Größe 𝒙", "ready"],
          ["3", "", ""],
        ],
      ),
    ).toEqual(["id  title    status", "1   A talk   live", "22  Größe 𝒙  ready", "3"]);
  });

  it("replaces every character that a terminal would obey", () => {
    const [, line] = toTable(["title"], [["a\u001b[2Jb\r\nc\u2028d\u202ee\u0007"]]);
    expect(line).toBe("a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}");
  });

  it("shortens long cells", () => {
    const [, line] = toTable(["title"], [["x".repeat(500)]]);
    expect(line).toBe(`${"x".repeat(47)}…`);
  });
});
