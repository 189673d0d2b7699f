import { setTimeout as delay } from "node:timers/promises";
import { assertOwnCourse } from "../catalogue/own-course.ts";
import { type Pool, type PoolClient, withTransaction } from "../db/pool.ts";
import { isTransient } from "../db/sqlstate.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError } from "../errors.ts";
import { Bulkhead } from "../limits/bulkhead.ts";
import { unknownFile } from "./progress-reader.ts";
import type { OperationTarget, Operator, ProgressOperations } from "./progress-service.ts";

/*
 * Operations that a person does on progress: reset, complete by hand, un-complete. Each takes the same locks as a batch
 * and leaves an entry in the activity log. One operation of a person runs at a time, and few of all: an operation on a long
 * course holds a connection for long. The row trigger fills in the columns that follow from the catalogue.
 */

interface Operation {
  userId: string;
  target: OperationTarget;
  by: Operator;
  activity: string;
  /** Writes the rows. */
  write: (client: PoolClient, scope: Scope) => Promise<unknown>;
}

/** What an operation writes: the rows of a user in a course, or in one file of it. */
interface Scope {
  userId: string;
  courseId: string;
  /** Null where the whole course is meant. */
  fileId: string | null;
}

/** A caller waits so long at most. Then it gets the error and may try again. */
const DEADLINE_MS = 6000;
const LOCK_TIMEOUT_MS = 2000;
/** A database that is away or full refuses at once: without a pause the tries would keep it busy. */
const RETRY_MS = 100;

/** The share of the pool's connections that operations may hold. */
const POOL_SHARE = 1 / 3;

export function createProgressOperations({ pool }: { pool: Pool }): ProgressOperations {
  const bulkhead = new Bulkhead({ perKey: 1, total: Math.max(1, Math.floor(pool.options.max * POOL_SHARE)) });

  function run(operation: Operation): Promise<void> {
    const { by, userId, target, activity } = operation;
    return bulkhead.run(nameOf(by), JSON.stringify([activity, userId, target, by]), () => runNow(operation));
  }

  async function runNow(operation: Operation): Promise<void> {
    const deadlineAt = performance.now() + DEADLINE_MS;
    for (;;) {
      try {
        return await withTransaction(pool, (client) => operate(client, operation));
      } catch (error) {
        if (!isTransient(error) || performance.now() > deadlineAt) throw toUnavailable(error);
        await delay(RETRY_MS);
      }
    }
  }

  return {
    reset: (userId, target, by) => run({ userId, target, by, activity: "reset", write: reset }),
    complete: (userId, target, { source, by }) =>
      run({
        ...{ userId, target, by, activity: source },
        write: (client, scope) => client.query(toComplete(scope), [...toParameters(scope), source]),
      }),
    uncomplete: (userId, target, by) =>
      run({
        ...{ userId, target, by, activity: "uncompleted" },
        write: (client, scope) => client.query(`${UNCOMPLETE} AND ${ofScope(scope)}`, toParameters(scope)),
      }),
  };
}

/** $1 is the user, $2 the course, $3 the file or null. */
function toParameters({ userId, courseId, fileId }: Scope): (string | null)[] {
  return [userId, courseId, fileId];
}

/** Not one condition for both: PostgreSQL would look at all rows of the user to find that of the file. */
function ofScope({ fileId }: Scope): string {
  return `user_id = $1 AND course_id = $2 AND ${fileId === null ? "$3::text IS NULL" : "file_id = $3"}`;
}

/** A file keeps its row, or gets one. A course costs the rows that are there, and one mark for all other files. */
async function reset(client: PoolClient, scope: Scope): Promise<void> {
  const epoch = scope.fileId === null ? await nextEpoch(client, scope) : 0;
  const { rowCount } = await client.query(`${RESET_ROWS} WHERE ${ofScope(scope)}`, [...toParameters(scope), epoch]);
  if (scope.fileId === null) await client.query(RAISE_MARK, [scope.userId, scope.courseId, epoch]);
  else if (rowCount === 0) await client.query(BEGIN_ROW, toParameters(scope));
}

/** The epoch after those of all marks that hold for a file of the course. */
async function nextEpoch(client: PoolClient, { userId, courseId }: Scope): Promise<number> {
  const { rows } = await client.query<{ epoch: number }>(
    `SELECT 1 + coalesce(max(m.epoch), 0) AS epoch FROM reset_marks AS m
     WHERE m.user_id = $1 AND (m.course_id IN ('', $2) OR m.course_id IN (
       SELECT g.course_id FROM files AS f JOIN former_files AS g ON g.file_id = f.id WHERE f.course_id = $2))`,
    [userId, courseId],
  );
  return (rows[0] as { epoch: number }).epoch;
}

