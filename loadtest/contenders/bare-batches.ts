import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { onEnd } from "../harness/cleanup.ts";

/*
 * The least that batches of heartbeats cost PostgreSQL: statements of a bare client, into tables without triggers and
 * references.
 */

export interface BareRow {
  userId: string;
  fileId: string;
  lessonId: string;
  courseId: string;
  positionMs: number;
  played: readonly (readonly [fromMs: number, toMs: number])[];
}

/**
 * The rows that a batch writes. `own`: for each heartbeat the user's row of the file, with the newest position, the union of
 * the watched ranges, and its length. `sums`: the same, and the user's rows of the lesson and the course, to which the played
 * time is added. `copy`: one row for each heartbeat by COPY into a table without keys.
 */
export type BareWrite = "own" | "sums" | "copy";

export type BareBatches = Awaited<ReturnType<typeof openBareBatches>>;

const OWN_TABLE = `
CREATE TABLE bare_progress (
  user_id text NOT NULL, file_id text NOT NULL, lesson_id text NOT NULL, course_id text NOT NULL,
  position_ms integer NOT NULL, watched int4multirange NOT NULL, watched_ms integer NOT NULL, last_watched timestamptz NOT NULL,
  PRIMARY KEY (user_id, file_id)
) WITH (fillfactor = 70)`;

const sumTable = (name: string, id: string) => `
CREATE TABLE ${name} (
  user_id text NOT NULL, ${id} text NOT NULL, watched_ms bigint NOT NULL, last_updated timestamptz NOT NULL,
  PRIMARY KEY (user_id, ${id})
) WITH (fillfactor = 70)`;

const COPY_TABLE = `
CREATE TABLE bare_copy (
  user_id text NOT NULL, file_id text NOT NULL, lesson_id text NOT NULL, course_id text NOT NULL,
  position_ms integer NOT NULL, watched int4multirange NOT NULL, watched_ms integer NOT NULL
)`;

const UPSERT_OWN = `
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

const upsertSum = (name: string, id: string, ids: string) => `
INSERT INTO ${name} AS s (user_id, ${id}, watched_ms, last_updated)
SELECT b.user_id, b.id, b.watched_ms, now() FROM unnest($1::text[], ${ids}::text[], $7::integer[]) AS b (user_id, id, watched_ms)
ON CONFLICT (user_id, ${id}) DO UPDATE SET watched_ms = s.watched_ms + excluded.watched_ms, last_updated = excluded.last_updated`;

const STATEMENTS: Record<BareWrite, { tables: string[]; write: string }> = {
  own: { tables: [OWN_TABLE], write: UPSERT_OWN },
  sums: {
    tables: [OWN_TABLE, sumTable("bare_lessons", "lesson_id"), sumTable("bare_courses", "course_id")],
    write: `WITH own AS (${UPSERT_OWN}), lessons AS (${upsertSum("bare_lessons", "lesson_id", "$3")}) ${upsertSum("bare_courses", "course_id", "$4")}`,
  },
  copy: {
    tables: [COPY_TABLE],
    write: "COPY bare_copy (user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms) FROM STDIN",
  },
};

/** Opens one connection, and makes the tables. */
export async function openBareBatches(connectionString: string, kind: BareWrite) {
  const { tables, write } = STATEMENTS[kind];
  const client = new pg.Client({ connectionString, application_name: `loadtest-bare-${kind}` });
  // A server that stops first ends the connection.
  client.on("error", () => undefined);
  await client.connect();
  await client.query(`CREATE SCHEMA bare_${kind}; SET search_path = bare_${kind}`);
  for (const table of tables) await client.query(table);
  onEnd(() => client.end());
  return {
    /** Resolves after COMMIT. With `sums`, all rows of a batch are of different users. */
    async write(rows: readonly BareRow[]): Promise<void> {
      // The text format of COPY escapes no letter of these ids.
      if (kind === "copy")
        await pipeline([rows.map((row) => `${toFields(row).join("\t")}\n`).join("")], client.query(copyFrom(write)));
      else await client.query({ name: "bare", text: write, values: toColumns(rows) });
    },
    /** Empties the table of COPY, so that all rounds start alike. */
    empty: async () => void (kind === "copy" && (await client.query("TRUNCATE bare_copy"))),
  };
}

function toFields({ userId, fileId, lessonId, courseId, positionMs, played }: BareRow): (string | number)[] {
  const watched = `{${played.map(([from, to]) => `[${from},${to})`).join(",")}}`;
  const watchedMs = played.reduce((sum, [from, to]) => sum + to - from, 0);
  return [userId, fileId, lessonId, courseId, positionMs, watched, watchedMs];
}

/** One array for each column. */
function toColumns(rows: readonly BareRow[]): (string | number)[][] {
  const fields = rows.map(toFields);
  return (fields[0] ?? []).map((_, i) => fields.map((row) => row[i] as string | number));
}
