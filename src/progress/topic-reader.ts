import { toTextArray } from "../db/array-literal.ts";
import type { Pool } from "../db/pool.ts";
import type { TopicTotals } from "../protocol/dashboard.ts";
import type { CourseProgressRow, FileProgress, FileProgressRow, LessonProgress } from "../protocol/progress.ts";
import { COURSE_COLUMNS, FILE_COLUMNS, LESSON_COLUMNS, toWire } from "./progress-reader.ts";
import { type ProgressRow, toFileProgress, toWireProgress } from "./progress-rows.ts";
import { PAGE_ROWS, PageReader } from "./read-pages.ts";

/*
 * What topics show: the rows behind changed keys, for all topics together in one query a table; for a snapshot the
 * learners who moved last, by their versions: no clock says who was last; and the sums over learners.
 */

/** A snapshot holds so many learners; clients read the others page by page. */
export const SNAPSHOT_LEARNERS = 200;

type Pair = readonly [userId: string, id: string];

const FILES = `SELECT p.user_id AS "userId", ${FILE_COLUMNS}, p.epoch, p.version FROM user_progress AS p JOIN files AS f ON f.id = p.file_id`;
const LESSONS = `SELECT l.user_id AS "userId", ${LESSON_COLUMNS} FROM lesson_progress AS l JOIN lessons AS t ON t.id = l.lesson_id`;
const COURSES = `SELECT c.user_id AS "userId", ${COURSE_COLUMNS} FROM course_progress AS c JOIN courses AS t ON t.id = c.course_id`;
const KEYS = "unnest($1::text[], $2::text[]) AS k (user_id, id)";
const CHANGED_FILES = `${FILES} JOIN ${KEYS} ON k.user_id = p.user_id AND k.id = p.file_id`;
const LATEST_IN_FILE = `${FILES} WHERE p.file_id = $1 ORDER BY p.version DESC LIMIT ${SNAPSHOT_LEARNERS}`;

/** Rows by their keys: so many in one query. */
const KEYS_TOGETHER = 1000;

/** Reads the newest committed state of progress for topics. */
export function createTopicReader({ pool }: { pool: Pool }) {
  const pages = new PageReader();

  /**
   * The files of one user, or of one user in one course, those that changed last first. A row that changes while this
   * reads may be missing: the topic hears of the change, and reads the row again.
   */
  function filesOfUser(userId: string, courseId: string | null): Promise<FileProgress[]> {
    let last: FileProgress | undefined;
    return pages.readAll(async () => {
      const page = await files(
        `${FILES} WHERE p.user_id = $1 AND ($2::text IS NULL OR p.course_id = $2) AND ($3::bigint IS NULL OR p.version < $3)
         ORDER BY p.version DESC LIMIT ${PAGE_ROWS}`,
        [userId, courseId, last?.version ?? null],
      );
      last = page.at(-1);
      return page;
    });
  }
  async function files(sql: string, parameters: unknown[]): Promise<FileProgress[]> {
    return (await pool.query<ProgressRow>(sql, parameters)).rows.map(toFileProgress);
  }
  async function fileRows(sql: string, parameters: unknown[]): Promise<FileProgressRow[]> {
    return readByColumns(await pool.query<RowColumns>(`SELECT ${ROW_COLUMNS} FROM (${sql}) AS r`, parameters));
  }
  async function lessons(sql: string, parameters: unknown[]): Promise<LessonProgress[]> {
    return (await pool.query<LessonProgress & { lastUpdated: never }>(sql, parameters)).rows.map((row) =>
      toWire<LessonProgress>(row),
    );
  }
  async function courses(sql: string, parameters: unknown[]): Promise<CourseProgressRow[]> {
    return (await pool.query<CourseProgressRow & { lastUpdated: never; lastWatched: never }>(sql, parameters)).rows.map(
      (row) => toWire<CourseProgressRow>(row),
    );
  }
  async function totals(sql: string, ids: readonly string[]): Promise<Map<string, TopicTotals>> {
    const { rows } = await pool.query<TopicTotals & { id: string }>(sql, [ids]);
    return new Map(rows.map(({ id, ...sums }) => [id, sums]));
  }

  return {
    files: byKeys(files, CHANGED_FILES),
    fileRows: byKeys(fileRows, CHANGED_FILES),
    lessons: byKeys(lessons, `${LESSONS} JOIN ${KEYS} ON k.user_id = l.user_id AND k.id = l.lesson_id`),
    courses: byKeys(courses, `${COURSES} JOIN ${KEYS} ON k.user_id = c.user_id AND k.id = c.course_id`),
    latestInCourse: (courseId: string) =>
      courses(`${COURSES} WHERE c.course_id = $1 ORDER BY c.version DESC LIMIT ${SNAPSHOT_LEARNERS}`, [courseId]),
    latestInLesson: (lessonId: string) =>
      lessons(`${LESSONS} WHERE l.lesson_id = $1 ORDER BY l.version DESC LIMIT ${SNAPSHOT_LEARNERS}`, [lessonId]),
    latestInFile: (fileId: string) => fileRows(LATEST_IN_FILE, [fileId]),
    async ofUser(userId: string, courseId: string | null) {
      const [f, l, c] = await Promise.all([
        filesOfUser(userId, courseId),
        lessons(`${LESSONS} WHERE l.user_id = $1 AND ($2::text IS NULL OR l.course_id = $2)`, [userId, courseId]),
        courses(`${COURSES} WHERE c.user_id = $1 AND ($2::text IS NULL OR c.course_id = $2)`, [userId, courseId]),
      ]);
      return { files: f, lessons: l, courses: c };
    },
    courseTotals: (ids: readonly string[]) => totals(totalsOf("course_progress", "course_id"), ids),
    lessonTotals: (ids: readonly string[]) => totals(totalsOf("lesson_progress", "lesson_id"), ids),
    fileTotals: (ids: readonly string[]) =>
      totals(
        `SELECT file_id AS id, count(*) AS learners, count(*) FILTER (WHERE completed) AS completed,
           coalesce(round(avg(CASE WHEN duration_ms > 0 THEN least(100, watched_ms * 100.0 / duration_ms) ELSE 0 END), 2), 0)::float8 AS percentage
         FROM user_progress WHERE file_id = ANY($1) GROUP BY file_id`,
        ids,
      ),
  };
}

