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
  const sorted = ranges.filter(([from, to]) => from < to).sort((a, b) => a[0] - b[0]);
  const union: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = union.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else union.push([from, to]);
  }
  return union;
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
  /** The only range that the old list did not have; null where several ranges are new. */
  added: Range | null;
}

/**
 * Adds the played ranges to the watched ones, and closes gaps of at most `CLOSED_GAP_MS`. Both lists are as `unionOf`
 * leaves them. Ranges that do not change stay the same objects.
 * @returns null where all of it was watched before: then the watched ranges stay as they are.
 */
export function joinWatched(old: readonly Range[], played: readonly Range[]): WatchedUnion | null {
  if (isCovered(old, played)) return null;
  const watched: Range[] = [];
  let watchedMs = 0;
  let added: Range | null = null;
  let addedCount = 0;
  let o = 0;
  let p = 0;
  while (o < old.length || p < played.length) {
    const isOld = isNextOld(old[o], played[p]);
    const first = (isOld ? old[o++] : played[p++]) as Range;
    let to = first[1];
    for (;;) {
      const following = isNextOld(old[o], played[p]) ? old[o] : played[p];
      if (following === undefined || following[0] - to > CLOSED_GAP_MS) break;
      to = Math.max(to, following[1]);
      if (following === old[o]) o++;
      else p++;
    }
    const isUnchanged = isOld && to === first[1];
    const range: Range = isUnchanged ? first : [first[0], to];
    if (!isUnchanged) {
      added = range;
      addedCount++;
    }
    watched.push(range);
    watchedMs += to - first[0];
  }
  return { watched, watchedMs, added: addedCount === 1 ? added : null };
}

function isNextOld(old: Range | undefined, played: Range | undefined): boolean {
  return old !== undefined && (played === undefined || old[0] <= played[0]);
}

/** Whether the union `covering` holds every part of `ranges`. */
export function isCovered(covering: readonly Range[], ranges: readonly Range[]): boolean {
  return ranges.every((range) => isWithin(covering, range));
}

function isWithin(ranges: readonly Range[], [from, to]: Range): boolean {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const range = ranges[middle] as Range;
    if (from < range[0]) high = middle - 1;
    else if (from >= range[1]) low = middle + 1;
    else return to <= range[1];
  }
  return false;
}

/** Whether two unions have some part in common. Ranges that touch do not overlap. */
export function isOverlapping(a: readonly Range[], b: readonly Range[]): boolean {
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const [fromA, toA] = a[i] as Range;
    const [fromB, toB] = b[j] as Range;
    if (Math.max(fromA, fromB) < Math.min(toA, toB)) return true;
    if (toA < toB) i++;
    else j++;
  }
  return false;
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
