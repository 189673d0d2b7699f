import { type Pool, type PoolClient, withTransaction } from "../db/pool.ts";
import { isTransient } from "../db/sqlstate.ts";
import { AppError } from "../errors.ts";
import type { FirestoreMirror } from "./firestore-mirror.ts";
import { adopt } from "./mirror-state.ts";
import type { MirroredRow } from "./mirrored-row.ts";

/*
 * Rebuilds user_progress from the mirror, page by page, as a batch of heartbeats is written: under the same locks, with
 * every column given, while the triggers keep the sums. Where a file is in the catalogue, how long it is and whether it
 * counts is what the catalogue says now.
 */

/**
 * By so much versions are lifted: what players and dashboards hold of before was never mirrored whole, and they ignore
 * what is older.
 */
const LIFT = 1_000_000_000;

export interface RestoreReport {
  /** Documents of the mirror. */
  read: number;
  restored: number;
  /** Rows that the database had already, in the same version or a later one. */
  kept: number;
  /** Progress in files that the catalogue does not know: file, and of how many users. */
  unknownFiles: Map<string, number>;
  /** Rows that the database refused, and why. */
  refused: { userId: string; fileId: string; reason: string }[];
  /** Documents that Playhead did not write. */
  foreign: number;
}

export interface RestoreParts {
  pool: Pool;
  mirror: FirestoreMirror;
}

/**
 * With `force` into a database that has progress: only what is newer there, by version.
 * @throws AppError `conflict` where there is progress and no `force`
 */
export async function restoreFromMirror(
  { pool, mirror }: RestoreParts,
  { force, onPage = () => undefined }: { force: boolean; onPage?: (report: RestoreReport) => void },
): Promise<RestoreReport> {
  if (!force) await assertNoProgress(pool);
  const report: RestoreReport = { read: 0, restored: 0, kept: 0, unknownFiles: new Map(), refused: [], foreign: 0 };
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
    await restorePage(pool, await withoutUnknown(pool, rows, report), report);
    onPage(report);
  }
  // The sums of the pages before have versions of before.
  if (liftedAgain) await renewSums(pool);
  // What was skipped stays in the mirror, so nothing unknown is deleted there.
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

/** A row that the database refuses does not keep the others out. */
async function restorePage(pool: Pool, rows: MirroredRow[], report: RestoreReport): Promise<void> {
  if (rows.length === 0) return;
  try {
    const restored = await withTransaction(pool, (client) => insert(client, rows));
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
 * A row that was completed by no rule of its time is judged by the duration of today, if that is another one; else it
 * stays as it was, also where somebody took a completion back.
 */
const INSERT = `
INSERT INTO user_progress AS t (user_id, file_id, lesson_id, course_id, duration_ms, counted, position_ms, watched, watched_ms,
  watch_time_ms, reported_bp, completed, completion_source, epoch, reset_at, last_watched, position_session, position_seq,
  writer_session, writer_seq, beat_at, version, base_version, created_at, updated_at)
SELECT r."userId", f.id, f.lesson_id, f.course_id, f.duration_ms, f.counted, r."positionMs", r.watched, multirange_ms(r.watched),
  r."watchTimeMs", r."reportedBp", r.completed OR now_complete, CASE WHEN now_complete THEN 'auto' ELSE r."completionSource" END,
  r.epoch, r."resetAt", r."lastWatched", r."positionSession", r."positionSeq", r."writerSession", r."writerSeq", r."beatAt",
  r.version, r."baseVersion", r."createdAt", r."updatedAt"
FROM jsonb_to_recordset($1::jsonb) AS r ("userId" text, "fileId" text, "durationMs" integer, "positionMs" integer,
  watched int4multirange, "watchTimeMs" bigint, "reportedBp" integer, completed boolean, "completionSource" text, epoch integer,
  "resetAt" timestamptz, "lastWatched" timestamptz, "positionSession" text, "positionSeq" bigint, "writerSession" text,
  "writerSeq" bigint, "beatAt" timestamptz, version bigint, "baseVersion" bigint, "createdAt" timestamptz, "updatedAt" timestamptz)
JOIN files AS f ON f.id = r."fileId"
CROSS JOIN LATERAL (SELECT (NOT r.completed AND r."durationMs" IS DISTINCT FROM f.duration_ms
  AND multirange_ms(r.watched) >= f.complete_at_ms) IS TRUE AS now_complete) AS judged
ORDER BY r."userId", f.id
ON CONFLICT (user_id, file_id) DO UPDATE SET
  lesson_id = excluded.lesson_id, duration_ms = excluded.duration_ms, counted = excluded.counted, position_ms = excluded.position_ms,
  watched = excluded.watched, watched_ms = excluded.watched_ms, watch_time_ms = excluded.watch_time_ms,
  reported_bp = excluded.reported_bp, completed = excluded.completed, completion_source = excluded.completion_source,
  epoch = excluded.epoch, reset_at = excluded.reset_at, last_watched = excluded.last_watched,
  position_session = excluded.position_session, position_seq = excluded.position_seq, writer_session = excluded.writer_session,
  writer_seq = excluded.writer_seq, beat_at = excluded.beat_at, version = excluded.version, base_version = excluded.base_version,
  created_at = excluded.created_at, updated_at = excluded.updated_at
WHERE t.version < excluded.version`;

async function insert(client: PoolClient, rows: MirroredRow[]): Promise<number> {
  const users = [...new Set(rows.map((row) => row.userId))];
  // Whoever changes the catalogue holds a course's lock alone; nobody does while these are held.
  const { rows: courses } = await client.query<{ id: string }>(
    "SELECT DISTINCT course_id AS id FROM files WHERE id = ANY($1::text[])",
    [rows.map((row) => row.fileId)],
  );
  await client.query("SELECT lock_writers('batch', $1::text[], $2::text[])", [users, courses.map(({ id }) => id)]);
  await client.query("INSERT INTO users (id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", [users.sort()]);
  const times = ["resetAt", "lastWatched", "beatAt", "createdAt", "updatedAt"] as const;
  const given = rows.map((row) => ({
    ...row,
    ...Object.fromEntries(times.map((name) => [name, row[name] === null ? null : inUtc(row[name])])),
  }));
  const { rowCount } = await client.query(INSERT, [JSON.stringify(given)]);
  return rowCount ?? 0;
}

/** What travels without a zone is in UTC; `infinity` has none. */
function inUtc(text: string): string {
  return /^\d/.test(text) ? `${text}Z` : text;
}

/** Like a change of the catalogue by hand: everybody who writes progress waits. */
async function renewSums(pool: Pool): Promise<void> {
  await withTransaction(pool, async (client) => {
    await client.query("SELECT pg_advisory_xact_lock(7701, 0), pg_advisory_xact_lock(7701, 1)");
    await client.query("UPDATE lesson_progress SET version = nextval('progress_version')");
    await client.query("UPDATE course_progress SET version = nextval('progress_version')");
  });
}
