import type { Range } from "./watched-ranges.ts";

/*
 * What a row's watched ranges become when more is played. Ranges are sorted and do not touch.
 */

/** A wider gap between two played ranges stays a gap. A wider bridge would be a way to cheat. */
export const CLOSED_GAP_MS = 250;

export interface WatchedUnion {
  watched: readonly Range[];
  watchedMs: number;
  /** The only range that is not as it was, all others being there already; null where that does not say it. */
  added: Range | null;
}

/** The union with gaps closed; null where nothing is new, and the ranges stay as they are. */
export function joinWatched(old: readonly Range[], played: readonly Range[]): WatchedUnion | null {
  if (played.every((range) => isWithin(old, range))) return null;
  const watched: Range[] = [];
  const added: Range[] = [];
  let watchedMs = 0;
  let o = 0;
  let p = 0;
  for (;;) {
    const nextOld = old[o];
    const nextPlayed = played[p];
    const isOld = nextOld !== undefined && (nextPlayed === undefined || nextOld[0] <= nextPlayed[0]);
    const first = isOld ? nextOld : nextPlayed;
    if (first === undefined) break;
    if (isOld) o += 1;
    else p += 1;
    let to = first[1];
    for (;;) {
      const followingOld = old[o];
      const followingPlayed = played[p];
      if (followingOld !== undefined && followingOld[0] - to <= CLOSED_GAP_MS) {
        to = Math.max(to, followingOld[1]);
        o += 1;
      } else if (followingPlayed !== undefined && followingPlayed[0] - to <= CLOSED_GAP_MS) {
        to = Math.max(to, followingPlayed[1]);
        p += 1;
      } else break;
    }
    const range = isOld && to === first[1] ? first : ([first[0], to] as const);
    if (range !== nextOld) added.push(range);
    watched.push(range);
    watchedMs += to - first[0];
  }
  return { watched, watchedMs, added: added.length === 1 ? (added[0] as Range) : null };
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

/** Cut to a file's length. */
export function cutAt(ranges: readonly Range[], endMs: number): readonly Range[] {
  const last = ranges.at(-1);
  if (last === undefined || last[1] <= endMs) return ranges;
  return ranges.filter(([from]) => from < endMs).map(([from, to]): Range => [from, Math.min(to, endMs)]);
}

/** Reads the text of an `int4multirange`, which PostgreSQL writes canonically: `{[from,to),…}`. */
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

/** Only rows written by hand have ranges without an end. */
function toBound(text: string, open: number): number {
  return text === "" ? open : Number(text);
}
