import { AppError } from "../errors.ts";
import type { SchemaFiles } from "./schema-files.ts";
import { type AppliedFiles, createRecordTables, type Queryable, recordApplied } from "./schema-records.ts";

/*
 * Before 0.1.0 the schema stood in nine migrations, functions included. Today it stands in four, with the same tables
 * and indexes. A database that has had exactly the nine is taken over: its records are written anew, and `migrate` then
 * replaces its functions.
 */

const BEFORE = [
  ...["0001_catalogue", "0002_progress", "0003_locks", "0004_roll_up", "0005_catalogue_changes", "0006_streams"],
  ...["0007_mirror", "0008_write_beats", "0010_stream_claims"],
];
const AFTER = ["0001_catalogue", "0002_progress", "0003_streams", "0004_mirror"];

/** Functions of the nine. Once they are recorded, `migrate` drops those that this version no longer has. */
const FUNCTIONS = `add_to_courses add_to_lessons apply_catalogue apply_changed_catalogue complete_row course_lock
  end_session_of_stream journal_progress lock_catalogue lock_stranger_catalogue lock_stranger_progress lock_writers
  log_activity look_up_files look_up_rows make_activity_partitions multirange_ms notify_changes notify_session_deleted
  notify_stream_keys notify_streams notify_streams_deleted notify_streams_written playhead_check_course
  playhead_repair_course read_claimed recount_course recount_lessons refuse_course_change refuse_truncate roll_up_delete
  roll_up_insert roll_up_update stream_changed user_lock write_beats`.split(/\s+/);
/** The SHA-256 of no text, so every function counts as changed. */
const UNKNOWN_TEXT = "";

/** The only object of the four that the nine did not make. */
const NEW_TYPE = `
  CREATE TYPE progress_delta AS (
    user_id text, lesson_id text, course_id text, started integer, completed integer, contribution_ms bigint, watched_ms bigint
  );
  COMMENT ON TYPE progress_delta IS
    'What one statement on user_progress adds to the sums of a user and lesson; less than 0 where rows were removed.'`;

/** The nine recorded no text. That it was their last text is told by the columns that it made. */
const COLUMNS = `
  SELECT md5(string_agg(concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef),
    ',' ORDER BY c.relname COLLATE "C", a.attnum)) AS hash
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
  WHERE c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relname IN (
    'settings', 'users', 'courses', 'lessons', 'files', 'user_progress', 'lesson_progress', 'course_progress',
    'user_activity_log', 'streams', 'stream_sessions', 'mirror', 'progress_journal')`;
const COLUMNS_HASH = "fe111b448cc9d72e43f03ab2859c9b47";

/** Whether these are exactly the migrations from before the squash. */
export function isBeforeSquash(applied: AppliedFiles): boolean {
  return [...applied.keys()].join() === BEFORE.join();
}

/**
 * Writes the records of a database from before the squash anew, in the caller's transaction.
 * @throws AppError `conflict` where its tables are not those of the last text of the nine
 */
export async function takeOver(database: Queryable, files: SchemaFiles): Promise<void> {
  const { rows } = await database.query(COLUMNS);
  if (rows[0]?.hash !== COLUMNS_HASH) {
    throw new AppError(
      "conflict",
      `This database was made by an earlier, unpublished text of the migrations ${BEFORE.join(", ")}: its tables differ. ` +
        "It cannot be brought up to date. Name another database in DATABASE_URL.",
    );
  }
  await database.query("DROP TABLE schema_migrations");
  await database.query(NEW_TYPE);
  await createRecordTables(database);
  const squashed = files.migrations.filter(({ name }) => AFTER.includes(name));
  await recordApplied(database, "schema_migrations", squashed);
  const replaced = FUNCTIONS.map((name) => ({ name, sha256: UNKNOWN_TEXT }));
  await recordApplied(database, "schema_functions", replaced);
}
