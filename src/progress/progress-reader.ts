import type { Pool } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import type { CourseProgress, CourseProgressRow, FileProgress, LessonProgress } from "../protocol/progress.ts";
import { type ProgressRow, toFileProgress } from "./progress-rows.ts";
import type { LegacyFileProgress } from "./progress-service.ts";
import { PAGE_ROWS, PageReader } from "./read-pages.ts";

/*
 * Reads one user's progress for clients. A file that was never watched reads as zeros, version 0; after a reset of its
 * course with the epoch and version of the mark.
 */

/** Columns for `FROM files AS f LEFT JOIN user_progress AS p`, without `epoch` and `version`. */
export const FILE_COLUMNS = `f.id AS "fileId", f.lesson_id AS "lessonId", f.course_id AS "courseId", f.duration_ms AS "durationMs",
  coalesce(f.credits_at_ms, f.duration_ms) AS "endMs", coalesce(p.position_ms, 0) AS "positionMs",
  coalesce(p.watched, '{}')::text AS watched, coalesce(p.watched_ms, 0) AS "watchedMs", coalesce(p.watch_time_ms, 0) AS "watchTimeMs",
  coalesce(p.completed, false) AS completed, (extract(epoch FROM p.last_watched) * 1000)::float8 AS "lastWatchedMs"`;

/**
 * With the user in $1. Without a row the epoch and the version are those of the mark by which one would begin. OFFSET 0 makes
 * each row one look-up: the planner may not know yet that a user has thousands of rows, and would read all of them for each.
 */
const FILE_SQL = {
  columns: `$1::text AS "userId", ${FILE_COLUMNS}, coalesce(p.epoch, m.epoch) AS epoch, coalesce(p.version, m.version) AS version`,
  joins: `LEFT JOIN LATERAL (SELECT * FROM user_progress WHERE file_id = f.id AND user_id = $1 OFFSET 0) AS p ON true
    CROSS JOIN LATERAL reset_mark(CASE WHEN p.version IS NULL THEN $1 END, f.course_id, f.id) AS m`,
};

/** Columns for `FROM lessons AS t LEFT JOIN lesson_progress AS l`. */
export const LESSON_COLUMNS = `t.id AS "lessonId", t.course_id AS "courseId", coalesce(l.total_files, t.total_files) AS "totalFiles",
  coalesce(l.completed_files, 0) AS "completedFiles", coalesce(l.progress_percentage, 0)::float8 AS percentage,
  l.last_updated AS "lastUpdated", coalesce(l.version, 0) AS version`;

/** Columns for `FROM courses AS t LEFT JOIN course_progress AS c`. */
export const COURSE_COLUMNS = `t.id AS "courseId", coalesce(c.total_files, t.total_files) AS "totalFiles",
  coalesce(c.completed_files, 0) AS "completedFiles", (coalesce(c.total_ms, t.total_ms) / 1000.0)::float8 AS "totalDuration",
  (coalesce(c.watched_ms, 0) / 1000.0)::float8 AS "watchedDuration", coalesce(c.progress_percentage, 0)::float8 AS percentage,
  (SELECT max(p.last_watched) FROM user_progress AS p WHERE p.user_id = c.user_id AND p.course_id = c.course_id) AS "lastWatched",
  c.last_updated AS "lastUpdated", coalesce(c.version, 0) AS version`;

/** A row as the database gives it: its times are a Date. */
export type Raw<T> = { [Name in keyof T]: Name extends "lastUpdated" | "lastWatched" ? Date | null : T[Name] };

export function toWire<T extends { lastUpdated: string | null; lastWatched?: string | null }>(row: Raw<T>): T {
  const { lastUpdated, lastWatched } = row as { lastUpdated: Date | null; lastWatched?: Date | null };
  return {
    ...row,
    ...(lastWatched === undefined ? {} : { lastWatched: lastWatched?.toISOString() ?? null }),
    lastUpdated: lastUpdated?.toISOString() ?? null,
  } as T;
}

