import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { CourseProgress, FileProgress, LessonProgress } from "../protocol/progress.ts";
import { percentageOf } from "../protocol/ranges.ts";
import type { ProgressReader } from "./progress-reader.ts";
import { type ProgressRow, toFileProgress } from "./progress-rows.ts";

/*
 * Reads for users whom the database does not know, while there may be a copy elsewhere: after a loss, before the copy
 * is restored. For everybody else nothing changes, but one look-up where nothing was watched yet.
 */

/** A row as the copy has it; the end boundary is the catalogue's. */
export type CopiedRow = Omit<ProgressRow, "endMs">;

/** One file's progress, or all of a user's, from the copy. @throws where it is away */
export type ReadCopy = (userId: string, fileId?: string) => Promise<CopiedRow[]>;

export interface FallbackReaderParts {
  reader: ProgressReader;
  pool: Pool;
  readCopy: ReadCopy;
  logger: Logger;
}

/** What of a file that is not completed counts at the most. */
const ALMOST = 0.999;

export function createFallbackReader({ reader, pool, readCopy, logger }: FallbackReaderParts): ProgressReader {
  /** Empty where the database knows the user, or the copy does not, or is away: then nothing was watched yet. */
  async function copyOf(userId: string, fileId?: string): Promise<CopiedRow[]> {
    const { rowCount } = await pool.query("SELECT FROM users WHERE id = $1", [userId]);
    if (rowCount !== 0) return [];
    try {
      return await readCopy(userId, fileId);
    } catch (error) {
      logger.warn({ err: error, userId }, "a user whom the database does not know could not be looked for elsewhere");
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

/** Where the file is, and how long, is the catalogue's to say. */
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

/** The sums of what was copied. All files are taken to count; what does not shows when it is restored. */
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
  return { ...course, ...sumOf(files), watchedDuration, lessons, files };
}
