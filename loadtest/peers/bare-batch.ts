import pg from "pg";
import { toMultirange } from "../../src/progress/multirange.ts";
import type { Range } from "../../src/protocol/ranges.ts";

/*
 * What a batch costs PostgreSQL at the least: the same rows written by one statement of a bare client to a table
 * without triggers, references or rules; the newest position, the union, and its length, nothing else.
 */

export interface BareRow {
  userId: string;
  fileId: string;
  lessonId: string;
  courseId: string;
  positionMs: number;
  played: readonly Range[];
}

const TABLE = `
CREATE TABLE bare_progress (
  id bigserial PRIMARY KEY,
  user_id text NOT NULL,
  file_id text NOT NULL,
  lesson_id text NOT NULL,
  course_id text NOT NULL,
  position_ms integer NOT NULL,
  watched int4multirange NOT NULL,
  watched_ms integer NOT NULL,
  last_watched timestamptz NOT NULL,
  UNIQUE (user_id, file_id)
) WITH (fillfactor = 70)`;

const STATEMENT = `
INSERT INTO bare_progress AS p (user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, last_watched)
SELECT b.user_id, b.file_id, b.lesson_id, b.course_id, b.position_ms, b.watched, b.watched_ms, now()
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::int4multirange[], $7::integer[])
  AS b (user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms)
ON CONFLICT (user_id, file_id) DO UPDATE SET
  position_ms = excluded.position_ms, last_watched = excluded.last_watched,
  (watched, watched_ms) = (
    SELECT u.watched, (SELECT sum(upper(r) - lower(r)) FROM unnest(u.watched) AS r)
    FROM (SELECT p.watched + excluded.watched AS watched OFFSET 0) AS u)
WHERE excluded.last_watched >= p.last_watched`;

export interface BareBatches {
  write(rows: BareRow[]): Promise<void>;
  end(): Promise<void>;
}

/** One connection; its table is made anew. */
export async function openBareBatches(connectionString: string): Promise<BareBatches> {
  const client = new pg.Client({ connectionString, application_name: "loadtest-bare" });
  await client.connect();
  let ended: Promise<void> | null = null;
  await client.query("DROP TABLE IF EXISTS bare_progress");
  await client.query(TABLE);
  return {
    async write(rows) {
      await client.query({
        name: "bare-batch",
        text: STATEMENT,
        values: [
          rows.map((row) => row.userId),
          rows.map((row) => row.fileId),
          rows.map((row) => row.lessonId),
          rows.map((row) => row.courseId),
          rows.map((row) => row.positionMs),
          rows.map((row) => toMultirange(row.played)),
          rows.map((row) => row.played.reduce((sum, [from, to]) => sum + to - from, 0)),
        ],
      });
    },
    end() {
      ended ??= client.end();
      return ended;
    },
  };
}
