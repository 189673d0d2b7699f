import { createHash } from "node:crypto";
import type pg from "pg";
import { type Pool, type PoolClient, withTransaction } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import type { CourseFile, CourseLesson, CourseTree } from "../protocol/course.ts";
import type { Catalogue, CourseSummary, StoredCourse } from "./catalogue.ts";
import { assertOwnCourse, withOwner } from "./own-course.ts";

/*
 * Courses as trees, each stored as a whole. A lesson or file that a new tree does not name is retired: it counts no more,
 * its progress stays, and counts again when a later tree names it again. apply_catalogue (migrations/functions) recomputes
 * everything that is derived from the tree.
 */

/** How long one statement of a catalogue change may take. */
const CHANGE_TIMEOUT_MS = 300_000;

type CatalogueStore = Pick<Catalogue, "put" | "get" | "delete" | "list">;

interface CourseRow {
  id: string;
  title: string;
  instructorId: string | null;
  completionThreshold: string | null;
  acceptReported: boolean;
}

interface FileRow {
  id: string;
  lessonId: string;
  title: string;
  durationMs: number | null;
  required: boolean;
  completionThreshold: string | null;
  startMs: number | null;
  creditsAtMs: number | null;
}

export function createCatalogueStore({ pool }: { pool: Pool }): CatalogueStore {
  return {
    put: (courseId, tree, options = {}) =>
      withTransaction(pool, async (client) => {
        await lockForChange(client, courseId);
        const before = await findCourse(client, courseId);
        const owned = options.by === undefined ? tree : withOwner(options.by, tree, before && ownerOf(before));
        assertTag(options.ifMatch, before);
        await assertOwnIds(client, courseId, owned);
        await writeTree(client, courseId, owned);
        const course = await findCourse(client, courseId);
        if (course === null) throw new Error(`course ${courseId} disappeared in the transaction that put it`);
        return { created: before === null, course };
      }),

    async get(courseId) {
      const course = await withTransaction(pool, (client) => findCourse(client, courseId), { writes: false });
      if (course === null) throw noSuchCourse(courseId);
      return course;
    },

    delete: (courseId, options = {}) =>
      withTransaction(pool, async (client) => {
        await lockForChange(client, courseId);
        const before = await findCourse(client, courseId);
        if (before === null) throw noSuchCourse(courseId);
        if (options.by !== undefined) assertOwnCourse(options.by, ownerOf(before));
        assertTag(options.ifMatch, before);
        await client.query(changeQuery("DELETE FROM courses WHERE id = $1", [courseId]));
        await client.query(changeQuery("SELECT apply_catalogue($1)", [courseId]));
      }),

    async list({ limit, after, instructorId }) {
      const { rows } = await pool.query<CourseSummary>(
        `SELECT c.id, c.title, c.instructor_id AS "instructorId", c.total_files AS files, c.total_ms / 1000.0::float8 AS "durationSeconds",
           (SELECT count(*) FROM lessons AS l WHERE l.course_id = c.id AND l.retired_at IS NULL) AS lessons
         FROM courses AS c
         WHERE ($2::text IS NULL OR c.id > $2) AND ($3::text IS NULL OR c.instructor_id = $3)
         ORDER BY c.id LIMIT $1`,
        [limit, after ?? null, instructorId ?? null],
      );
      return rows;
    },
  };
}

function ownerOf({ tree }: StoredCourse): { instructorId: string | null } {
  return { instructorId: tree.instructorId ?? null };
}

function noSuchCourse(courseId: string): AppError {
  return new AppError("not_found", `There is no course ${JSON.stringify(courseId)}.`);
}

/** Takes the lock that keeps everybody from writing the course's progress. Its triggers then apply the change once, at the end. */
async function lockForChange(client: PoolClient, courseId: string): Promise<void> {
  await client.query(
    "SELECT set_config('statement_timeout', $2, true), lock_catalogue($1), set_config('playhead.catalogue', 'changing', true)",
    [courseId, `${CHANGE_TIMEOUT_MS}ms`],
  );
}

/** A query with a limit of its own: a change of a course with a million learners recounts all of them. */
function changeQuery(text: string, values: unknown[]): pg.QueryConfig {
  return { text, values, query_timeout: CHANGE_TIMEOUT_MS } as pg.QueryConfig;
}

