import { describe, expect, it } from "vitest";
import { slopeOf } from "./slope.ts";

describe("a slope", () => {
  it("of a line is the line's, without an error", () => {
    const { value, standardError } = slopeOf([0, 1, 2, 3].map((x) => [x, 5 - 2 * x]));
    expect(value).toBeCloseTo(-2);
    expect(standardError).toBeCloseTo(0);
  });

  it("of what scatters about a level is smaller than twice its error", () => {
    const { value, standardError } = slopeOf([3, 7, 2, 6, 4, 5, 7, 3].map((y, x) => [x, y]));
    expect(Math.abs(value)).toBeLessThan(2 * standardError);
  });

  it("of what rises and scatters is larger", () => {
    const { value, standardError } = slopeOf([3, 7, 2, 6, 4, 5, 7, 3].map((y, x) => [x, y + 3 * x]));
    expect(value).toBeGreaterThan(2 * standardError);
  });

  it("of one point there is none", () => {
    expect(slopeOf([[1, 1]])).toEqual({ value: Number.NaN, standardError: Number.NaN });
  });
});
