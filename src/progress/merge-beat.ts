import type { FileFacts } from "../catalogue/catalogue.ts";
import {
  closeEnds,
  closeGaps,
  findAdded,
  giveUpShortest,
  joinWatched,
  lengthWithin,
  type Range,
} from "../protocol/ranges.ts";
import type { PendingBeat } from "./pending-beat.ts";
import { isSamePlace, type Place, placeIn, placeOf, type Times } from "./row-place.ts";

/*
 * Every rule of progress that needs the stored row: a row and a beat in, the next row out. Pure. The row may be outdated;
 * PostgreSQL writes the outcome only if the row still has the same version. Times are microseconds of the database's
 * clock since 1970, as precise as PostgreSQL keeps them.
 */

/** A row holds so many ranges. Past it, its shortest range is given up. */
export const MAX_FRAGMENTS = 128;
/** A beat that comes so long after the last one is logged as `resumed`. */
const RESUMED_AFTER_US = 5 * 60 * 1_000_000;

/** A row of user_progress. `mergeBeat` never changes it, but makes the next one. */
export interface StoredRow extends Place {
  version: number;
  lessonId: string;
  watched: readonly Range[];
  watchedMs: number;
  watchTimeMs: number;
  reportedBp: number;
  completed: boolean;
  completionSource: string | null;
  epoch: number;
  resetAtUs: number | null;
  writerSession: string | null;
  writerSeq: number | null;
  beatAtUs: number | null;
  /** With `assumedMs` and `counted`: the catalogue's facts that the row's share in the sums was computed with. */
  durationMs: number | null;
  assumedMs: number | null;
  counted: boolean;
}

/** Where a file begins of which the user has no row: after a reset of its course, or after its row was deleted. */
export interface ResetMark {
  epoch: number;
  resetAtUs: number | null;
  version: number;
}

export type Activity = "started" | "resumed" | "completed";

/** A row before and after a beat. `next` gets its version after COMMIT; until then it has that of `old`, or 0. */
export interface RowChange {
  userId: string;
  file: FileFacts;
  old: StoredRow | null;
  next: StoredRow;
  /** The only range that is new in the row. Null if none is new, or if all ranges must be written (`hasOtherRanges`). */
  added: Range | null;
  hasOtherRanges: boolean;
  /** What the row holds more than the union of its old ranges and the played ones: a closed gap at one of the ends. */
  hasClosedEnd: boolean;
  /** Whether the row gave up a range. */
  hasGivenUp: boolean;
  activities: readonly Activity[];
}

export type Merged =
  | { type: "changed"; change: RowChange }
  /**
   * The beat changes nothing. `dropped`: it was made before a reset; then the row may be one that is not stored, as a mark
   * has it. `hasGivenUp`: the row gave up what the beat played.
   */
  | { type: "kept"; row: StoredRow; dropped: boolean; hasGivenUp: boolean }
  /** Some of the merged beats were observed before a reset and some after it: the caller writes them one by one. */
  | { type: "straddles" };

/** When the newest (`atUs`) and the oldest of the merged beats were observed. */
export interface Observed extends Times {
  oldestUs: number;
}

/** @param mark where the row begins if there is none; a row that is there goes on whatever the mark says */
export function mergeBeat(
  old: StoredRow | null,
  file: FileFacts,
  beat: PendingBeat,
  observed: Observed,
  mark: ResetMark | null = null,
): Merged {
  const { epoch, resetAtUs } = old ?? mark ?? NO_MARK;
  if (isOutdated({ epoch, resetAtUs }, beat, observed.atUs)) {
    return { type: "kept", row: old ?? rowOfMark(mark ?? NO_MARK, file), dropped: true, hasGivenUp: false };
  }
  if (beat.epoch === null && resetAtUs !== null && observed.oldestUs <= resetAtUs) return { type: "straddles" };

  const place = placeOf(old, beat, observed);
  const hasMoved = old === null || (place !== null && !isSamePlace(place, old));
  const joined = joinPlayed(old, beat.played, file.durationMs);
  const { watched, watchedMs } = joined;
  const growthMs = Math.max(0, watchedMs - (old?.watchedMs ?? 0));
  const watchTimeMs = (old?.watchTimeMs ?? 0) + earnedMs(old, beat, growthMs);
  const isOverThreshold = reachesThreshold(watched, watchedMs, file);
  const completed = old?.completed === true || beat.reportedDone || isOverThreshold;
  const reportedBp = Math.max(old?.reportedBp ?? 0, beat.reportedBp);
  if (
    old !== null &&
    !hasMoved &&
    watched === old.watched &&
    watchedMs === old.watchedMs &&
    !isStale(old, file) &&
    watchTimeMs === old.watchTimeMs &&
    completed === old.completed &&
    reportedBp === old.reportedBp
  ) {
    // Not worth a write: the number is remembered in the process, against an earlier beat that arrives later.
    const row = place === null ? old : { ...old, positionSeq: place.positionSeq };
    return { type: "kept", row, dropped: false, hasGivenUp: joined.hasGivenUp };
  }
  const next: StoredRow = {
    version: old === null ? 0 : old.version,
    lessonId: file.lessonId,
    ...(place ?? placeIn(old as StoredRow)),
    watched,
    watchedMs,
    watchTimeMs,
    reportedBp,
    completed,
    completionSource: old?.completionSource ?? sourceOf(completed, isOverThreshold),
    epoch,
    resetAtUs,
    writerSession: beat.lastSession,
    writerSeq:
      old !== null && old.writerSession === beat.lastSession
        ? Math.max(old.writerSeq ?? beat.lastSeq, beat.lastSeq)
        : beat.lastSeq,
    beatAtUs: observed.nowUs,
    durationMs: file.durationMs,
    assumedMs: file.assumedMs,
    counted: file.counted,
  };
  const hasSameRanges = watched === (old?.watched ?? NO_RANGES);
  const added = hasSameRanges || joined.hasGivenUp ? null : findAdded(old?.watched ?? NO_RANGES, watched);
  return {
    type: "changed",
    change: {
      userId: beat.userId,
      file,
      old,
      next,
      added,
      hasOtherRanges: !hasSameRanges && added === null,
      hasClosedEnd: joined.hasClosedEnd,
      hasGivenUp: joined.hasGivenUp,
      activities: activitiesOf(old, next),
    },
  };
}

