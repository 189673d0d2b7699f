import { RESUME_BACK_MS } from "../protocol/brief-ack.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { percentageOf, toSeconds } from "../protocol/ranges.ts";
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
  positionMs: number;
  watched: string;
  watchedMs: number;
  watchTimeMs: number;
  completed: boolean;
  lastWatchedMs: number | null;
  epoch: number;
  version: number;
}

/** Where to resume, in ms. It is derived at every read; only the raw position is stored. */
export function resumeAtMs(positionMs: number, endMs: number | null): number {
  if (positionMs <= RESUME_FROM_START_MS || (endMs !== null && positionMs >= endMs)) return 0;
  return positionMs - RESUME_BACK_MS;
}

export function toFileProgress(row: ProgressRow): FileProgress {
  return toWireProgress(row, toSeconds(parseMultirange(row.watched)));
}

export function toWireProgress(row: Omit<ProgressRow, "watched">, watched: [number, number][]): FileProgress {
  return {
    userId: row.userId,
    fileId: row.fileId,
    lessonId: row.lessonId,
    courseId: row.courseId,
    position: row.positionMs / 1000,
    resumeAt: resumeAtMs(row.positionMs, row.endMs) / 1000,
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
