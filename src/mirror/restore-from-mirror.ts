import { type Pool, type PoolClient, withTransaction } from "../db/pool.ts";
import { isTransient } from "../db/sqlstate.ts";
import { AppError } from "../errors.ts";
import type { FirestoreMirror } from "./firestore-mirror.ts";
import { adopt } from "./mirror-state.ts";
import { restoreDeletions, withoutDeleted } from "./mirrored-deletions.ts";
import { inUtc, type MirroredRow, TIMES } from "./mirrored-row.ts";

/*
 * Rebuilds user_progress from the mirror, page by page. A page is written under the locks of a batch, with every column
 * given; the triggers keep the sums. Lesson, course, duration and whether a file counts come from today's catalogue. The
 * marks of resets are not in the mirror: they follow from the rows.
 */

/**
 * Added to the versions. Players and dashboards may have seen higher versions than the mirror holds, and would ignore
 * lower ones.
 */
const LIFT = 1_000_000_000;

export interface RestoreReport {
  /** Rows that were read from the mirror. */
  read: number;
  restored: number;
  /** Rows that the database already had in the same version or a later one. */
  kept: number;
  /** Files that the catalogue does not know, with the number of their skipped rows. */
  unknownFiles: Map<string, number>;
  /** Rows that the database refused, with its reason. */
  refused: { userId: string; fileId: string; reason: string }[];
  /** Documents that Playhead did not write. */
  foreign: number;
  /** Rows of users from before they were deleted. */
  deleted: number;
  /** Users whom the database had from before they were deleted. They are deleted again. */
  usersDeletedAgain: number;
}

export interface RestoreParts {
  pool: Pool;
  mirror: FirestoreMirror;
}

/**
 * Restores all rows of the mirror.
 * @param force merges into a database that has progress: of each row the one with the higher version stays
 * @throws AppError `conflict` where the database has progress and `force` is not given
 */
export async function restoreFromMirror(
  { pool, mirror }: RestoreParts,
  { force, onPage = () => undefined }: { force: boolean; onPage?: (report: RestoreReport) => void },
): Promise<RestoreReport> {
  if (!force) await assertNoProgress(pool);
  const report: RestoreReport = {
    read: 0,
    restored: 0,
    kept: 0,
    unknownFiles: new Map(),
    refused: [],
    foreign: 0,
    deleted: 0,
    usersDeletedAgain: 0,
  };
  report.usersDeletedAgain = await restoreDeletions({ pool, mirror });
  await lift(pool, 0);
  let liftedAgain = false;
  for await (const { rows, foreign } of mirror.pages()) {
    report.foreign += foreign;
    report.read += rows.length;
    const highest = rows.reduce((version, row) => Math.max(version, row.version), 0);
    if (await isBehind(pool, highest)) {
      await lift(pool, highest);
      liftedAgain = report.restored > 0;
    }
    const wanted = await withoutDeleted({ pool, mirror }, rows);
    report.deleted += rows.length - wanted.length;
    await restorePage(pool, await withoutUnknown(pool, wanted, report), report);
    onPage(report);
  }
  await restoreMarks(pool);
  // The sums of earlier pages got versions from before the second lift.
  if (liftedAgain) await renewSums(pool);
  // Skipped rows stay in the mirror, so nothing is deleted there.
  await adopt(pool, { project: mirror.projectId, pass: "check", deleteUnknown: false });
  return report;
}

async function assertNoProgress(pool: Pool): Promise<void> {
  const { rowCount } = await pool.query("SELECT FROM user_progress LIMIT 1");
  if (rowCount === 0) return;
  throw new AppError(
    "conflict",
    "The database has progress. `--force` merges: of each row the one with the higher version stays.",
  );
}

async function isBehind(pool: Pool, version: number): Promise<boolean> {
  const { rows } = await pool.query<{ behind: boolean }>(
    "SELECT last_value <= $1::bigint AS behind FROM progress_version",
    [version],
  );
  return rows[0]?.behind ?? false;
}

async function lift(pool: Pool, version: number): Promise<void> {
  await pool.query(
    "SELECT setval('progress_version', greatest(nextval('progress_version'), $1::bigint) + $2::bigint)",
    [version, LIFT],
  );
}

async function withoutUnknown(pool: Pool, rows: MirroredRow[], report: RestoreReport): Promise<MirroredRow[]> {
  const { rows: files } = await pool.query<{ id: string }>("SELECT id FROM files WHERE id = ANY($1::text[])", [
    [...new Set(rows.map((row) => row.fileId))],
  ]);
  const known = new Set(files.map((file) => file.id));
  for (const { fileId } of rows) {
    if (!known.has(fileId)) report.unknownFiles.set(fileId, (report.unknownFiles.get(fileId) ?? 0) + 1);
  }
  return rows.filter((row) => known.has(row.fileId));
}

/** Restores the rows of a page. Where the database refuses one of them, each row is tried alone. */
async function restorePage(pool: Pool, rows: MirroredRow[], report: RestoreReport): Promise<void> {
  if (rows.length === 0) return;
  try {
    const restored = await withTransaction(pool, async (client) => {
      // What is restored was announced when it happened.
      await client.query("SET LOCAL playhead.announce = 'off'");
      return await insert(client, rows);
    });
    report.restored += restored;
    report.kept += rows.length - restored;
  } catch (error) {
    if (isTransient(error)) throw error;
    const [row] = rows as [MirroredRow];
    if (rows.length > 1) for (const alone of rows) await restorePage(pool, [alone], report);
    else report.refused.push({ userId: row.userId, fileId: row.fileId, reason: (error as Error).message });
  }
}

