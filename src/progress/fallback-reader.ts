import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { CourseProgress, FileProgress, LessonProgress } from "../protocol/progress.ts";
import { percentageOf } from "../protocol/ranges.ts";
import type { ProgressReader } from "./progress-reader.ts";
import { type ProgressRow, toFileProgress } from "./progress-rows.ts";

/*
 * After a loss of the database, and before its copy is restored: reads the progress of users whom the database does not
 * know from the copy. All other users are read as always; a user without progress costs one look-up more.
 */

/** A row of the copy. The copy does not hold the end boundary: that comes from the catalogue. */
export type CopiedRow = Omit<ProgressRow, "endMs">;

/** Reads the user's progress in one file, or in all files, from the copy. @throws if the copy cannot be reached */
export type ReadCopy = (userId: string, fileId?: string) => Promise<CopiedRow[]>;

export interface FallbackReaderParts {
  reader: ProgressReader;
  pool: Pool;
  readCopy: ReadCopy;
  logger: Logger;
}

/** The largest share of a file that counts before it is completed. */
const ALMOST = 0.999;

export function createFallbackReader({ reader, pool, readCopy, logger }: FallbackReaderParts): ProgressReader {
  /** Empty if the database knows the user or has deleted it, or if the copy does not know it or cannot be reached. */
  async function copyOf(userId: string, fileId?: string): Promise<CopiedRow[]> {
    const { rowCount } = await pool.query(
      `SELECT FROM users WHERE id = $1
       UNION ALL SELECT FROM deleted_users WHERE user_hash IN (SELECT deleted_user_hashes($1))`,
      [userId],
    );
    if (rowCount !== 0) return [];
    try {
      return await readCopy(userId, fileId);
    } catch (error) {
      logger.warn(
        { err: error, userId },
        "the copy of progress could not be asked for a user whom the database does not know",
      );
      return [];
    }
  }

  return {
    ...reader,

    async readFile(userId, fileId, minVersion) {
      const file = await reader.readFile(userId, fileId, minVersion);
      if (file.version > 0) return file;
      const [row] = await copyOf(userId, fileId);
      return row === undefined ? file : overlay(file, row);
    },

    async readCourse(userId, courseId, minVersion) {
      const course = await reader.readCourse(userId, courseId, minVersion);
      if (course.version > 0 || course.files.some(({ version }) => version > 0)) return course;
      const rows = new Map((await copyOf(userId)).map((row) => [row.fileId, row]));
      if (!course.files.some(({ fileId }) => rows.has(fileId))) return course;
      const files = course.files.map((file) => {
        const row = rows.get(file.fileId);
        return row === undefined ? file : overlay(file, row);
      });
      return addUp(course, files);
    },
  };
}

/** Lesson, course and duration come from the catalogue. */
function overlay(file: FileProgress, row: CopiedRow): FileProgress {
  const durationMs = file.duration === null ? null : Math.round(file.duration * 1000);
  const copied = toFileProgress({ ...row, durationMs, endMs: durationMs });
  return {
    ...copied,
    lessonId: file.lessonId,
    courseId: file.courseId,
    percentage: percentageOf(row.watchedMs, durationMs),
  };
}

/** The sums of the copied rows. Every file is taken to count; the exact sums come with the restore. */
function addUp(course: CourseProgress, files: FileProgress[]): CourseProgress {
  const sumOf = (own: FileProgress[]) => {
    const done = own.filter(({ completed }) => completed).length;
    const total = own.reduce((sum, { duration }) => sum + (duration ?? 0), 0);
    const counted = own.reduce(
      (sum, { completed, duration, watchedSeconds }) =>
        sum + (duration === null ? 0 : completed ? duration : Math.min(watchedSeconds, duration * ALMOST)),
      0,
    );
    const share = total > 0 ? counted / total : own.length > 0 ? done / own.length : 0;
    return { completedFiles: done, percentage: Math.floor(share * 10_000) / 100 };
  };
  const watchedDuration = files.reduce((sum, { watchedSeconds }) => sum + watchedSeconds, 0);
  const lessons = course.lessons.map(
    (lesson): LessonProgress => ({
      ...lesson,
      ...sumOf(files.filter(({ lessonId }) => lessonId === lesson.lessonId)),
    }),
  );
  // ISO dates of one form sort as texts.
  const lastWatched = files.map((file) => file.lastWatched).reduce((a, b) => ((a ?? "") > (b ?? "") ? a : b), null);
  return { ...course, ...sumOf(files), watchedDuration, lastWatched, lessons, files };
}