type Row = Omit<ProgressRow, "watched">;
type RowColumns = { [Name in keyof Row]: Row[Name][] | null };

/** The columns of files' rows without ranges, each as one JSON array: `pg` takes half as long for it as row by row. */
const ROW_COLUMNS = (
  [
    "userId",
    "fileId",
    "lessonId",
    "courseId",
    "durationMs",
    "endMs",
    "positionMs",
    "watchedMs",
    "watchTimeMs",
    "completed",
    "lastWatchedMs",
    "epoch",
    "version",
  ] satisfies (keyof Row)[]
)
  .map((name) => `json_agg(r."${name}") AS "${name}"`)
  .join(", ");

function readByColumns({ rows: [columns] }: { rows: RowColumns[] }): FileProgressRow[] {
  if (columns === undefined) return [];
  const at = <T>(column: T[] | null, i: number) => column?.[i] as T;
  return (columns.userId ?? []).map((userId, i) =>
    toWireProgress(
      {
        userId,
        fileId: at(columns.fileId, i),
        lessonId: at(columns.lessonId, i),
        courseId: at(columns.courseId, i),
        durationMs: at(columns.durationMs, i),
        endMs: at(columns.endMs, i),
        positionMs: at(columns.positionMs, i),
        watchedMs: at(columns.watchedMs, i),
        watchTimeMs: at(columns.watchTimeMs, i),
        completed: at(columns.completed, i),
        lastWatchedMs: at(columns.lastWatchedMs, i),
        epoch: at(columns.epoch, i),
        version: at(columns.version, i),
      },
      undefined as never, // JSON leaves out a field that is undefined
    ),
  );
}

/** Reads rows by their keys: few in one query, many one part after another, and none without a query. */
function byKeys<T>(read: (sql: string, parameters: unknown[]) => Promise<T[]>, sql: string) {
  return async (keys: readonly Pair[]): Promise<T[]> => {
    const rows: T[] = [];
    for (let from = 0; from < keys.length; from += KEYS_TOGETHER) {
      const part = keys.slice(from, from + KEYS_TOGETHER);
      const parameters = [toTextArray(part.map(([userId]) => userId)), toTextArray(part.map(([, id]) => id))];
      for (const row of await read(sql, parameters)) rows.push(row);
    }
    return rows;
  };
}

function totalsOf(table: string, column: string): string {
  return `SELECT ${column} AS id, count(*) AS learners, count(*) FILTER (WHERE total_files > 0 AND completed_files >= total_files) AS completed,
    coalesce(round(avg(progress_percentage), 2), 0)::float8 AS percentage FROM ${table} WHERE ${column} = ANY($1) GROUP BY ${column}`;
}
