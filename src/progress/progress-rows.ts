import { RESUME_BACK_MS } from "../protocol/brief-ack.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { cutAt, percentageOf, type Range, toSeconds } from "../protocol/ranges.ts";
import { parseMultirange } from "./multirange.ts";

/** A position within the first five seconds, or past the end boundary, resumes from the beginning. */
const RESUME_FROM_START_MS = 5000;

/** A row of user_progress with its file's duration and end boundary. */
export interface ProgressRow {
  userId: string;
  fileId: string;
  lessonId: string;
  courseId: string;
  durationMs: number | null;
  /** The end boundary: where the credits begin, or the duration. */
  endMs: number | null;
  /** As stored, past the duration too. */
  positionMs: number;
  watched: string;
  watchedMs: number;
  watchTimeMs: number;
  completed: boolean;
  lastWatchedMs: number | null;
  epoch: number;
  version: number;
}

/**
 * Encoders disagree about the length of a file by less than this. A player further past the end plays a file that is
 * longer than the catalogue knows. A tenth of a short file, up to 5 s; a hundredth of a long one.
 */
function toleranceMs(durationMs: number): number {
  return Math.max(Math.min(5000, durationMs / 10), durationMs / 100);
}

/** The place of a player in a file, in ms. */
export interface Place {
  positionMs: number;
  durationMs: number | null;
  endMs: number | null;
}

/**
 * Where to resume, in ms. It is derived at every read; only the raw position is stored. Past the end boundary a file
 * begins anew, except where the position shows that the file is longer than the catalogue knows.
 */
export function resumeAtMs({ positionMs, durationMs, endMs }: Place): number {
  const isOver = endMs !== null && positionMs >= endMs;
  const isLonger = durationMs !== null && positionMs > durationMs + toleranceMs(durationMs);
  if (positionMs <= RESUME_FROM_START_MS || (isOver && !isLonger)) return 0;
  return positionMs - RESUME_BACK_MS;
}

/** The position as the wire has it: not past the duration. */
export function shownPositionMs({ positionMs, durationMs }: Pick<Place, "positionMs" | "durationMs">): number {
  return durationMs === null ? positionMs : Math.min(positionMs, durationMs);
}

/** The ranges as the wire has them: not past the duration. */
export function toShownRanges(watched: readonly Range[], durationMs: number | null): [number, number][] {
  return toSeconds(durationMs === null ? watched : cutAt(watched, durationMs));
}

export function toFileProgress(row: ProgressRow): FileProgress {
  return toWireProgress(row, toShownRanges(parseMultirange(row.watched), row.durationMs));
}

export function toWireProgress(row: Omit<ProgressRow, "watched">, watched: [number, number][]): FileProgress {
  return {
    userId: row.userId,
    fileId: row.fileId,
    lessonId: row.lessonId,
    courseId: row.courseId,
    position: shownPositionMs(row) / 1000,
    resumeAt: resumeAtMs(row) / 1000,
    duration: row.durationMs === null ? null : row.durationMs / 1000,
    watched,
    watchedSeconds: row.watchedMs / 1000,
    watchTimeSeconds: row.watchTimeMs / 1000,
    percentage: percentageOf(row.watchedMs, row.durationMs),
    completed: row.completed,
    lastWatched: row.lastWatchedMs === null ? null : new Date(row.lastWatchedMs).toISOString(),
    epoch: row.epoch,
    version: row.version,
  };
}
