import type { QueryResult } from "pg";
import { createCatalogueStore } from "../../src/catalogue/catalogue-store.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createPool } from "../../src/db/pool.ts";
import { createLogger } from "../../src/logger.ts";
import type { Tell } from "../harness/section.ts";
import { DURATION_SECONDS, FILES_PER_LESSON, makeCourseTree, toCourseId } from "../load/catalogue.ts";
import { withClient } from "../load/database.ts";

/*
 * Databases that look as if heartbeats had filled them: rows are made by INSERT … SELECT with the triggers off, lessons and
 * courses from the sums of the same rows. Whether the sums are right is asked at the end of the run.
 */

export const COURSES = 20;
export const FILES_A_COURSE = 20;
/** Files of its course that a user has begun. */
export const FILES_A_USER = 10;
/** Watched of every row's file before the measuring. */
export const FILLED_MS = 10_000;

const USERS_A_STATEMENT = 10_000;
/** The machine's two cores fill. */
const CONNECTIONS = 2;

/** A user's rows: course `u % 20`, and in it ten files from `u / 20` on, as `rowOf` of workload.ts. */
const FILL = `
WITH made AS (
  INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, watch_time_ms,
    last_watched, position_session, position_seq, writer_session, writer_seq, duration_ms, beat_at)
  SELECT 'loadtest-user-' || lpad(u::text, 14, '0'), course || '-file-' || file, course || '-lesson-' || file / ${FILES_PER_LESSON}, course,
    ${FILLED_MS}, '{[0,${FILLED_MS})}', ${FILLED_MS}, ${FILLED_MS}, now(), session, 0, session, 0, ${DURATION_SECONDS * 1000},
    -- Nobody comes back to a file after a pause, which would be logged.
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

/** Makes the schema, the catalogue, and all rows, vacuumed and analysed. */
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

/** Drops the indexes whose keys come in no order while users are filled one after another. @returns how to make them anew */
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

/** Runs statements on a connection of their own. @returns the last one's answer */
function runAlone(url: string, ...statements: string[]): Promise<QueryResult<Record<string, string>>> {
  return withClient(url, async (client) => {
    for (const statement of statements.slice(0, -1)) await client.query(statement);
    return await client.query(statements.at(-1) as string);
  });
}
