/*
 * Ranges of the media in whole, half-open milliseconds: [from, to). A list is sorted and its ranges neither touch nor
 * overlap. Gaps are closed where a row's own ranges are joined (watched-union.ts), so that the rule is in one place.
 */

export type Range = readonly [fromMs: number, toMs: number];

/** Sorts and joins what overlaps or touches; empty ranges fall away. */
export function unionOf(ranges: readonly Range[]): Range[] {
  const sorted = ranges.filter(([from, to]) => from < to).sort((a, b) => a[0] - b[0]);
  const union: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = union.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else union.push([from, to]);
  }
  return union;
}

/** The sum of the lengths in ms; what is given twice counts twice. */
export function lengthOf(ranges: readonly Range[]): number {
  let length = 0;
  for (const [from, to] of ranges) length += to - from;
  return length;
}

/** Keeps the first `budgetMs` of the ranges, in the order they are given. */
export function cutTo(ranges: readonly Range[], budgetMs: number): Range[] {
  const kept: Range[] = [];
  let left = Math.floor(budgetMs);
  for (const [from, to] of ranges) {
    if (left <= 0) break;
    const end = Math.min(to, from + left);
    kept.push([from, end]);
    left -= end - from;
  }
  return kept;
}

/** The text of a PostgreSQL `int4multirange`. */
export function toMultirange(ranges: readonly Range[]): string {
  let text = "{";
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i] as Range;
    text += `${i === 0 ? "" : ","}[${range[0]},${range[1]})`;
  }
  return `${text}}`;
}

/** Reads the text of an `int4multirange` as seconds. PostgreSQL writes it canonically: `{[from,to),…}`. */
export function parseWatchedSeconds(multirange: string): [number, number][] {
  if (multirange === "{}") return [];
  return multirange
    .slice(2, -2)
    .split("),[")
    .map((range) => {
      const comma = range.indexOf(",");
      return [Number(range.slice(0, comma)) / 1000, Number(range.slice(comma + 1)) / 1000];
    });
}
