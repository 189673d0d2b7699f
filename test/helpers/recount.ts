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
  watchedMs: number;
  contributionMs: number;
  percentage: number;
}

const FILES = `SELECT f.id, f.lesson_id, f.course_id, f.duration_ms,
  f.required AND f.retired_at IS NULL AND l.retired_at IS NULL AS counts FROM files f JOIN lessons l ON l.id = f.lesson_id`;

function lengthOf(multirange: string): number {
  return [...multirange.matchAll(/\[(\d+),(\d+)\)/g)].reduce((sum, [, from, to]) => sum + Number(to) - Number(from), 0);
}

function percentageOf(sum: Omit<Aggregate, "percentage">): number {
  if (sum.totalFiles === 0) return 0;
  if (sum.completedFiles === sum.totalFiles) return 100;
  if (sum.totalMs === 0) return Math.floor((sum.completedFiles * 10_000) / sum.totalFiles) / 100;
  return Math.min(9999, Math.floor((sum.contributionMs * 10_000) / sum.totalMs)) / 100;
}

function aggregate(rows: Row[], files: FileRow[]): Aggregate {
  const counted = files.filter((file) => file.counts);
  const sum = { totalFiles: counted.length, completedFiles: 0, totalMs: 0, watchedMs: 0, contributionMs: 0 };
  for (const file of counted) sum.totalMs += file.duration_ms ?? 0;
  for (const row of rows.filter((candidate) => candidate.counts)) {
    const watched = lengthOf(row.watched);
    sum.watchedMs += watched;
    if (row.completed) sum.completedFiles += 1;
    if (row.duration_ms === null) continue;
    const reported = Math.floor((row.duration_ms * row.reported_bp) / 10_000);
    sum.contributionMs += row.completed
      ? row.duration_ms
      : Math.min(Math.max(watched, reported), Math.floor((row.duration_ms * 999) / 1000));
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
            total_ms AS "totalMs", watched_ms AS "watchedMs", contribution_ms AS "contributionMs", progress_percentage::float8 AS percentage
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
        );
      }
    }
    return { recounted, stored: Object.fromEntries(stored.map(({ key, ...sums }) => [key, sums])) };
  } finally {
    client.release();
  }
}
