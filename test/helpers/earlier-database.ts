import { toSha256 } from "../../src/db/schema-files.ts";
import { hashStreamKey } from "../../src/streams/keys/stream-key.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import type { EarlierSchema } from "./earlier-schemas.ts";

/*
 * Databases as earlier versions left them: their tables, their record of what was applied, and rows in their own shape.
 */

/** The key of the stream that is ready. */
export const STREAM_KEY = "phk_of_an_earlier_version";

/** Makes a database with the tables, functions and records of an earlier version. Drop it after the test. */
export async function createEarlierDatabase(schema: EarlierSchema): Promise<TestDatabase> {
  const database = await createTestDatabase({ migrated: false });
  const { migrations, functions } = schema;
  // Functions of later files are not there yet where a body names them.
  const all = [...migrations.values(), "SET check_function_bodies = off", ...functions.values()];
  await database.query([...all, "RESET check_function_bodies"].join(";\n"));
  if (functions.size === 0) await recordNames(database, [...migrations.keys()]);
  else {
    await recordTexts(database, "schema_migrations", migrations);
    await recordTexts(database, "schema_functions", functions);
  }
  return database;
}

/** Applies the migrations that a database lacks by name, as versions did that recorded no text. */
export async function applyByName(database: TestDatabase, { migrations }: EarlierSchema): Promise<void> {
  const applied = await database.query<{ name: string }>("SELECT name FROM schema_migrations");
  const had = new Set(applied.map(({ name }) => name));
  for (const [name, text] of migrations) {
    if (had.has(name)) continue;
    await database.query(text);
    await database.query("INSERT INTO schema_migrations (name, run_on) VALUES ($1, now())", [name]);
  }
}

/** As node-pg-migrate did, which Playhead used before it recorded texts. */
async function recordNames(database: TestDatabase, names: string[]): Promise<void> {
  await database.query(
    "CREATE TABLE schema_migrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL)",
  );
  await database.query(
    "INSERT INTO schema_migrations (name, run_on) SELECT name, now() FROM unnest($1::text[]) AS name",
    [names],
  );
}

async function recordTexts(database: TestDatabase, table: string, texts: Map<string, string>): Promise<void> {
  await database.query(
    `CREATE TABLE ${table} (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`,
  );
  const hashes = [...texts.values()].map(toSha256);
  await database.query(`INSERT INTO ${table} (name, sha256) SELECT * FROM unnest($1::text[], $2::text[])`, [
    [...texts.keys()],
    hashes,
  ]);
}

/**
 * Writes rows into every table that is there, and changes some of them. Columns that the tables lack are left out. The
 * triggers of the earlier version write the sums, the log of changes and the mirror's journal.
 */
