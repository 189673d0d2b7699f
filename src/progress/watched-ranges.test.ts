import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutTo, lengthOf, parseWatchedSeconds, type Range, toMultirange, unionOf } from "./watched-ranges.ts";

const MEDIA_MS = 60;

/** Ranges as clients send them: in any order, overlapping, some empty. */
const someRanges = fc.array(
  fc.tuple(fc.nat(MEDIA_MS), fc.nat(MEDIA_MS)).map(([a, b]): Range => [Math.min(a, b), Math.max(a, b)]),
  { maxLength: 12 },
);

/** The slow truth: every millisecond that is in one of the ranges. */
function millisecondsOf(ranges: readonly Range[]): number[] {
  const all = Array.from({ length: MEDIA_MS }, (_, at) => at);
  return all.filter((at) => ranges.some(([from, to]) => from <= at && at < to));
}

describe("unionOf", () => {
  it("holds exactly the milliseconds of its ranges, sorted and apart", () => {
    fc.assert(
      fc.property(someRanges, (ranges) => {
        const union = unionOf(ranges);
        expect(millisecondsOf(union)).toEqual(millisecondsOf(ranges));
        expect(lengthOf(union)).toBe(millisecondsOf(ranges).length);
        for (const [i, [from, to]] of union.entries()) {
          expect(from).toBeLessThan(to);
          expect(from).toBeGreaterThan(union[i - 1]?.[1] ?? -1);
        }
      }),
    );
  });

  it("is the same in every order and grouping, and changes nothing the second time", () => {
    fc.assert(
      fc.property(someRanges, someRanges, someRanges, (a, b, c) => {
        const union = unionOf([...a, ...b, ...c]);
        expect(unionOf([...c, ...a, ...b].reverse())).toEqual(union);
        expect(unionOf([...unionOf([...a, ...b]), ...c])).toEqual(union);
        expect(unionOf([...a, ...unionOf([...b, ...c])])).toEqual(union);
        expect(unionOf([...union, ...union])).toEqual(union);
      }),
    );
  });

  it("leaves what it is given as it was", () => {
    const ranges: Range[] = [
      [5, 9],
      [0, 6],
    ];
    expect(unionOf(ranges)).toEqual([[0, 9]]);
    expect(ranges).toEqual([
      [5, 9],
      [0, 6],
    ]);
  });
});

describe("cutTo", () => {
  it("keeps the first milliseconds of the ranges as they are given, and no more than the budget", () => {
    fc.assert(
      fc.property(someRanges, fc.double({ min: -5, max: 200, noNaN: true }), (ranges, budgetMs) => {
        const inOrder = (list: readonly Range[]) =>
          list.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
        const kept = cutTo(ranges, budgetMs);
        expect(inOrder(kept)).toEqual(inOrder(ranges).slice(0, Math.max(0, Math.floor(budgetMs))));
      }),
    );
  });
});

describe("the text of a multirange", () => {
  it("reads back as the seconds that were written", () => {
    fc.assert(
      fc.property(someRanges, (ranges) => {
        const union = unionOf(ranges);
        expect(parseWatchedSeconds(toMultirange(union))).toEqual(union.map(([from, to]) => [from / 1000, to / 1000]));
      }),
    );
  });
});
