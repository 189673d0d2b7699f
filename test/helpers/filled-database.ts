import type { TestDatabase } from "./database.ts";

/** Text that a format of lines and columns may break on. */
const AWKWARD = "tab\t newline\n return\r backslash \\ end \\.\n quote \" ' comma , null \\N ümlaut 𝒙 \u0001";

/** Writes rows into every table, with awkward text and with logs of months long gone. The triggers write the sums. */
export async function fillDatabase(database: TestDatabase): Promise<void> {
  const { query } = database;
  await query("INSERT INTO settings VALUES ('awkward', $1), ('empty', '')", [AWKWARD]);
  await query(
    "INSERT INTO users (id, username, role) VALUES ('ann', $1, 'learner'), ('bob', NULL, 'instructor'), ('cid', '', 'admin')",
    ["an\tn\\"],
  );
  await query("SELECT delete_user($1)", [AWKWARD.slice(0, 100)]);
  await query("INSERT INTO user_profiles VALUES ('ann', $1, 'claim')", [AWKWARD]);
  await query("INSERT INTO courses (id, title, instructor_id) VALUES ('c1', $1, 'bob'), ('c2', '\\.', NULL)", [
    AWKWARD,
  ]);
  await query(
    "INSERT INTO lessons (id, course_id, title) VALUES ('l1', 'c1', 'One'), ('l2', 'c1', 'Two'), ('l3', 'c2', '')",
  );
  await query("UPDATE mirror SET enabled = true, project = 'p', table_oid = 'user_progress'::regclass");
  await query(
    `INSERT INTO files (id, lesson_id, course_id, title, duration_ms, required) VALUES ('f1', 'l1', 'c1', '', 60000, true),
     ('f2', 'l1', 'c1', '', 30000, true), ('f3', 'l2', 'c1', '', NULL, true), ('f4', 'l3', 'c2', '', 1000, false),
     ('gone', 'l3', 'c2', '', 1000, true)`,
  );
  await query("INSERT INTO user_progress (user_id, file_id) VALUES ('ann', 'gone')");
  await query("DELETE FROM files WHERE id = 'gone'");
  await query(
    `INSERT INTO user_progress (user_id, file_id, watched, position_ms, last_watched, writer_session) VALUES
     ('ann', 'f1', '{[0,60000)}', 60000, '2026-01-02 03:04:05.678901+00', $1), ('ann', 'f2', '{[0,100),[500,20000)}', 7, NULL, NULL),
     ('bob', 'f2', '{}', 0, now(), ''), ('bob', 'f4', '{[1,999)}', 999, now(), 's')`,
    [AWKWARD],
  );
  await query(
    "CREATE TABLE user_activity_log_2024_02 PARTITION OF user_activity_log FOR VALUES FROM ('2024-02-01Z') TO ('2024-03-01Z')",
  );
  await query(
    `INSERT INTO user_activity_log (user_id, activity_type, "timestamp") VALUES
     ('ann', 'started', now()), ('ann', 'started', '2024-02-29 12:00Z'), ('gone', 'reset', '2019-01-01 00:00Z')`,
  );
  await query(
    "INSERT INTO webhooks (id, url, events, secret) VALUES ('w1', 'http://127.0.0.1:9/', '{stream_live}', 'whsec_')",
  );
  await query("INSERT INTO xapi_sessions (user_id, file_id, player, begun_at) VALUES ('ann', 'f1', $1, now())", [
    AWKWARD,
  ]);
  await query(
    `INSERT INTO xapi_statements (user_id, course_id, lesson_id, file_id, verb, registration, "timestamp", title, duration_ms,
       threshold, position_ms, watched, watched_ms, watch_time_ms, reached)
     VALUES ('ann', 'c1', 'l1', 'f1', 'paused', gen_random_uuid(), now(), $1, 60000, 0.9, 7, '{[0,7)}', 7, 7, false)`,
    [AWKWARD],
  );
  await query("INSERT INTO xapi_queue (seq, refused_at, error) SELECT seq, now(), $1 FROM xapi_statements", [AWKWARD]);
  await query("INSERT INTO webhook_events (id, type, data) VALUES ('evt_1', 'stream_live', '{}')");
  await query("INSERT INTO webhook_deliveries (webhook_id, event_id, last_error) VALUES ('w1', 'evt_1', $1)", [
    AWKWARD,
  ]);
  await query(
    "INSERT INTO streams (id, user_id, title, key_hash, key_prefix) VALUES ('s1', 'bob', $1, sha256('one'), 'abc')",
    [AWKWARD],
  );
  await query(
    `INSERT INTO stream_sessions (stream_id, key_hash, claim, server, boot, connection, state, started_at, ended_at, client_ip)
     VALUES ('s1', sha256('one'), 'claim', 'ingest', 'boot', '1', 'ended', now() - interval '1 h', now(), '::1')`,
  );
}

/**
 * Every row of every table as text, generated columns too; of a partitioned table once, by its own name. Of what the
 * mirror followed last nothing is said: a restore makes that another one.
 */
export async function readEveryRow({ query }: TestDatabase): Promise<Record<string, string[]>> {
  const tables = await query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
     AND NOT relispartition AND relname NOT LIKE 'schema\\_%' ORDER BY 1`,
  );
  const found: Record<string, string[]> = {};
  for (const { name } of tables) {
    const source = name === "mirror" ? "(SELECT enabled, project, cursor, pass FROM mirror)" : name;
    const rows = await query<{ row: string }>(`SELECT t::text AS row FROM ${source} t ORDER BY 1`);
    found[name] = rows.map(({ row }) => row);
  }
  return found;
}
