import type { Range } from "../protocol/ranges.ts";

/*
 * The text of PostgreSQL's `int4multirange`. PostgreSQL writes it in one form only: `{[from,to),…}`.
 */

export function toMultirange(ranges: readonly Range[]): string {
  let text = "{";
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i] as Range;
    text += `${i === 0 ? "" : ","}[${range[0]},${range[1]})`;
  }
  return `${text}}`;
}

export function parseMultirange(text: string): Range[] {
  const ranges: Range[] = [];
  for (let at = 1; at < text.length - 1; ) {
    const comma = text.indexOf(",", at);
    const end = text.indexOf(")", comma);
    ranges.push([toBound(text.slice(at + 1, comma), -Infinity), toBound(text.slice(comma + 1, end), Infinity)]);
    at = end + 2;
  }
  return ranges;
}

/** Only a row that somebody wrote by hand has a range without an end. */
function toBound(text: string, open: number): number {
  return text === "" ? open : Number(text);
}
