import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { toMultirange } from "../../src/progress/multirange.ts";
import type { BareRow } from "./bare-batch.ts";

/*
 * The most that PostgreSQL takes of such rows: COPY into a table without keys, where nothing is looked up, merged or
 * kept unique. Not a design, a limit.
 */

const TABLE = `
CREATE TABLE copied_progress (
  user_id text NOT NULL,
  file_id text NOT NULL,
  lesson_id text NOT NULL,
  course_id text NOT NULL,
  position_ms integer NOT NULL,
  watched int4multirange NOT NULL,
  watched_ms integer NOT NULL
)`;

const COPY =
  "COPY copied_progress (user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms) FROM STDIN";

export interface Copies {
  write(rows: BareRow[]): Promise<void>;
  /** So that rounds find the same table; nothing that was copied is kept. */
  empty(): Promise<void>;
  end(): Promise<void>;
}

/** One connection; its table is made anew. A batch is a transaction of its own. */
export async function openCopies(connectionString: string): Promise<Copies> {
  const client = new pg.Client({ connectionString, application_name: "loadtest-copy" });
  await client.connect();
  let ended: Promise<void> | null = null;
  await client.query("DROP TABLE IF EXISTS copied_progress");
  await client.query(TABLE);
  return {
    write: (rows) => pipeline([rows.map(toLine).join("")], client.query(copyFrom(COPY))),
    empty: async () => void (await client.query("TRUNCATE copied_progress")),
    end() {
      ended ??= client.end();
      return ended;
    },
  };
}

/** COPY's text format; nothing in these ids is to be escaped. */
function toLine({ userId, fileId, lessonId, courseId, positionMs, played }: BareRow): string {
  const watchedMs = played.reduce((sum, [from, to]) => sum + to - from, 0);
  return `${userId}\t${fileId}\t${lessonId}\t${courseId}\t${positionMs}\t${toMultirange(played)}\t${watchedMs}\n`;
}
