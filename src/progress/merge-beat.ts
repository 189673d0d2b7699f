import type { FileFacts } from "../catalogue/catalogue.ts";
import { cutAt, findAdded, joinWatched, type Range, type WatchedUnion } from "../protocol/ranges.ts";
import { compareBytes, type PendingBeat } from "./pending-beat.ts";

/*
 * Every rule of progress that needs the stored row: a row and a beat in, the next row out. Pure. The row may be outdated;
 * PostgreSQL writes the outcome only if the row still has the same version. Times are microseconds of the database's
 * clock since 1970, as precise as PostgreSQL keeps them.
 */

/** A row holds so many ranges. Past it, a beat that does not lower their number earns nothing. */
export const MAX_FRAGMENTS = 128;
/** A beat that comes so long after the last one is logged as `resumed`. */
const RESUMED_AFTER_US = 5 * 60 * 1_000_000;

/** A row of user_progress. `mergeBeat` never changes it, but makes the next one. */
export interface StoredRow {
  version: number;
  lessonId: string;
  positionMs: number;
  watched: readonly Range[];
  watchedMs: number;
  watchTimeMs: number;
  reportedBp: number;
  completed: boolean;
  completionSource: string | null;
  epoch: number;
  resetAtUs: number | null;
  lastWatchedUs: number | null;
  positionSession: string | null;
  positionSeq: number | null;
  writerSession: string | null;
  writerSeq: number | null;
  beatAtUs: number | null;
  /** With `counted`: the catalogue's facts that the row's share in the sums was computed with. */
  durationMs: number | null;
  counted: boolean;
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
  activities: readonly Activity[];
}

export type Merged =
  | { type: "changed"; change: RowChange }
  /** The beat changes nothing. `dropped`: it was observed before a reset. */
  | { type: "kept"; row: StoredRow; dropped: boolean }
  /** Some of the merged beats were observed before a reset and some after it: the caller writes them one by one. */
  | { type: "straddles" };

/** When the newest and the oldest of the merged beats were observed. */
export interface Observed {
  atUs: number;
  oldestUs: number;
  /** The present time. */
  nowUs: number;
}

export function mergeBeat(old: StoredRow | null, file: FileFacts, beat: PendingBeat, observed: Observed): Merged {
  const resetAtUs = old?.resetAtUs ?? null;
  if (old !== null && isOutdated(old, beat, observed.atUs)) return { type: "kept", row: old, dropped: true };
  if (resetAtUs !== null && observed.oldestUs <= resetAtUs) return { type: "straddles" };

  const { position } = beat;
  const newer = old === null || isNewer(old, position, observed.atUs);
  const union = joinUnlessShattered(old, file.durationMs === null ? beat.played : cutAt(beat.played, file.durationMs));
  const watchedMs = union === null || union === "shattered" ? (old?.watchedMs ?? 0) : union.watchedMs;
  const growthMs = watchedMs - (old?.watchedMs ?? 0);
  const watchTimeMs = (old?.watchTimeMs ?? 0) + (union === "shattered" ? 0 : earnedMs(old, beat, growthMs));
  const isOverThreshold = file.completeAtMs !== null && watchedMs >= file.completeAtMs;
  const completed = old?.completed === true || beat.reportedDone || isOverThreshold;
  const reportedBp = Math.max(old?.reportedBp ?? 0, beat.reportedBp);
  if (
    old !== null &&
    !newer &&
    !isStale(old, file) &&
    watchedMs === old.watchedMs &&
    watchTimeMs === old.watchTimeMs &&
    completed === old.completed &&
    reportedBp === old.reportedBp
  ) {
    return { type: "kept", row: old, dropped: false };
  }
  const isJoined = union !== null && union !== "shattered";
  const next: StoredRow = {
    version: old === null ? 0 : old.version,
    lessonId: file.lessonId,
    positionMs: newer ? Math.min(position.positionMs, file.durationMs ?? Number.POSITIVE_INFINITY) : old.positionMs,
    watched: isJoined ? union.watched : (old?.watched ?? []),
    watchedMs,
    watchTimeMs,
    reportedBp,
    completed,
    completionSource: old?.completionSource ?? sourceOf(completed, isOverThreshold),
    epoch: old === null ? 0 : old.epoch,
    resetAtUs,
    lastWatchedUs: newer ? observed.atUs : old.lastWatchedUs,
    positionSession: newer ? position.session : old.positionSession,
    positionSeq: newer ? position.seq : old.positionSeq,
    writerSession: beat.lastSession,
    writerSeq:
      old !== null && old.writerSession === beat.lastSession
        ? Math.max(old.writerSeq ?? beat.lastSeq, beat.lastSeq)
        : beat.lastSeq,
    beatAtUs: observed.nowUs,
    durationMs: file.durationMs,
    counted: file.counted,
  };
  const added = isJoined ? findAdded(old?.watched ?? [], union.watched) : null;
  return {
    type: "changed",
    change: {
      userId: beat.userId,
      file,
      old,
      next,
      added,
      hasOtherRanges: isJoined && added === null,
      activities: activitiesOf(old, next),
    },
  };
}

function isOutdated(row: StoredRow, beat: PendingBeat, observedUs: number): boolean {
  return (beat.epoch !== null && beat.epoch < row.epoch) || (row.resetAtUs !== null && observedUs <= row.resetAtUs);
}

/** By (observed, session, seq), sessions by bytes. A row without a position (made by a reset) accepts any position. */
function isNewer(row: StoredRow, { session, seq }: PendingBeat["position"], observedUs: number): boolean {
  if (row.lastWatchedUs === null) return true;
  if (observedUs !== row.lastWatchedUs) return observedUs > row.lastWatchedUs;
  if (row.positionSession === null) return false;
  if (session !== row.positionSession) return compareBytes(session, row.positionSession) > 0;
  return row.positionSeq !== null && seq > row.positionSeq;
}

/** Null if the beat adds nothing. `shattered`: the row would have too many ranges, and no fewer than before. */
function joinUnlessShattered(row: StoredRow | null, played: readonly Range[]): WatchedUnion | "shattered" | null {
  const old = row?.watched ?? [];
  const union = joinWatched(old, played);
  if (union === null || union.watched.length <= MAX_FRAGMENTS || union.watched.length < old.length) return union;
  return "shattered";
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
  return row.durationMs !== file.durationMs || row.counted !== file.counted || row.lessonId !== file.lessonId;
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
