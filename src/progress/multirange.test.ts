import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Range, unionOf } from "../protocol/ranges.ts";
import { parseMultirange, toMultirange } from "./multirange.ts";

describe("the text of a multirange", () => {
  it("reads back as the ranges that were written", () => {
    const range = fc.tuple(fc.nat(), fc.nat()).map(([a, b]): Range => [Math.min(a, b), Math.max(a, b)]);
    fc.assert(
      fc.property(fc.array(range).map(unionOf), (ranges) => {
        expect(parseMultirange(toMultirange(ranges))).toEqual(ranges);
      }),
    );
  });

  it("may hold ranges without an end, which only a person writes", () => {
    expect(parseMultirange("{(,5),[7,)}")).toEqual([
      [Number.NEGATIVE_INFINITY, 5],
      [7, Number.POSITIVE_INFINITY],
    ]);
  });
});