/** No row stays below the mark of its course ($4). */
const RESET_ROWS = `
UPDATE user_progress SET position_ms = 0, watched = '{}', watch_time_ms = 0, reported_bp = 0, completed = false,
  completion_source = NULL, epoch = greatest(epoch + 1, $4::integer), reset_at = clock_timestamp(), last_watched = NULL,
  position_session = NULL, position_seq = NULL, writer_session = NULL, writer_seq = NULL`;

/** The row of a file that has none. */
const BEGIN_ROW = `
INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, epoch, reset_at)
SELECT $1, f.id, f.lesson_id, f.course_id, m.epoch + 1, clock_timestamp()
FROM files AS f CROSS JOIN reset_mark($1, $2, $3) AS m WHERE f.id = $3 AND f.course_id = $2`;

const RAISE_MARK = `
INSERT INTO reset_marks AS m (user_id, course_id, epoch, reset_at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (user_id, course_id, file_id) DO UPDATE SET
  epoch = greatest(m.epoch, excluded.epoch), reset_at = excluded.reset_at, version = nextval('progress_version')`;

/** Of a course the files that count; a file that is named whether it counts or not. */
const toComplete = ({ fileId }: Scope) => `
INSERT INTO user_progress AS t (user_id, file_id, lesson_id, course_id, completed, completion_source)
SELECT $1, f.id, f.lesson_id, f.course_id, true, $4 FROM files AS f
WHERE f.course_id = $2 AND ${fileId === null ? "$3::text IS NULL AND f.counted" : "f.id = $3"} ORDER BY f.id
ON CONFLICT (user_id, file_id) DO UPDATE SET completed = true, completion_source = excluded.completion_source WHERE NOT t.completed`;

const UNCOMPLETE = `
UPDATE user_progress SET completed = false, completion_source = NULL WHERE completed`;

async function operate(client: PoolClient, operation: Operation): Promise<void> {
  const { userId, target, by } = operation;
  await client.query("SELECT set_config('lock_timeout', $1, true)", [`${LOCK_TIMEOUT_MS}ms`]);
  const courseId = target.courseId ?? (await findCourseOf(client, (target as { fileId: string }).fileId));
  await client.query("SELECT lock_writers('operation', ARRAY[$1::text], ARRAY[$2::text])", [userId, courseId]);
  // Under the lock: the catalogue may have changed while the lock was awaited.
  await assertRight(client, by, courseId);
  const fileId = "fileId" in target ? target.fileId : null;
  const lessonId =
    fileId === null ? null : await findLesson(client, { courseId, fileId, isNamed: target.courseId !== undefined });
  await client.query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", [userId]);
  await operation.write(client, { userId, courseId, fileId });
  const entry = {
    user_id: userId,
    course_id: courseId,
    activity_type: operation.activity,
    actor_id: nameOf(by),
    ...(fileId === null ? {} : { file_id: fileId, lesson_id: lessonId }),
  };
  await client.query("SELECT log_activity($1)", [JSON.stringify([entry])]);
}

function nameOf(by: Operator): string {
  return typeof by === "string" ? by : by.userId;
}

async function findCourseOf(client: PoolClient, fileId: string): Promise<string> {
  const { rows } = await client.query<{ id: string }>("SELECT course_id AS id FROM files WHERE id = $1", [fileId]);
  const [course] = rows;
  if (course === undefined) throw unknownFile(fileId);
  return course.id;
}

/** @throws AppError `not_found` where there is no such course, `forbidden` where it is not the editor's own */
async function assertRight(client: PoolClient, by: Operator, courseId: string): Promise<void> {
  const { rows } = await client.query<{ instructorId: string | null }>(
    `SELECT instructor_id AS "instructorId" FROM courses WHERE id = $1`,
    [courseId],
  );
  const [course] = rows;
  if (course === undefined) throw new AppError("not_found", `There is no course ${JSON.stringify(courseId)}.`);
  if (typeof by !== "string") assertOwnCourse(by, course);
}

/** @throws AppError where the course has no such file: `not_found` if the caller named the course, else `unknown_file` */
async function findLesson(
  client: PoolClient,
  { courseId, fileId, isNamed }: { courseId: string; fileId: string; isNamed: boolean },
): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    "SELECT lesson_id AS id FROM files WHERE id = $1 AND course_id = $2",
    [fileId, courseId],
  );
  const [lesson] = rows;
  if (lesson !== undefined) return lesson.id;
  throw isNamed ? new AppError("not_found", "The course has no file of this id.") : unknownFile(fileId);
}
