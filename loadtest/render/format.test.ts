import { describe, expect, it } from "vitest";
import { formatCell, formatNumber, formatTick, isNumericColumn } from "./format.ts";

describe("formatNumber", () => {
  it.each([
    [0, "0"],
    [7, "7"],
    [20_000, "20,000"],
    [1234.5678, "1,235"],
    [99.96, "100"],
    [12.34, "12.3"],
    [9.996, "10.0"],
    [1.234, "1.23"],
    [0.1234, "0.123"],
    [0.00012, "0.00012"],
    [-0.5, "-0.500"],
    [Number.NaN, "–"],
    [Number.POSITIVE_INFINITY, "–"],
  ])("shows %d as %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });
});

it("leaves a cell empty where nothing is known", () => {
  expect(formatCell(null)).toBe("");
  expect(formatCell(undefined)).toBe("");
  expect(formatCell("≥ 4 × soketi")).toBe("≥ 4 × soketi");
});

it("shortens the numbers of an axis", () => {
  expect([0.05, 500, 2000, 20_000, 1_500_000].map(formatTick)).toEqual(["0.05", "500", "2,000", "20k", "1.5M"]);
});

it("takes a column of figures and gaps for numbers, one with words not", () => {
  expect(isNumericColumn([1, null, "3 %", "1.2 ×"])).toBe(true);
  expect(isNumericColumn([1, "none"])).toBe(false);
  expect(isNumericColumn([null, ""])).toBe(false);
});
