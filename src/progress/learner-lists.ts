import type { Pool } from "../db/pool.ts";
import type {
  FileLearnersPage,
  Learner,
  LearnersPage,
  LearnersQuestion,
  LessonLearnersPage,
  OwnFilesPage,
  OwnFilesQuestion,
  PageQuestion,
} from "../protocol/learners.ts";
import type { LessonProgress } from "../protocol/progress.ts";
import { parseCursor, seek, toCursor } from "./cursor.ts";
import { createOwnFiles } from "./own-files.ts";
import { COURSE_COLUMNS, FILE_COLUMNS, LESSON_COLUMNS, type Raw, toWire } from "./progress-reader.ts";
import { type ProgressRow, toWireProgress } from "./progress-rows.ts";

/*
 * Lists the learners of a course, a lesson or a file, page by page. A page begins where the one before ended, by value and
 * id, so a learner who moves between two pages is at worst shown twice or missed, and no page gets slower than the first.
 */

/** The name that people know a learner by, for a query with `NAMES`. */
const NAME = "coalesce(n.name, nullif(concat_ws(' ', u.first_name, u.last_name), ''), u.username)";
const NAMES = (id: string) => `LEFT JOIN users AS u ON u.id = ${id} LEFT JOIN user_profiles AS n ON n.user_id = ${id}`;

/** When a learner was last seen in the course. Only lists that sort or filter by it pay for the time of every learner. */
const LAST_WATCHED = `LEFT JOIN (
    SELECT p.user_id, max(p.last_watched) AS last_watched FROM files AS f JOIN user_progress AS p ON p.file_id = f.id
    WHERE f.course_id = $1 GROUP BY p.user_id
  ) AS w ON w.user_id = c.user_id`;

/** The value that each sort orders by, and its type. Learners without a name, or without a last time, come first. */
const SORTS: Record<LearnersQuestion["sort"], { value: string; type: string }> = {
  id: { value: "c.user_id", type: "text" },
  // In every alphabet, in the order that its readers expect.
  name: { value: `coalesce(${NAME}, '') COLLATE "unicode"`, type: `text COLLATE "unicode"` },
  percentage: { value: "c.progress_percentage", type: "numeric" },
  lastWatched: { value: "coalesce(w.last_watched, '-infinity')", type: "timestamptz" },
};

export interface LearnerLists {
  /** @throws AppError `bad_request` if `after` is no cursor of the list */
  learners(courseId: string, question: LearnersQuestion): Promise<LearnersPage>;
  lessonLearners(lessonId: string, page: PageQuestion): Promise<LessonLearnersPage>;
  fileLearners(fileId: string, page: PageQuestion): Promise<FileLearnersPage>;
  /** @throws AppError `bad_request` if `after` is no cursor of the list */
  ownFiles(userId: string, question: OwnFilesQuestion): Promise<OwnFilesPage>;
}

