import { AppError } from "../errors.ts";
import { withinTime } from "../within-time.ts";
import type { FirestoreMirror } from "./firestore-mirror.ts";
import type { MirroredRow } from "./mirrored-row.ts";

/*
 * Reads progress from the mirror, for users whose progress the database has lost and nobody has restored yet. It may be
 * older than the last progress by the lag of the mirror.
 */

/** A row of user_progress, with the names that the readers of the database use. */
export interface MirroredProgress {
  userId: string;
  fileId: string;
  lessonId: string;
  courseId: string;
  /** The duration in the catalogue when the row was mirrored. */
  durationMs: number | null;
  positionMs: number;
  /** A multirange of milliseconds. */
  watched: string;
  watchedMs: number;
  watchTimeMs: number;
  completed: boolean;
  lastWatchedMs: number | null;
  epoch: number;
  version: number;
}

export interface MirrorReader {
  /**
   * Reads the progress of one file, or all of a user; empty where the mirror has none.
   * @throws AppError `unavailable`
   */
  readFromMirror(userId: string, fileId?: string): Promise<MirroredProgress[]>;
}

/** The longest wait of a caller. The library itself would try for longer. */
const TIMEOUT_MS = 3000;
const RETRY_MS = 1000;

/** @param timeoutMs the longest wait of a caller */
export function createMirrorReader(mirror: FirestoreMirror, { timeoutMs = TIMEOUT_MS } = {}): MirrorReader {
  async function read(userId: string, fileId: string | undefined): Promise<MirroredProgress[]> {
    if (fileId === undefined) return (await mirror.readUser(userId)).map(toProgress);
    const row = await mirror.readFile({ userId, fileId });
    return row === null ? [] : [toProgress(row)];
  }

  return {
    async readFromMirror(userId, fileId) {
      try {
        const late = () => new Error(`Firestore took more than ${timeoutMs} ms`);
        return await withinTime(read(userId, fileId), timeoutMs, late);
      } catch (error) {
        throw new AppError("unavailable", "The mirror is away; try again.", { retryAfterMs: RETRY_MS, cause: error });
      }
    },
  };
}

function toProgress(row: MirroredRow): MirroredProgress {
  const { userId, fileId, lessonId, courseId, durationMs, positionMs, watched, watchedMs, completed, epoch, version } =
    row;
  const lastWatchedMs = row.lastWatched === null ? Number.NaN : Date.parse(`${row.lastWatched}Z`);
  return {
    ...{ userId, fileId, lessonId, courseId, durationMs, positionMs, watched, watchedMs, completed, epoch, version },
    watchTimeMs: Number(row.watchTimeMs),
    lastWatchedMs: Number.isNaN(lastWatchedMs) ? null : lastWatchedMs,
  };
}