export interface ProgressReader {
  /** `minVersion`: the version that the caller was acked; the answer is never older. */
  readFile(userId: string, fileId: string, minVersion?: number): Promise<FileProgress>;
  readCourse(userId: string, courseId: string, minVersion?: number): Promise<CourseProgress>;
  readCourseRow(userId: string, courseId: string): Promise<CourseProgressRow>;
  readLegacy(userId: string, fileId: string): Promise<LegacyFileProgress>;
}

/** A file of a course, and its place in the order of the course. */
type PlacedRow = ProgressRow & { place: number };

export function createProgressReader({ pool }: { pool: Pool }): ProgressReader {
  const pages = new PageReader();

  async function readCourseRow(userId: string, courseId: string): Promise<CourseProgressRow> {
    const { rows } = await pool.query<Raw<CourseProgressRow>>(
      `SELECT $1::text AS "userId", ${COURSE_COLUMNS}
       FROM courses AS t LEFT JOIN course_progress AS c ON c.course_id = t.id AND c.user_id = $1 WHERE t.id = $2`,
      [userId, courseId],
    );
    const [row] = rows;
    if (row === undefined) throw new AppError("not_found", `There is no course ${JSON.stringify(courseId)}.`);
    return toWire<CourseProgressRow>(row);
  }

  /** The files of a course in their order. */
  async function readFiles(userId: string, courseId: string): Promise<FileProgress[]> {
    let last: PlacedRow | undefined;
    return pages.readAll(async () => {
      const { rows } = await pool.query<PlacedRow>(
        `SELECT ${FILE_SQL.columns}, f.position AS place
         FROM (SELECT * FROM files WHERE course_id = $2 AND retired_at IS NULL AND ($3::integer IS NULL OR (position, id) > ($3, $4))
               ORDER BY position, id LIMIT ${PAGE_ROWS}) AS f
         ${FILE_SQL.joins} ORDER BY f.position, f.id`,
        [userId, courseId, last?.place ?? null, last?.fileId ?? ""],
      );
      last = rows.at(-1);
      return rows.map(toFileProgress);
    });
  }

  return {
    readCourseRow,

    async readFile(userId, fileId) {
      const { rows } = await pool.query<ProgressRow>(
        `SELECT ${FILE_SQL.columns} FROM files AS f ${FILE_SQL.joins} WHERE f.id = $2`,
        [userId, fileId],
      );
      const [row] = rows;
      if (row === undefined) throw unknownFile(fileId);
      return toFileProgress(row);
    },

    async readCourse(userId, courseId) {
      const [course, lessons, files] = await Promise.all([
        readCourseRow(userId, courseId),
        pool.query<Raw<LessonProgress>>(
          `SELECT $1::text AS "userId", ${LESSON_COLUMNS}
           FROM lessons AS t LEFT JOIN lesson_progress AS l ON l.lesson_id = t.id AND l.user_id = $1
           WHERE t.course_id = $2 AND t.retired_at IS NULL ORDER BY t.position, t.id`,
          [userId, courseId],
        ),
        readFiles(userId, courseId),
      ]);
      return {
        ...course,
        lessons: lessons.rows.map((row) => toWire<LessonProgress>(row)),
        files,
      };
    },

    async readLegacy(userId, fileId) {
      const { rows } = await pool.query<Omit<LegacyFileProgress, "lastWatched"> & { lastWatched: Date | null }>(
        `SELECT $1::text AS "userId", f.id AS "fileId", coalesce(p.progress_seconds, 0) AS "progressSeconds",
           coalesce(p.progress_percentage, 0)::float8 AS "progressPercentage", coalesce(p.completed, false) AS completed,
           p.last_watched AS "lastWatched"
         FROM files AS f LEFT JOIN user_progress AS p ON p.file_id = f.id AND p.user_id = $1 WHERE f.id = $2`,
        [userId, fileId],
      );
      const [row] = rows;
      if (row === undefined) throw unknownFile(fileId);
      return { ...row, lastWatched: row.lastWatched?.toISOString() ?? null };
    },
  };
}

/** @param behindMs how long the catalogue that was asked may be behind; 0 where the answer is sure */
export function unknownFile(fileId: string, behindMs = 0): AppError {
  const message = `The catalogue knows no file ${JSON.stringify(fileId)}.`;
  return new AppError("unknown_file", message, behindMs > 0 ? { retryAfterMs: behindMs } : {});
}
