import type { QueryResult } from "pg";
import { createCatalogueStore } from "../../src/catalogue/catalogue-store.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createPool } from "../../src/db/pool.ts";
import { createLogger } from "../../src/logger.ts";
import type { Tell } from "../harness/section.ts";
import { DURATION_SECONDS, FILES_PER_LESSON, makeCourseTree, toCourseId } from "../load/catalogue.ts";
import { withClient } from "../load/database.ts";

/*
 * Fills a database as heartbeats would: INSERT … SELECT makes the rows with the triggers off, and the lessons and courses
 * from sums of the same rows. The end of the run checks these sums.
 */

export const COURSES = 20;
export const FILES_A_COURSE = 20;
/** The number of files that each user has started, all in one course. */
export const FILES_A_USER = 10;
/** Each row has this much watched. */
export const FILLED_MS = 10_000;

const USERS_A_STATEMENT = 10_000;
/** As many as the machine has cores. */
const CONNECTIONS = 2;

/** User `u` has ten files of course `u % 20`, from file `u / 20` on; `rowOf` in workload.ts does the same. */
const FILL = `
WITH made AS (
  INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, watch_time_ms,
    last_watched, position_session, position_seq, writer_session, writer_seq, duration_ms, beat_at)
  SELECT 'loadtest-user-' || lpad(u::text, 14, '0'), course || '-file-' || file, course || '-lesson-' || file / ${FILES_PER_LESSON}, course,
    ${FILLED_MS}, '{[0,${FILLED_MS})}', ${FILLED_MS}, ${FILLED_MS}, now(), session, 0, session, 0, ${DURATION_SECONDS * 1000},
    -- In the future, because the server logs who comes back after a pause.
    now() + interval '1 hour'
  FROM generate_series($1::integer, $2::integer) AS u CROSS JOIN generate_series(0, ${FILES_A_USER - 1}) AS k
    CROSS JOIN LATERAL (SELECT (u / ${COURSES} + k) % ${FILES_A_COURSE} AS file, 'loadtest-course-' || u % ${COURSES} AS course) AS f
    CROSS JOIN LATERAL (SELECT 'session-of-' || u || '-in-' || file AS session) AS s
  RETURNING user_id, lesson_id, course_id, contribution_ms, watched_ms
), lesson_sums AS (
  INSERT INTO lesson_progress (user_id, lesson_id, course_id, total_files, total_ms, started_files, completed_files, contribution_ms, watched_ms)
  SELECT m.user_id, m.lesson_id, m.course_id, l.total_files, l.total_ms, count(*), 0, sum(m.contribution_ms), sum(m.watched_ms)
  FROM made AS m JOIN lessons AS l ON l.id = m.lesson_id GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2
  RETURNING user_id, course_id, started_files, contribution_ms, watched_ms
)
INSERT INTO course_progress (user_id, course_id, total_files, total_ms, started_files, completed_files, contribution_ms, watched_ms)
SELECT s.user_id, s.course_id, c.total_files, c.total_ms, sum(s.started_files), 0, sum(s.contribution_ms), sum(s.watched_ms)
FROM lesson_sums AS s JOIN courses AS c ON c.id = s.course_id GROUP BY 1, 2, 3, 4 ORDER BY 1`;

/** Makes the schema, the catalogue and all rows; then VACUUM (ANALYZE). */
export async function fillDatabase({ url, users, tell }: { url: string; users: number; tell: Tell }): Promise<void> {
  await makeCatalogue(url);
  const makeIndexes = await dropIndexes(url);
  let [next, done] = [0, 0];
  const fill = () =>
    withClient(url, async (client) => {
      await client.query("SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '64MB'");
      while (next < users) {
        const range = [next, Math.min(users, next + USERS_A_STATEMENT) - 1] as const;
        next = range[1] + 1;
        await client.query(
          "INSERT INTO users (id) SELECT 'loadtest-user-' || lpad(u::text, 14, '0') FROM generate_series($1::integer, $2::integer) AS u",
          [...range],
        );
        await client.query(FILL, [...range]);
        done += range[1] - range[0] + 1;
        tell("filling", (done / users) * 0.7);
      }
    });
  await Promise.all(Array.from({ length: CONNECTIONS }, fill));
  tell("indexing", 0.7);
  await makeIndexes();
  tell("vacuuming", 0.9);
  const tables = ["user_progress", "lesson_progress, course_progress, users, files, lessons, courses"];
  await Promise.all(tables.map((names) => runAlone(url, `VACUUM (ANALYZE) ${names}`)));
}

async function makeCatalogue(url: string): Promise<void> {
  const logger = createLogger({ level: "fatal" });
  await migrate({ connectionString: url, logger });
  const pool = createPool({ connectionString: url, max: 1, queryTimeoutMs: 0, applicationName: "loadtest", logger });
  const catalogue = createCatalogueStore({ pool });
  for (let i = 0; i < COURSES; i++) await catalogue.put(toCourseId(i), makeCourseTree(i, FILES_A_COURSE));
  await pool.end();
}

/** Drops indexes that are slow to fill, as users come in another order than their keys. @returns a function to make them */
async function dropIndexes(url: string): Promise<() => Promise<void>> {
  const { rows } = await runAlone(
    url,
    `SELECT indexname, indexdef FROM pg_indexes
     WHERE indexname IN ('user_progress_file', 'lesson_progress_lesson', 'course_progress_course')`,
  );
  await runAlone(url, `DROP INDEX ${rows.map((row) => row.indexname).join(", ")}`);
  return async () => {
    const settings = "SET maintenance_work_mem = '512MB'";
    await Promise.all(rows.map((row) => runAlone(url, settings, row.indexdef ?? "")));
  };
}

/** Runs the statements on a new connection. @returns the result of the last one */
function runAlone(url: string, ...statements: string[]): Promise<QueryResult<Record<string, string>>> {
  return withClient(url, async (client) => {
    for (const statement of statements.slice(0, -1)) await client.query(statement);
    return await client.query(statements.at(-1) as string);
  });
}