/*
 * A row that is not completed is completed now where the duration of its file has changed and the watched length
 * reaches today's threshold. Where the duration is the same the row stays as it was: somebody may have taken its
 * completion back.
 */
const INSERT = `
INSERT INTO user_progress AS t (user_id, file_id, lesson_id, course_id, duration_ms, assumed_ms, counted, position_ms, watched, watched_ms,
  watch_time_ms, reported_bp, completed, completion_source, epoch, reset_at, last_watched, position_session, position_seq,
  writer_session, writer_seq, beat_at, version, base_version, created_at, updated_at)
SELECT r."userId", f.id, f.lesson_id, f.course_id, f.duration_ms, f.assumed_ms, f.counted, r."positionMs",
  r.watched, watched_within(r.watched, 0, f.duration_ms),
  r."watchTimeMs", r."reportedBp", r.completed OR now_complete, CASE WHEN now_complete THEN 'auto' ELSE r."completionSource" END,
  greatest(r.epoch, m.epoch), r."resetAt", r."lastWatched", r."positionSession", r."positionSeq", r."writerSession", r."writerSeq", r."beatAt",
  r.version, r."baseVersion", r."createdAt", r."updatedAt"
FROM jsonb_to_recordset($1::jsonb) AS r ("userId" text, "fileId" text, "durationMs" integer, "positionMs" integer,
  watched int4multirange, "watchTimeMs" bigint, "reportedBp" integer, completed boolean, "completionSource" text, epoch integer,
  "resetAt" timestamptz, "lastWatched" timestamptz, "positionSession" text, "positionSeq" bigint, "writerSession" text,
  "writerSeq" bigint, "beatAt" timestamptz, version bigint, "baseVersion" bigint, "createdAt" timestamptz, "updatedAt" timestamptz)
JOIN files AS f ON f.id = r."fileId"
CROSS JOIN LATERAL reset_mark(r."userId", f.course_id, f.id) AS m
CROSS JOIN LATERAL (SELECT (NOT r.completed AND r."durationMs" IS DISTINCT FROM f.duration_ms
  AND watched_within(r.watched, coalesce(f.start_ms, 0), coalesce(f.credits_at_ms, f.duration_ms)) >= f.complete_at_ms) IS TRUE AS now_complete) AS judged
ORDER BY r."userId", f.id
ON CONFLICT (user_id, file_id) DO UPDATE SET
  lesson_id = excluded.lesson_id, duration_ms = excluded.duration_ms, assumed_ms = excluded.assumed_ms, counted = excluded.counted, position_ms = excluded.position_ms,
  watched = excluded.watched, watched_ms = excluded.watched_ms, watch_time_ms = excluded.watch_time_ms,
  reported_bp = excluded.reported_bp, completed = excluded.completed, completion_source = excluded.completion_source,
  epoch = excluded.epoch, reset_at = excluded.reset_at, last_watched = excluded.last_watched,
  position_session = excluded.position_session, position_seq = excluded.position_seq, writer_session = excluded.writer_session,
  writer_seq = excluded.writer_seq, beat_at = excluded.beat_at, version = excluded.version, base_version = excluded.base_version,
  created_at = excluded.created_at, updated_at = excluded.updated_at
WHERE t.version < excluded.version`;

async function insert(client: PoolClient, rows: MirroredRow[]): Promise<number> {
  const users = [...new Set(rows.map((row) => row.userId))];
  // These locks keep out changes of the catalogue.
  const { rows: courses } = await client.query<{ id: string }>(
    "SELECT DISTINCT course_id AS id FROM files WHERE id = ANY($1::text[])",
    [rows.map((row) => row.fileId)],
  );
  await client.query("SELECT lock_writers('batch', $1::text[], $2::text[])", [users, courses.map(({ id }) => id)]);
  // Their rows are from after their deletion.
  await client.query(
    `UPDATE deleted_users SET returned_at = clock_timestamp(), mirrored = false
     WHERE returned_at IS NULL AND user_hash IN (SELECT h FROM unnest($1::text[]) AS id, deleted_user_hashes(id) AS h)`,
    [users],
  );
  await client.query("INSERT INTO users (id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", [users.sort()]);
  const given = rows.map((row) => ({
    ...row,
    ...Object.fromEntries(TIMES.map((name) => [name, row[name] === null ? null : inUtc(row[name])])),
  }));
  const { rowCount } = await client.query(INSERT, [JSON.stringify(given)]);
  return rowCount ?? 0;
}

/** No row of a user in a course is below the mark of the course, so the lowest of them stands for it. */
async function restoreMarks(pool: Pool): Promise<void> {
  await pool.query(
    `INSERT INTO reset_marks AS m (user_id, course_id, epoch, reset_at)
     SELECT user_id, course_id, min(epoch), max(coalesce(reset_at, clock_timestamp())) FROM user_progress
     GROUP BY user_id, course_id HAVING min(epoch) > 0 ORDER BY user_id, course_id
     ON CONFLICT (user_id, course_id, file_id) DO UPDATE SET
       epoch = excluded.epoch, reset_at = excluded.reset_at, version = nextval('progress_version')
     WHERE m.epoch < excluded.epoch`,
  );
}

/** Gives all sums new versions. Takes the gates of a hand-written change of the catalogue, so all writers wait. */
async function renewSums(pool: Pool): Promise<void> {
  await withTransaction(pool, async (client) => {
    await client.query("SELECT pg_advisory_xact_lock(7701, 0), pg_advisory_xact_lock(7701, 1)");
    await client.query("UPDATE lesson_progress SET version = nextval('progress_version')");
    await client.query("UPDATE course_progress SET version = nextval('progress_version')");
  });
}
