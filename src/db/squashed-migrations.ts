import { AppError } from "../errors.ts";
import { MAKE_PROGRESS_DELTA } from "./edited-migrations.ts";
import type { SchemaFiles } from "./schema-files.ts";
import { type AppliedFiles, createRecordTables, type Queryable, recordApplied } from "./schema-records.ts";

/*
 * Before 0.1.0 the schema stood in nine migrations, functions included, whose texts were edited while their number grew.
 * Today the same tables stand in four. A database that has had the first five of the nine, or more, is taken over, whatever
 * their texts were: its tables get what they lack, and its records are written anew. `migrate` then applies what is new, and
 * replaces its functions.
 */

/** In the order in which they were published. */
const BEFORE = [
  ...["0001_catalogue", "0002_progress", "0003_locks", "0004_roll_up", "0005_catalogue_changes"],
  ...["0006_streams", "0007_mirror", "0010_stream_claims", "0008_write_beats"],
];
/** So many the first version had. */
const FEWEST = 5;

/** A part of the schema that came with one of the nine. */
interface Part {
  cameWith: string;
  /** The migrations of today that make it. */
  squashed: readonly string[];
  tables: readonly string[];
  /** Gives tables of every earlier text what they lack. Changes nothing in tables of the last text. */
  catchUp: string;
  /** Of the columns of these tables, in any order, as the last text made them. */
  columnsHash: string;
}

const PARTS: readonly Part[] = [
  {
    cameWith: "0001_catalogue",
    squashed: ["0001_catalogue", "0002_progress"],
    tables: [
      ...["settings", "users", "courses", "lessons", "files"],
      ...["user_progress", "lesson_progress", "course_progress", "user_activity_log"],
    ],
    catchUp: `
      ALTER TABLE courses ADD COLUMN IF NOT EXISTS catalogue_version bigint NOT NULL DEFAULT 0;
      ALTER TABLE user_progress ADD COLUMN IF NOT EXISTS beat_at timestamptz, ADD COLUMN IF NOT EXISTS base_version bigint;
      DO $$ BEGIN
        IF (pg_get_indexdef(to_regclass('courses_instructor')) LIKE '%(instructor_id)') IS NOT TRUE THEN
          DROP INDEX IF EXISTS courses_instructor;
          CREATE INDEX courses_instructor ON courses (instructor_id);
        END IF;
        IF (pg_get_indexdef(to_regclass('user_progress_file')) LIKE '%(file_id, user_id)') IS NOT TRUE THEN
          DROP INDEX IF EXISTS user_progress_file;
          CREATE INDEX user_progress_file ON user_progress (file_id, user_id);
        END IF;
      END $$`,
    columnsHash: "592660eaf7edb7d2819ba2fbad87364d",
  },
  {
    cameWith: "0006_streams",
    squashed: ["0003_streams"],
    tables: ["streams", "stream_sessions"],
    catchUp: `
      ALTER TABLE stream_sessions ADD COLUMN IF NOT EXISTS drop_reason text;
      ALTER TABLE stream_sessions ADD COLUMN IF NOT EXISTS key_hash bytea CHECK (octet_length(key_hash) = 32);
      ALTER TABLE stream_sessions ALTER COLUMN key_hash DROP NOT NULL;
      DO $$ BEGIN
        IF (pg_get_indexdef(to_regclass('stream_sessions_server')) LIKE '%(server, claimed_at)') IS NOT TRUE THEN
          DROP INDEX IF EXISTS stream_sessions_server;
          CREATE INDEX stream_sessions_server ON stream_sessions (server, claimed_at);
        END IF;
      END $$;
      CREATE INDEX IF NOT EXISTS stream_sessions_connection ON stream_sessions (server, connection, claimed_at);
      CREATE INDEX IF NOT EXISTS stream_sessions_drops ON stream_sessions (ended_at) WHERE drop_reason IS NOT NULL;
      CREATE INDEX IF NOT EXISTS stream_sessions_drops_of_stream
        ON stream_sessions (stream_id, ended_at) WHERE drop_reason IS NOT NULL;
      CREATE INDEX IF NOT EXISTS stream_sessions_drops_of_server
        ON stream_sessions (server, boot, ended_at) WHERE drop_reason IS NOT NULL`,
    columnsHash: "ab3a75847f54a05ad64304dba94c06e4",
  },
  {
    cameWith: "0007_mirror",
    squashed: ["0004_mirror"],
    tables: ["mirror", "progress_journal"],
    catchUp: "ALTER TABLE mirror ADD COLUMN IF NOT EXISTS database_oid oid",
    columnsHash: "79dee1874ee3e40be59b894b6d647dce",
  },
];

/** Functions of the nine. Once they are recorded, `migrate` drops those that this version no longer has. */
const FUNCTIONS = `add_to_courses add_to_lessons apply_catalogue apply_changed_catalogue complete_row course_lock
  end_session_of_stream journal_progress lock_catalogue lock_stranger_catalogue lock_stranger_progress lock_writers
  log_activity look_up_files look_up_rows make_activity_partitions multirange_ms notify_changes notify_session_deleted
  notify_stream_keys notify_streams notify_streams_deleted notify_streams_written playhead_check_course
  playhead_repair_course read_claimed recount_course recount_lessons refuse_course_change refuse_truncate roll_up_delete
  roll_up_insert roll_up_update stream_changed user_lock write_beats`.split(/\s+/);
/** The SHA-256 of no text, so every function counts as changed. */
const UNKNOWN_TEXT = "";

/** The nine recorded no text. That the tables are theirs is told by the columns. */
const COLUMNS = `
  SELECT md5(string_agg(concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef),
    ',' ORDER BY c.relname COLLATE "C", a.attname COLLATE "C")) AS hash
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
  WHERE c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relname = ANY ($1)`;

/** Whether these are migrations from before the squash, as some version had them. */
export function isBeforeSquash(applied: AppliedFiles): boolean {
  const published = BEFORE.slice(0, Math.max(FEWEST, applied.size));
  return [...applied.keys()].join() === published.sort().join();
}

/**
 * Brings the tables of a database from before the squash in line and writes its records anew, in the caller's transaction.
 * @throws AppError `conflict` where its tables are not those of the nine
 */
export async function takeOver(database: Queryable, files: SchemaFiles, applied: AppliedFiles): Promise<void> {
  const parts = PARTS.filter(({ cameWith }) => applied.has(cameWith));
  for (const { tables, catchUp, columnsHash } of parts) {
    await database.query(catchUp);
    const { rows } = await database.query(COLUMNS, [tables]);
    if (rows[0]?.hash !== columnsHash) throw toRefusal(applied, tables);
  }
  await database.query("DROP TABLE schema_migrations");
  await database.query(MAKE_PROGRESS_DELTA);
  await createRecordTables(database);
  const squashed = parts.flatMap((part) => part.squashed);
  await recordApplied(
    database,
    "schema_migrations",
    files.migrations.filter(({ name }) => squashed.includes(name)),
  );
  const replaced = FUNCTIONS.map((name) => ({ name, sha256: UNKNOWN_TEXT }));
  await recordApplied(database, "schema_functions", replaced);
}

function toRefusal(applied: AppliedFiles, tables: readonly string[]): AppError {
  return new AppError(
    "conflict",
    `This database has had the migrations ${[...applied.keys()].join(", ")} of an earlier version, but its tables are not ` +
      `theirs: somebody changed the columns of ${tables.join(", ")}. Undo that, or name another database in DATABASE_URL.`,
  );
}
