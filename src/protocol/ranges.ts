/*
 * Ranges of the media, for the server and the client library alike: both compute what was watched by these functions,
 * and a brief ack relies on it that they agree. Pure, and without imports, because browsers load this file.
 *
 * A range is half-open, `[from, to)`, in whole milliseconds. A list from `unionOf` is sorted, and its ranges neither
 * touch nor overlap.
 */

/** A half-open range of the media, `[from, to)`, in whole milliseconds. */
export type Range = readonly [fromMs: number, toMs: number];

/** A gap of at most this many milliseconds between two watched ranges is closed. A wider bridge would be a way to cheat. */
export const CLOSED_GAP_MS = 250;

/** The union: sorted, overlapping and touching ranges joined, empty ranges left out. Gaps stay open, however small. */
export function unionOf(ranges: readonly Range[]): Range[] {
  const union: Range[] = [];
  for (const range of [...ranges].sort((a, b) => a[0] - b[0])) if (range[0] < range[1]) append(union, range, 0);
  return union;
}

/** Adds a range that begins no earlier than those of the union. A range that stays as it is stays the same object. */
function append(union: Range[], range: Range, closedGapMs: number): void {
  const last = union.at(-1);
  if (!last || range[0] - last[1] > closedGapMs) union.push(range);
  else if (range[1] > last[1]) union[union.length - 1] = [last[0], range[1]];
}

/** The sum of the lengths in milliseconds. A part that is given twice counts twice. */
export function lengthOf(ranges: readonly Range[]): number {
  let length = 0;
  for (const [from, to] of ranges) length += to - from;
  return length;
}

/** Keeps the first `maxMs` milliseconds of the ranges, in the order in which they are given. */
export function keepFirst(ranges: readonly Range[], maxMs: number): Range[] {
  const kept: Range[] = [];
  let left = Math.floor(maxMs);
  for (const [from, to] of ranges) {
    if (left <= 0) break;
    const end = Math.min(to, from + left);
    kept.push([from, end]);
    left -= end - from;
  }
  return kept;
}

/** Removes from a union what lies past `endMs`. */
export function cutAt(ranges: readonly Range[], endMs: number): readonly Range[] {
  const last = ranges.at(-1);
  if (last === undefined || last[1] <= endMs) return ranges;
  return ranges.filter(([from]) => from < endMs).map(([from, to]): Range => [from, Math.min(to, endMs)]);
}

export interface WatchedUnion {
  watched: readonly Range[];
  watchedMs: number;
}

/** The length of a union between two places. */
export function lengthWithin(union: readonly Range[], fromMs: number, toMs: number): number {
  let length = 0;
  for (const [from, to] of union) length += Math.max(0, Math.min(to, toMs) - Math.max(from, fromMs));
  return length;
}

/** Closes gaps of at most `CLOSED_GAP_MS` between the ranges of a union. */
export function closeGaps(union: readonly Range[]): readonly Range[] {
  const closed: Range[] = [];
  for (const range of union) append(closed, range, CLOSED_GAP_MS);
  return closed;
}

/**
 * Closes gaps of at most `CLOSED_GAP_MS` at both ends: between 0 and the first range of the file, and between its last
 * range and the duration. Ranges past the duration stay.
 * @returns the same array where there is nothing to close
 */
export function closeEnds(union: readonly Range[], durationMs: number | null): readonly Range[] {
  const [first] = union;
  if (first === undefined) return union;
  let closed = union;
  if (first[0] > 0 && first[0] <= CLOSED_GAP_MS) closed = [[0, first[1]], ...union.slice(1)];
  if (durationMs === null) return closed;
  const end = closed.findLastIndex(([from]) => from < durationMs);
  const last = closed[end];
  if (last === undefined || last[1] >= durationMs || durationMs - last[1] > CLOSED_GAP_MS) return closed;
  const joined = closed.slice(0, end);
  for (const range of [[last[0], durationMs] as const, ...closed.slice(end + 1)]) append(joined, range, CLOSED_GAP_MS);
  return joined;
}

/** Leaves out the shortest range until `max` are left. Of ranges that are equally short the later goes first. */
export function giveUpShortest(union: readonly Range[], max: number): readonly Range[] {
  if (union.length <= max) return union;
  const byLength = union.map((range, i) => ({ i, length: range[1] - range[0] }));
  byLength.sort((a, b) => b.length - a.length || a.i - b.i);
  const kept = new Set(byLength.slice(0, max).map(({ i }) => i));
  return union.filter((_, i) => kept.has(i));
}

/**
 * Adds the played ranges to the watched ones, and closes gaps of at most `CLOSED_GAP_MS`. Both are unions.
 * @returns null where all of it was watched before: then the watched ranges stay as they are
 */
export function joinWatched(old: readonly Range[], played: readonly Range[]): WatchedUnion | null {
  if (isCovered(old, played)) return null;
  const watched: Range[] = [];
  for (let o = 0, p = 0; o < old.length || p < played.length; ) {
    const [nextOld, nextPlayed] = [old[o], played[p]];
    const isOld = nextOld && !(nextPlayed && nextPlayed[0] < nextOld[0]);
    append(watched, (isOld ? old[o++] : played[p++]) as Range, CLOSED_GAP_MS);
  }
  return { watched, watchedMs: lengthOf(watched) };
}

/** The only range of a joined union that the old one does not have; null where several are new. */
export function findAdded(old: readonly Range[], joined: readonly Range[]): Range | null {
  let o = 0;
  const added = joined.filter((range) => {
    while (o < old.length && (old[o] as Range)[0] < range[0]) o++;
    return old[o] !== range;
  });
  return added.length === 1 ? (added[0] as Range) : null;
}

/** Whether a union holds every part of the ranges. */
export function isCovered(union: readonly Range[], ranges: readonly Range[]): boolean {
  return ranges.every(([from, to]) => union.some((range) => range[0] <= from && to <= range[1]));
}

/** The watched share in percent, rounded down to hundredths, so that 100 means all of it. 0 while the duration is unknown. */
export function percentageOf(watchedMs: number, durationMs: number | null): number {
  return durationMs === null ? 0 : Math.min(100, Math.floor((watchedMs * 10_000) / durationMs) / 100);
}

/** Ranges as the wire has them, in seconds. */
export function toSeconds(ranges: readonly Range[]): [number, number][] {
  return ranges.map(([from, to]) => [from / 1000, to / 1000]);
}

/** Ranges of the wire in milliseconds, exactly as `toSeconds` was given them. */
export function fromSeconds(ranges: readonly (readonly [number, number])[]): Range[] {
  return ranges.map(([from, to]) => [toMs(from), toMs(to)]);
}

/** Seconds of the wire as whole milliseconds. */
export function toMs(seconds: number): number {
  return Math.round(seconds * 1000);
}