export async function seedEarlierDatabase(database: TestDatabase): Promise<void> {
  const { query } = database;
  const found = await query<{ table: string; columns: string[] }>(
    `SELECT table_name AS table, array_agg(column_name::text) AS columns FROM information_schema.columns
     WHERE table_schema = 'public' GROUP BY table_name`,
  );
  const columns = new Map(found.map((row) => [row.table, row.columns]));
  const insert = async (table: string, ...rows: Record<string, unknown>[]) => {
    const known = columns.get(table) ?? [];
    for (const row of known.length === 0 ? [] : rows) {
      const entries = Object.entries(row).filter(([name]) => known.includes(name));
      const names = entries.map(([name]) => `"${name}"`);
      await query(
        `INSERT INTO ${table} (${names}) VALUES (${entries.map((_, i) => `$${i + 1}`)})`,
        entries.map(([, value]) => value),
      );
    }
  };

  await insert("settings", { name: "of-an-operator", value: "kept" });
  await insert(
    "users",
    { id: "ann", username: "Ann" },
    { id: "bob", role: "instructor" },
    { id: "cid", email: "c@d.e" },
  );
  await insert(
    "courses",
    { id: "c1", title: "Course", instructor_id: "bob" },
    { id: "c2", title: "Unknown durations" },
  );
  await insert(
    "lessons",
    { id: "l1", course_id: "c1", title: "One", position: 1 },
    { id: "l2", course_id: "c1", title: "Two", position: 2 },
    { id: "l3", course_id: "c2", title: "Three" },
  );
  const inCourse = { lesson_id: "l1", course_id: "c1", title: "File" };
  await insert(
    "files",
    { ...inCourse, id: "f1", duration_ms: 60_000 },
    { ...inCourse, id: "f2", duration_ms: 30_001, start_ms: 1000, credits_at_ms: 29_000, completion_threshold: 0.5 },
    { ...inCourse, id: "f3", lesson_id: "l2", duration_ms: null },
    { ...inCourse, id: "f4", lesson_id: "l2", duration_ms: 20_000, required: false },
    { ...inCourse, id: "f5", lesson_id: "l2", duration_ms: 10_000 },
    { ...inCourse, id: "f6", lesson_id: "l3", course_id: "c2", duration_ms: null },
  );
  await query(columns.has("mirror") ? "UPDATE mirror SET enabled = true, project = 'p', cursor = '7'" : "SELECT");

  const seen = "2026-01-02 03:04:05.678901+00";
  const of = (user_id: string, file_id: string) => ({
    ...{ user_id, file_id, lesson_id: "l1", course_id: "c1", last_watched: seen, beat_at: seen },
    ...{ position_session: "s", position_seq: 3, writer_session: "s", writer_seq: 3 },
  });
  await insert(
    "user_progress",
    { ...of("ann", "f1"), watched: "{[0,60000)}", position_ms: 60_000, watch_time_ms: 80_000 },
    { ...of("ann", "f2"), watched: "{[0,100),[500,9000)}", position_ms: 9000 },
    { ...of("ann", "f3"), lesson_id: "l2", watched: "{[0,7000)}", position_ms: 7000 },
    { ...of("ann", "f4"), lesson_id: "l2", watched: "{[1,20000)}", position_ms: 20_000 },
    { ...of("bob", "f2"), reported_bp: 4321, position_ms: 3 },
    { ...of("bob", "f5"), lesson_id: "l2", watched: "{[0,4000)}", completed: true, completion_source: "manual" },
    { ...of("bob", "f6"), lesson_id: "l3", course_id: "c2", watched: "{[0,4000)}", position_ms: 4000 },
    { user_id: "cid", file_id: "f1", lesson_id: "l1", course_id: "c1", epoch: 2, reset_at: seen },
    { ...of("cid", "f5"), lesson_id: "l2", watched: "{[0,9999)}" },
  );
  // A shorter file than what was watched of it, one that no longer counts, and one that is gone with its progress.
  await query("UPDATE files SET duration_ms = 8000 WHERE id = 'f2'");
  await query("UPDATE files SET retired_at = now() WHERE id = 'f5'");
  await query("DELETE FROM user_progress WHERE user_id = 'ann' AND file_id = 'f4'");
  await insert("user_activity_log", { user_id: "ann", file_id: "f1", activity_type: "started", timestamp: seen });

  const hash = hashStreamKey(STREAM_KEY);
  const other = hashStreamKey("phk_of_a_stream_that_is_live");
  const stream = { user_id: "bob", title: "Talk", key_prefix: "phk_of" };
  await insert(
    "streams",
    { ...stream, id: "s1", key_hash: hash },
    { ...stream, id: "s2", key_hash: other, status: "live", started_at: seen },
  );
  const session = { server: "edge-1", boot: "b", started_at: seen };
  await insert(
    "stream_sessions",
    { ...session, stream_id: "s1", claim: "1", connection: "1", key_hash: hash, state: "ended", ended_at: seen },
    {
      ...session,
      stream_id: "s2",
      claim: "2",
      connection: "2",
      key_hash: other,
      state: "live",
      lease_until: "infinity",
    },
  );
}
