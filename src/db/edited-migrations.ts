import type { SchemaFiles } from "./schema-files.ts";
import { type AppliedFiles, type Queryable, recordApplied } from "./schema-records.ts";

/*
 * Before 0.1.0 two migrations were edited after databases had had them, and one was published after a later number. Their
 * databases are brought in line here. The list is closed: every other edit is refused by name.
 */

interface EarlierText {
  name: string;
  sha256: string;
  /** Makes what only the text of today makes. */
  catchUp: string;
}

/** The only object of today's 0001 to 0004 that no earlier text made. */
export const MAKE_PROGRESS_DELTA = `
  CREATE TYPE progress_delta AS (
    user_id text, lesson_id text, course_id text, started integer, completed integer, contribution_ms bigint, watched_ms bigint
  );
  COMMENT ON TYPE progress_delta IS
    'What one statement on user_progress adds to the sums of a user and lesson; less than 0 where rows were removed.'`;

const EARLIER_TEXTS: readonly EarlierText[] = [
  {
    name: "0002_progress",
    sha256: "c0c860d51e1f7cf1803de45b5151af50878adb27336145cc75379803db9cc98c",
    catchUp: MAKE_PROGRESS_DELTA,
  },
  // Differs from today's in its capitals alone.
  {
    name: "0005_assumed_durations",
    sha256: "c65bcf9e3a7b13bd935a2bd93492b6de3f51a038ce254e6e8a5021e1d1d396e8",
    catchUp: "",
  },
];

/** The migration that was published after a later number, and that number. Neither touches what the other does. */
const LATE = { name: "0005_assumed_durations", after: "0008_session_leases" };

/** Whether a migration may run although the database has had a later number; `last` is the highest. */
export function mayComeLate(name: string, last: string): boolean {
  return name === LATE.name && last === LATE.after;
}

/** Whether this SHA-256 is that of an earlier text which `catchUpEdited` brings in line. */
export function isEarlierText(name: string, sha256: string): boolean {
  return EARLIER_TEXTS.some((text) => text.name === name && text.sha256 === sha256);
}

/** Whether a database has had an earlier text. */
export function hasEarlierText(applied: AppliedFiles): boolean {
  return [...applied].some(([name, sha256]) => isEarlierText(name, sha256));
}

/**
 * Makes what databases with earlier texts lack, and records the texts of today, in the caller's transaction.
 * @returns the names of the migrations that were brought in line
 */
export async function catchUpEdited(database: Queryable, files: SchemaFiles, applied: AppliedFiles): Promise<string[]> {
  const earlier = EARLIER_TEXTS.filter(({ name, sha256 }) => applied.get(name) === sha256);
  for (const { catchUp } of earlier) await database.query(catchUp);
  const names = earlier.map(({ name }) => name);
  const today = files.migrations.filter(({ name }) => names.includes(name));
  if (names.length > 0) await recordApplied(database, "schema_migrations", today);
  return names;
}