/** A beat with an epoch is judged by the epoch alone: it was made after the reset, whatever the clocks say. */
function isOutdated(row: Pick<StoredRow, "epoch" | "resetAtUs">, beat: PendingBeat, observedUs: number): boolean {
  if (beat.epoch !== null) return beat.epoch < row.epoch;
  return row.resetAtUs !== null && observedUs <= row.resetAtUs;
}

const NO_MARK: ResetMark = { epoch: 0, resetAtUs: null, version: 0 };

/** A file without a row, as it is read. */
function rowOfMark(mark: ResetMark, { lessonId, durationMs, assumedMs, counted }: FileFacts): StoredRow {
  return {
    ...mark,
    ...{ lessonId, durationMs, assumedMs, counted },
    positionMs: 0,
    watched: NO_RANGES,
    watchedMs: 0,
    watchTimeMs: 0,
    reportedBp: 0,
    completed: false,
    completionSource: null,
    lastWatchedUs: null,
    positionSession: null,
    positionSeq: null,
    writerSession: null,
    writerSeq: null,
    beatAtUs: null,
  };
}

interface RowRanges {
  /** The same array as before where nothing changed. */
  watched: readonly Range[];
  /** What lies past the duration is kept and does not count. */
  watchedMs: number;
  hasClosedEnd: boolean;
  hasGivenUp: boolean;
}

const NO_RANGES: readonly Range[] = [];

/** The ranges of the row after the beat. */
function joinPlayed(row: StoredRow | null, played: readonly Range[], durationMs: number | null): RowRanges {
  const old = row?.watched ?? NO_RANGES;
  const union = joinWatched(old, played);
  if (union === null && (row === null || row.durationMs === durationMs)) {
    return { watched: old, watchedMs: row?.watchedMs ?? 0, hasClosedEnd: false, hasGivenUp: false };
  }
  const joined = union?.watched ?? closeGaps(old);
  const closed = closeEnds(joined, durationMs);
  const kept = giveUpShortest(closed, MAX_FRAGMENTS);
  const watched = isSame(kept, old) ? old : kept;
  return {
    watched,
    watchedMs: lengthWithin(watched, 0, durationMs ?? Number.POSITIVE_INFINITY),
    hasClosedEnd: closed !== joined,
    hasGivenUp: kept !== closed,
  };
}

function isSame(a: readonly Range[], b: readonly Range[]): boolean {
  return a.length === b.length && a.every(([from, to], i) => b[i]?.[0] === from && b[i]?.[1] === to);
}

/** Only what was watched between the start and the end boundary counts. */
function reachesThreshold(watched: readonly Range[], watchedMs: number, file: FileFacts): boolean {
  const { completeAtMs, startMs, endMs, durationMs } = file;
  if (completeAtMs === null || watchedMs < completeAtMs) return false;
  if (startMs === 0 && endMs === durationMs) return true;
  return lengthWithin(watched, startMs, endMs ?? Number.POSITIVE_INFINITY) >= completeAtMs;
}

/** Watch time grows once for each (session, seq). For beats without a number it grows as much as the union. */
function earnedMs(row: StoredRow | null, { claims, position }: PendingBeat, growthMs: number): number {
  if (claims === null || position.seq < 0) return growthMs;
  const { writerSession = null, writerSeq = null } = row ?? {};
  let earned = claims.moreMs;
  for (let i = 0; i < claims.seqs.length; i++) {
    const isOfAnother = writerSession !== claims.session;
    if (isOfAnother || writerSeq === null || (claims.seqs[i] as number) > writerSeq) earned += claims.lengthsMs[i] ?? 0;
  }
  return earned;
}

/** Whether the catalogue has changed since the row's share in the sums was computed. */
export function isStale(row: StoredRow, file: FileFacts): boolean {
  return (
    row.durationMs !== file.durationMs ||
    row.assumedMs !== file.assumedMs ||
    row.counted !== file.counted ||
    row.lessonId !== file.lessonId
  );
}

function sourceOf(completed: boolean, isOverThreshold: boolean): string | null {
  if (isOverThreshold) return "auto";
  return completed ? "reported" : null;
}

const NO_ACTIVITY: readonly Activity[] = [];

function activitiesOf(old: StoredRow | null, next: StoredRow): readonly Activity[] {
  const isCompleted = next.completed && old?.completed !== true;
  const isResumed =
    old !== null && old.beatAtUs !== null && next.beatAtUs !== null && old.beatAtUs < next.beatAtUs - RESUMED_AFTER_US;
  if (old !== null && !isResumed && !isCompleted) return NO_ACTIVITY;
  const activities: Activity[] = [];
  if (old === null) activities.push("started");
  if (isResumed) activities.push("resumed");
  if (isCompleted) activities.push("completed");
  return activities;
}