export function createLearnerLists({ pool }: { pool: Pool }): LearnerLists {
  return {
    ownFiles: createOwnFiles({ pool }),

    async learners(courseId, question) {
      const { sort, order, limit, after } = question;
      const parameters: unknown[] = [courseId];
      const from = `FROM course_progress AS c JOIN courses AS t ON t.id = c.course_id ${NAMES("c.user_id")}
        ${sort === "lastWatched" || question.inactiveDays !== undefined ? LAST_WATCHED : ""}
        WHERE ${["c.course_id = $1", ...filtersOf(question, parameters)].join(" AND ")}`;
      const counted =
        after === undefined
          ? pool.query<{ total: number }>(`SELECT count(*)::integer AS total ${from}`, [...parameters])
          : null;
      const { value, type } = SORTS[sort];
      let beyond = "";
      if (after !== undefined) {
        const place = sort === "id" ? { value: after, id: after } : parseCursor(after);
        beyond = `AND (${value}, c.user_id) ${order === "asc" ? ">" : "<"} (${add(parameters, place.value)}::${type}, ${add(parameters, place.id)})`;
      }
      const page = pool.query<Raw<Learner> & { value: string }>(
        `SELECT c.user_id AS "userId", ${NAME} AS name, ${COURSE_COLUMNS}, (${value})::text AS value
         ${from} ${beyond} ORDER BY ${value} ${order}, c.user_id ${order} LIMIT ${limit + 1}`,
        parameters,
      );
      const [{ rows }, count] = await Promise.all([seek(page), counted]);
      const last = rows[limit - 1];
      return {
        learners: rows.slice(0, limit).map(({ value: _, ...row }) => toWire<Learner>(row as Raw<Learner>)),
        ...(count === null ? {} : { total: count.rows[0]?.total ?? 0 }),
        ...(rows.length <= limit || last === undefined
          ? {}
          : { next: sort === "id" ? last.userId : toCursor({ value: last.value, id: last.userId }) }),
      };
    },

    async lessonLearners(lessonId, { limit, after }) {
      const { rows } = await pool.query<Raw<LessonProgress & { name: string | null }>>(
        `SELECT l.user_id AS "userId", ${NAME} AS name, ${LESSON_COLUMNS}
         FROM lesson_progress AS l JOIN lessons AS t ON t.id = l.lesson_id ${NAMES("l.user_id")}
         WHERE l.lesson_id = $1 AND ($3::text IS NULL OR l.user_id > $3) ORDER BY l.user_id LIMIT $2`,
        [lessonId, limit + 1, after ?? null],
      );
      const learners = rows.map((row) => toWire<LessonProgress & { name: string | null }>(row));
      return pageOf(learners, limit);
    },

    async fileLearners(fileId, { limit, after }) {
      const { rows } = await pool.query<ProgressRow & { name: string | null }>(
        `SELECT p.user_id AS "userId", ${NAME} AS name, ${FILE_COLUMNS}
         FROM user_progress AS p JOIN files AS f ON f.id = p.file_id ${NAMES("p.user_id")}
         WHERE p.file_id = $1 AND ($3::text IS NULL OR p.user_id > $3) ORDER BY p.user_id LIMIT $2`,
        [fileId, limit + 1, after ?? null],
      );
      const learners = rows.map(({ name, ...row }) => {
        const { watched: _, ...progress } = toWireProgress(row, []);
        return { ...progress, name };
      });
      return pageOf(learners, limit);
    },
  };
}

/** The conditions that the question sets beside the course. Their values go into `parameters`. */
function filtersOf({ search, state, below, inactiveDays, userId }: LearnersQuestion, parameters: unknown[]): string[] {
  const filters: string[] = [];
  if (search !== undefined && search.trim() !== "") {
    const sought = `casefold(${add(parameters, `%${escapeLike(search.trim())}%`)}::text COLLATE "pg_unicode_fast")`;
    const folded = (text: string) => `casefold(${text} COLLATE "pg_unicode_fast")`;
    filters.push(`(${folded(`coalesce(${NAME}, '')`)} LIKE ${sought} OR ${folded("c.user_id")} LIKE ${sought})`);
  }
  const isCompleted = "(c.total_files > 0 AND c.completed_files >= c.total_files)";
  if (state === "completed") filters.push(isCompleted);
  if (state === "in_progress") filters.push(`NOT ${isCompleted}`);
  if (below !== undefined) filters.push(`c.progress_percentage < ${add(parameters, below)}`);
  if (inactiveDays !== undefined)
    filters.push(
      `coalesce(w.last_watched, '-infinity') < now() - make_interval(days => ${add(parameters, inactiveDays)})`,
    );
  if (userId !== undefined) filters.push(`c.user_id = ANY(${add(parameters, userId)})`);
  return filters;
}

/** @returns the placeholder of the new parameter */
function add(parameters: unknown[], value: unknown): string {
  return `$${parameters.push(value)}`;
}

function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, "\\$&");
}

/** `rows` has one row more than `limit` where another page follows. */
function pageOf<Row extends { userId: string }>(rows: Row[], limit: number): { learners: Row[]; next?: string } {
  const learners = rows.slice(0, limit);
  const last = learners.at(-1);
  return rows.length > limit && last !== undefined ? { learners, next: last.userId } : { learners };
}