function assertTag(ifMatch: string | undefined, course: StoredCourse | null): void {
  if (ifMatch === undefined || (ifMatch === "*" && course !== null)) return;
  const tags = ifMatch.split(",").map((tag) => tag.trim().replace(/^W\//, "").replaceAll('"', ""));
  if (course !== null && tags.includes(course.etag.replaceAll('"', ""))) return;
  throw new AppError("conflict", "The course is no longer what If-Match names; read it again.", { status: 412 });
}

async function assertOwnIds(client: PoolClient, courseId: string, tree: CourseTree): Promise<void> {
  const lessonIds = tree.lessons.map((lesson) => lesson.id);
  const fileIds = tree.lessons.flatMap((lesson) => lesson.files.map((file) => file.id));
  const { rows } = await client.query<{ kind: string; id: string; course: string }>(
    `SELECT 'lesson' AS kind, id, course_id AS course FROM lessons WHERE id = ANY($1::text[]) AND course_id <> $3
     UNION ALL SELECT 'file', id, course_id FROM files WHERE id = ANY($2::text[]) AND course_id <> $3 LIMIT 1`,
    [lessonIds, fileIds, courseId],
  );
  const [taken] = rows;
  if (taken !== undefined) {
    throw new AppError("conflict", `The ${taken.kind} ${JSON.stringify(taken.id)} belongs to another course.`);
  }
}

async function writeTree(client: PoolClient, courseId: string, tree: CourseTree): Promise<void> {
  await client.query(
    `INSERT INTO courses (id, title, instructor_id, completion_threshold, accept_reported) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (id) DO UPDATE SET title = excluded.title, instructor_id = excluded.instructor_id,
       completion_threshold = excluded.completion_threshold, accept_reported = excluded.accept_reported, updated_at = now()`,
    [courseId, tree.title, tree.instructorId ?? null, tree.completionThreshold ?? null, tree.acceptReported ?? true],
  );
  await client.query(
    `INSERT INTO lessons (id, course_id, title, position)
     SELECT id, $1, title, position FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS l (id, title, position)
     ON CONFLICT (id) DO UPDATE SET title = excluded.title, position = excluded.position, retired_at = NULL, updated_at = now()`,
    [courseId, tree.lessons.map((lesson) => lesson.id), tree.lessons.map((lesson) => lesson.title)],
  );
  const files = tree.lessons.flatMap((lesson) => lesson.files.map((file) => ({ ...file, lessonId: lesson.id })));
  await client.query(
    `INSERT INTO files (id, course_id, lesson_id, title, duration_ms, required, completion_threshold, start_ms, credits_at_ms, position)
     SELECT f.id, $1, f.lesson_id, f.title, f.duration_ms, f.required, f.threshold, f.start_ms, f.credits_at_ms, f.position
     FROM unnest($2::text[], $3::text[], $4::text[], $5::integer[], $6::boolean[], $7::numeric[], $8::integer[], $9::integer[])
       WITH ORDINALITY AS f (id, lesson_id, title, duration_ms, required, threshold, start_ms, credits_at_ms, position)
     ON CONFLICT (id) DO UPDATE SET lesson_id = excluded.lesson_id, title = excluded.title, duration_ms = excluded.duration_ms,
       required = excluded.required, completion_threshold = excluded.completion_threshold, start_ms = excluded.start_ms,
       credits_at_ms = excluded.credits_at_ms, position = excluded.position, retired_at = NULL, updated_at = now()`,
    [
      courseId,
      files.map((file) => file.id),
      files.map((file) => file.lessonId),
      files.map((file) => file.title),
      files.map((file) => toMs(file.durationSeconds)),
      files.map((file) => file.required ?? true),
      files.map((file) => file.completionThreshold ?? null),
      files.map((file) => toMs(file.startSeconds)),
      files.map((file) => toMs(file.creditsAtSeconds)),
    ],
  );
  await client.query(
    "UPDATE files SET retired_at = now() WHERE course_id = $1 AND retired_at IS NULL AND id <> ALL($2::text[])",
    [courseId, files.map((file) => file.id)],
  );
  await client.query(
    "UPDATE lessons SET retired_at = now() WHERE course_id = $1 AND retired_at IS NULL AND id <> ALL($2::text[])",
    [courseId, tree.lessons.map((lesson) => lesson.id)],
  );
  await client.query(changeQuery("SELECT apply_catalogue($1)", [courseId]));
}

async function findCourse(client: PoolClient, courseId: string): Promise<StoredCourse | null> {
  const courses = await client.query<CourseRow>(
    `SELECT id, title, instructor_id AS "instructorId", completion_threshold AS "completionThreshold", accept_reported AS "acceptReported"
     FROM courses WHERE id = $1`,
    [courseId],
  );
  const course = courses.rows[0];
  if (course === undefined) return null;
  const lessons = await client.query<{ id: string; title: string }>(
    "SELECT id, title FROM lessons WHERE course_id = $1 AND retired_at IS NULL ORDER BY position, id",
    [courseId],
  );
  const files = await client.query<FileRow>(
    `SELECT id, lesson_id AS "lessonId", title, duration_ms AS "durationMs", required, completion_threshold AS "completionThreshold",
       start_ms AS "startMs", credits_at_ms AS "creditsAtMs"
     FROM files WHERE course_id = $1 AND retired_at IS NULL ORDER BY position, id`,
    [courseId],
  );
  const tree = toTree(course, lessons.rows, files.rows);
  return {
    courseId,
    tree,
    etag: `"${createHash("sha256").update(JSON.stringify(tree)).digest("base64url").slice(0, 22)}"`,
  };
}

function toTree(course: CourseRow, lessons: { id: string; title: string }[], files: FileRow[]): CourseTree {
  const filesOf = new Map<string, CourseFile[]>(lessons.map((lesson) => [lesson.id, []]));
  for (const file of files) filesOf.get(file.lessonId)?.push(toFile(file));
  return {
    title: course.title,
    ...(course.instructorId === null ? {} : { instructorId: course.instructorId }),
    ...(course.completionThreshold === null ? {} : { completionThreshold: Number(course.completionThreshold) }),
    acceptReported: course.acceptReported,
    lessons: lessons.map(
      (lesson): CourseLesson => ({ id: lesson.id, title: lesson.title, files: filesOf.get(lesson.id) ?? [] }),
    ),
  };
}

function toFile(row: FileRow): CourseFile {
  return {
    id: row.id,
    title: row.title,
    ...(row.durationMs === null ? {} : { durationSeconds: row.durationMs / 1000 }),
    required: row.required,
    ...(row.completionThreshold === null ? {} : { completionThreshold: Number(row.completionThreshold) }),
    ...(row.startMs === null ? {} : { startSeconds: row.startMs / 1000 }),
    ...(row.creditsAtMs === null ? {} : { creditsAtSeconds: row.creditsAtMs / 1000 }),
  };
}

function toMs(seconds: number | null | undefined): number | null {
  return seconds == null ? null : Math.round(seconds * 1000);
}
