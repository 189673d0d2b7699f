import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cutAt,
  findAdded,
  fromSeconds,
  isCovered,
  joinWatched,
  keepFirst,
  lengthOf,
  type Range,
  toSeconds,
  unionOf,
} from "./ranges.ts";

const MEDIA_MS = 60;

/** Ranges as clients send them: in any order, overlapping, some of them empty. */
const someRanges = fc.array(
  fc.tuple(fc.nat(MEDIA_MS), fc.nat(MEDIA_MS)).map(([a, b]): Range => [Math.min(a, b), Math.max(a, b)]),
  { maxLength: 12 },
);

/** Unions wide enough for gaps of more than 250 ms. */
const wideUnion = fc
  .array(
    fc.tuple(fc.nat(4000), fc.integer({ min: 1, max: 600 })).map(([from, length]): Range => [from, from + length]),
    { maxLength: 8 },
  )
  .map(unionOf);

function millisecondsOf(ranges: readonly Range[]): number[] {
  return Array.from({ length: MEDIA_MS }, (_, at) => at).filter((at) =>
    ranges.some(([from, to]) => from <= at && at < to),
  );
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

  it("leaves its input as it was", () => {
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

describe("isCovered", () => {
  it("finds a union covered exactly where it adds no millisecond", () => {
    fc.assert(
      fc.property(someRanges, someRanges, (a, b) => {
        const isSame = lengthOf(unionOf([...a, ...b])) === lengthOf(unionOf(a));
        expect(isCovered(unionOf(a), unionOf(b))).toBe(isSame);
      }),
    );
  });
});

describe("keepFirst and cutAt", () => {
  it("keeps the first milliseconds of the ranges in the order given, and no more than the maximum", () => {
    fc.assert(
      fc.property(someRanges, fc.double({ min: -5, max: 200, noNaN: true }), (ranges, maxMs) => {
        const inOrder = (list: readonly Range[]) =>
          list.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
        expect(inOrder(keepFirst(ranges, maxMs))).toEqual(inOrder(ranges).slice(0, Math.max(0, Math.floor(maxMs))));
      }),
    );
  });

  it("leaves nothing past the end", () => {
    expect(
      cutAt(
        [
          [0, 10],
          [20, 30],
          [40, 50],
        ],
        25,
      ),
    ).toEqual([
      [0, 10],
      [20, 25],
    ]);
    expect(cutAt([[30, 40]], 30)).toEqual([]);
  });
});

/** Adds one range after another and closes gaps, however slowly. */
function joinSlowly(old: readonly Range[], played: readonly Range[]): Range[] {
  const joined: [number, number][] = [];
  for (const [from, to] of unionOf([...old, ...played])) {
    const last = joined.at(-1);
    if (last !== undefined && from - last[1] <= 250) last[1] = to;
    else joined.push([from, to]);
  }
  return joined;
}

describe("joinWatched", () => {
  it("makes the union with gaps of 250 ms closed, and null where nothing is new", () => {
    fc.assert(
      fc.property(wideUnion, wideUnion, (old, played) => {
        const union = joinWatched(old, played);
        if (union === null) {
          expect(unionOf([...old, ...played])).toEqual(old);
          return;
        }
        expect(union.watched).toEqual(joinSlowly(old, played));
        expect(union.watchedMs).toBe(lengthOf(union.watched));
      }),
    );
  });

  it("closes a gap of 250 ms and leaves one of 251 ms", () => {
    expect(joinWatched([[0, 1000]], [[1250, 2000]])?.watched).toEqual([[0, 2000]]);
    expect(joinWatched([[0, 1000]], [[1251, 2000]])?.watched).toHaveLength(2);
  });

  it("keeps the objects of ranges that do not change, so that a remembered row costs nothing new", () => {
    const old: Range[] = [
      [0, 10],
      [5000, 6000],
    ];
    expect(joinWatched(old, [[9000, 9500]])?.watched[1]).toBe(old[1]);
  });
});

describe("findAdded", () => {
  const addedBy = (old: readonly Range[], played: readonly Range[]) =>
    findAdded(old, joinWatched(old, played)?.watched ?? old);

  it("finds the range that turns the old union into the joined one, where it is only one", () => {
    fc.assert(
      fc.property(wideUnion, wideUnion, (old, played) => {
        const added = addedBy(old, played);
        if (added !== null) expect(unionOf([...old, added])).toEqual(joinWatched(old, played)?.watched);
      }),
    );
    expect(addedBy([[0, 10]], [[10, 20]])).toEqual([0, 20]);
    expect(addedBy([], [[10, 20]])).toEqual([10, 20]);
    const old: Range[] = [
      [0, 10],
      [1000, 2000],
      [5000, 6000],
    ];
    expect(addedBy(old, [[100, 900]])).toEqual([0, 2000]);
  });

  it("finds none where several ranges are new", () => {
    const played: Range[] = [
      [1000, 2000],
      [5000, 6000],
    ];
    expect(addedBy([[0, 10]], played)).toBeNull();
  });
});

describe("toSeconds and fromSeconds", () => {
  it("give back every millisecond that the wire can carry", () => {
    const bound = fc.nat(2_147_483_000);
    fc.assert(
      fc.property(fc.array(fc.tuple(bound, bound)), (ranges) => {
        expect(fromSeconds(JSON.parse(JSON.stringify(toSeconds(ranges))))).toEqual(ranges);
      }),
    );
  });
});
