import type { TestDatabase } from "./database.ts";

/*
 * Computes the sums of lessons and courses by the rules, from the rows of user_progress and the catalogue. It uses
 * nothing of the product's own SQL.
 */

interface Row {
  user_id: string;
  lesson_id: string;
  course_id: string;
  completed: boolean;
  watched: string;
  reported_bp: number;
  duration_ms: number | null;
  counts: boolean;
}

interface FileRow {
  lesson_id: string;
  course_id: string;
  duration_ms: number | null;
  counts: boolean;
}

export interface Aggregate {
  totalFiles: number;
  completedFiles: number;
  totalMs: number;
  assumedMs: number;
  watchedMs: number;
  contributionMs: number;
  percentage: number;
}

const FILES = `SELECT f.id, f.lesson_id, f.course_id, f.duration_ms,
  f.required AND f.retired_at IS NULL AND l.retired_at IS NULL AS counts FROM files f JOIN lessons l ON l.id = f.lesson_id`;

/** What lies past the end does not count. */
function lengthOf(multirange: string, endMs: number): number {
  return [...multirange.matchAll(/\[(\d+),(\d+)\)/g)].reduce(
    (sum, [, from, to]) => sum + Math.max(0, Math.min(Number(to), endMs) - Number(from)),
    0,
  );
}

function percentageOf(sum: Omit<Aggregate, "percentage">): number {
  if (sum.totalFiles === 0) return 0;
  if (sum.completedFiles === sum.totalFiles) return 100;
  const weightMs = sum.totalMs + sum.assumedMs;
  if (weightMs === 0) return Math.floor((sum.completedFiles * 10_000) / sum.totalFiles) / 100;
  return Math.min(9999, Math.floor((sum.contributionMs * 10_000) / weightMs)) / 100;
}

/** The mean of the known durations of a course. */
function meanOf(files: FileRow[]): number {
  const known = files.filter((file) => file.counts && file.duration_ms !== null);
  return known.length === 0
    ? 0
    : Math.floor(known.reduce((sum, file) => sum + (file.duration_ms ?? 0), 0) / known.length);
}

function aggregate(rows: Row[], files: FileRow[], assumedMs: number): Aggregate {
  const counted = files.filter((file) => file.counts);
  const sum = {
    totalFiles: counted.length,
    completedFiles: 0,
    totalMs: 0,
    assumedMs: 0,
    watchedMs: 0,
    contributionMs: 0,
  };
  for (const file of counted) {
    if (file.duration_ms === null) sum.assumedMs += assumedMs;
    else sum.totalMs += file.duration_ms;
  }
  for (const row of rows.filter((candidate) => candidate.counts)) {
    const watched = lengthOf(row.watched, row.duration_ms ?? Number.POSITIVE_INFINITY);
    const weightMs = row.duration_ms ?? assumedMs;
    sum.watchedMs += watched;
    if (row.completed) sum.completedFiles += 1;
    const reported = Math.floor((weightMs * row.reported_bp) / 10_000);
    sum.contributionMs += row.completed
      ? weightMs
      : Math.min(Math.max(watched, reported), Math.floor((weightMs * 999) / 1000));
  }
  return { ...sum, percentage: percentageOf(sum) };
}

/** The recounted and the stored sums, both from one snapshot of the database, by keys like `lesson/<user>/<id>`. */
export async function recount(
  database: TestDatabase,
): Promise<{ recounted: Record<string, Aggregate>; stored: Record<string, Aggregate> }> {
  const client = await database.pool.connect();
  try {
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    const { rows: files } = await client.query<FileRow & { id: string }>(FILES);
    const { rows } = await client.query<Row>(
      `SELECT p.user_id, f.lesson_id, f.course_id, p.completed, p.watched::text, p.reported_bp, f.duration_ms, f.counts
       FROM user_progress p JOIN (${FILES}) f ON f.id = p.file_id`,
    );
    const { rows: stored } = await client.query<Aggregate & { key: string }>(
      ["lesson", "course"]
        .map(
          (
            kind,
          ) => `SELECT '${kind}/' || user_id || '/' || ${kind}_id AS key, total_files AS "totalFiles", completed_files AS "completedFiles",
            total_ms AS "totalMs", assumed_ms AS "assumedMs", watched_ms AS "watchedMs", contribution_ms AS "contributionMs", progress_percentage::float8 AS percentage
            FROM ${kind}_progress`,
        )
        .join(" UNION ALL "),
    );
    await client.query("COMMIT");
    const recounted: Record<string, Aggregate> = {};
    for (const row of rows) {
      for (const kind of ["lesson", "course"] as const) {
        const id = row[`${kind}_id`];
        recounted[`${kind}/${row.user_id}/${id}`] ??= aggregate(
          rows.filter((other) => other.user_id === row.user_id && other[`${kind}_id`] === id),
          files.filter((file) => file[`${kind}_id`] === id),
          meanOf(files.filter((file) => file.course_id === row.course_id)),
        );
      }
    }
    return { recounted, stored: Object.fromEntries(stored.map(({ key, ...sums }) => [key, sums])) };
  } finally {
    client.release();
  }
}
