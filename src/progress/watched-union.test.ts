import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Range, toMultirange, unionOf } from "./watched-ranges.ts";
import { cutAt, joinWatched, parseMultirange } from "./watched-union.ts";

const ranges = fc
  .array(
    fc.tuple(fc.nat(4000), fc.integer({ min: 1, max: 600 })).map(([from, length]): Range => [from, from + length]),
    {
      maxLength: 8,
    },
  )
  .map(unionOf);

/** By adding one range after another and closing gaps, however slowly. */
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
  it("makes the union with gaps of 250 ms closed, and nothing where nothing is new", () => {
    fc.assert(
      fc.property(ranges, ranges, (old, played) => {
        const union = joinWatched(old, played);
        if (union === null) {
          expect(unionOf([...old, ...played])).toEqual(old);
          return;
        }
        expect(union.watched).toEqual(joinSlowly(old, played));
        expect(union.watchedMs).toBe(union.watched.reduce((sum, [from, to]) => sum + to - from, 0));
      }),
    );
  });

  it("tells the one range that makes the old ones what they become", () => {
    fc.assert(
      fc.property(ranges, ranges, (old, played) => {
        const union = joinWatched(old, played);
        if (union === null || union.added === null) return;
        expect(unionOf([...old, union.added])).toEqual(union.watched);
      }),
    );
  });

  it("tells it for whoever watches on, and for whoever closes a gap", () => {
    expect(joinWatched([[0, 10]], [[10, 20]])?.added).toEqual([0, 20]);
    expect(joinWatched([], [[10, 20]])?.added).toEqual([10, 20]);
    expect(
      joinWatched(
        [
          [0, 10],
          [1000, 2000],
          [5000, 6000],
        ],
        [[100, 900]],
      )?.added,
    ).toEqual([0, 2000]);
  });
});

describe("cutAt", () => {
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

describe("parseMultirange", () => {
  it("reads what was written", () => {
    fc.assert(
      fc.property(ranges, (given) => {
        expect(parseMultirange(toMultirange(given))).toEqual(given);
      }),
    );
  });

  it("reads ranges without an end, which only a hand can write", () => {
    expect(parseMultirange("{(,5),[7,)}")).toEqual([
      [Number.NEGATIVE_INFINITY, 5],
      [7, Number.POSITIVE_INFINITY],
    ]);
  });
});
