import type { Pool } from "../db/pool.ts";
import type { OwnFilesPage, OwnFilesQuestion } from "../protocol/learners.ts";
import { parseCursor, seek, toCursor } from "./cursor.ts";
import { FILE_COLUMNS } from "./progress-reader.ts";
import { type ProgressRow, toFileProgress } from "./progress-rows.ts";

interface OwnRow extends ProgressRow {
  title: string;
  lessonTitle: string;
  courseTitle: string;
  /** The time of `lastWatched`, exact to the microsecond. */
  seen: string;
}

/**
 * Lists the files that a learner has begun, over all courses, those watched last first. Files that left their course are
 * not listed. A user's rows are few enough to be sorted at every read; an index by time would cost every heartbeat.
 */
export function createOwnFiles({ pool }: { pool: Pool }) {
  return async (userId: string, { state, courseId, limit, after }: OwnFilesQuestion): Promise<OwnFilesPage> => {
    const place = after === undefined ? null : parseCursor(after);
    const { rows } = await seek(
      pool.query<OwnRow>(
        `SELECT p.user_id AS "userId", ${FILE_COLUMNS}, f.title, l.title AS "lessonTitle", c.title AS "courseTitle",
         p.last_watched::text AS seen
       FROM user_progress AS p JOIN files AS f ON f.id = p.file_id JOIN lessons AS l ON l.id = f.lesson_id JOIN courses AS c ON c.id = f.course_id
       WHERE p.user_id = $1 AND p.last_watched IS NOT NULL AND f.retired_at IS NULL AND l.retired_at IS NULL
         AND ($2::boolean IS NULL OR p.completed = $2) AND ($3::text IS NULL OR p.course_id = $3)
         AND ($4::timestamptz IS NULL OR (p.last_watched, p.file_id) < ($4, $5))
       ORDER BY p.last_watched DESC, p.file_id DESC LIMIT $6`,
        [
          userId,
          state === undefined ? null : state === "completed",
          courseId ?? null,
          place?.value ?? null,
          place?.id ?? null,
          limit + 1,
        ],
      ),
    );
    const last = rows[limit - 1];
    return {
      files: rows.slice(0, limit).map((row) => ({
        ...toFileProgress(row),
        title: row.title,
        lessonTitle: row.lessonTitle,
        courseTitle: row.courseTitle,
      })),
      ...(rows.length > limit && last !== undefined ? { next: toCursor({ value: last.seen, id: last.fileId }) } : {}),
    };
  };
}
