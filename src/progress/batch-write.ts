import { toPlainArray, toTextArray } from "../db/array-literal.ts";
import { toFloat8Array, toInt4Array, toInt8Array } from "../db/binary-array.ts";
import type { PoolClient } from "../db/pool.ts";
import { toNotifications } from "./change-notifications.ts";
import type { RowChange, StoredRow } from "./merge-beat.ts";
import { type Sum, sumUp } from "./progress-sums.ts";
import { toMultirange } from "./watched-ranges.ts";

/*
 * The one call that makes a batch durable (migration 0008): locks, checks, rows, sums, notifications. Everything in it
 * is decided already.
 */

export interface BatchWrite {
  lockTimeoutMs: number;
  users: string[];
  /** The catalogues that the batch was decided by. */
  courses: ReadonlyMap<string, number>;
  changes: readonly RowChange[];
  /** Rows that stay as they are, because of what is in them. */
  kept: readonly StoredRow[];
  /** Also makes up for sums that are missing. */
  upsertEverySum: boolean;
}

export interface Written {
  version: number;
  /** Of the rows that are new, in the order of the changes. */
  newIds: number[];
  /** When the statement began by the database's clock, in seconds since 1970. */
  databaseSeconds: number;
}

const PARAMETERS = 52;

export const WRITE_STATEMENT = `
SELECT new_version AS version, new_ids AS "newIds", database_clock AS "databaseSeconds"
FROM write_beats(${Array.from({ length: PARAMETERS }, (_, i) => `$${i + 1}`).join(", ")})`;

/** @throws the error of PostgreSQL; PH001 and PH002 are told in the migration */
export async function writeBatch(client: PoolClient, batch: BatchWrite): Promise<Written> {
  const { rows } = await client.query<Omit<Written, "newIds"> & { newIds: number[] | null }>({
    name: "write-batch",
    text: WRITE_STATEMENT,
    values: toParameters(batch),
  });
  const [row] = rows;
  if (row === undefined) throw new Error("write_beats returned no row; it always returns one");
  return { ...row, newIds: row.newIds ?? [] };
}

function toParameters(batch: BatchWrite): (string | Buffer | null)[] {
  const { lockTimeoutMs, users, courses, changes, kept, upsertEverySum } = batch;
  const moved: RowChange[] = [];
  const fresh: RowChange[] = [];
  const others: RowChange[] = [];
  for (const change of changes)
    (change.old === null ? fresh : isMove(change, change.old) ? moved : others).push(change);
  const rows = [...fresh, ...others];
  const sums = sumUp(changes);
  return [
    `${lockTimeoutMs}ms`,
    toTextArray(users),
    toTextArray([...courses.keys()]),
    toInt8Array([...courses.values()], (version) => version),
    ...toMoveColumns(moved),
    toInt8Array(kept, (row) => row.id),
    toInt8Array(kept, (row) => row.version),
    ...toRowColumns(rows),
    isSameUsers(users, sums.lessons) ? null : toTextArray(sums.lessons.map((sum) => sum.userId)),
    toTextArray(sums.lessons.map((sum) => sum.id)),
    toTextArray(sums.lessons.map((sum) => sum.courseId)),
    ...toDeltaColumns(sums.lessons),
    ...(sums.courses === null
      ? [null, null, null, null, null, null]
      : [
          toTextArray(sums.courses.map((sum) => sum.userId)),
          toTextArray(sums.courses.map((sum) => sum.id)),
          ...toDeltaColumns(sums.courses),
        ]),
    String(upsertEverySum),
    toTextArray(toNotifications(changes)),
    toActivity(changes),
  ];
}

/** As where every user has progress in one lesson. Then they are not sent twice. */
function isSameUsers(users: readonly string[], sums: readonly Sum[]): boolean {
  return sums.length === users.length && sums.every((sum, i) => sum.userId === users[i]);
}

/** Rows that only go on, as most do, need but few columns. */
function isMove({ next, hasOtherRanges }: RowChange, old: StoredRow): boolean {
  return (
    !hasOtherRanges &&
    next.completed === old.completed &&
    next.completionSource === old.completionSource &&
    next.reportedBp === old.reportedBp &&
    next.positionSession === old.positionSession &&
    next.writerSession === old.writerSession &&
    next.lessonId === old.lessonId &&
    next.durationMs === old.durationMs &&
    next.counted === old.counted
  );
}

function toMoveColumns(moved: readonly RowChange[]): Buffer[] {
  return [
    toInt8Array(moved, ({ next }) => next.id),
    toInt8Array(moved, ({ next }) => next.version),
    toInt4Array(moved, ({ next }) => next.positionMs),
    toInt4Array(moved, ({ added }) => (added === null ? null : added[0])),
    toInt4Array(moved, ({ added }) => (added === null ? null : added[1])),
    toInt4Array(moved, ({ next }) => next.watchedMs),
    toInt8Array(moved, ({ next }) => next.watchTimeMs),
    toFloat8Array(moved, toSeen),
    toInt8Array(moved, ({ next }) => next.positionSeq),
    toInt8Array(moved, ({ next }) => next.writerSeq),
  ];
}

/** Seconds since 1970; null where the row keeps what it has, to the last digit. */
function toSeen({ old, next }: RowChange): number | null {
  if (next.lastWatchedUs === null || next.lastWatchedUs === old?.lastWatchedUs) return null;
  return next.lastWatchedUs / 1_000_000;
}

function toRowColumns(rows: readonly RowChange[]): (string | Buffer)[] {
  return [
    toInt8Array(rows, ({ old }) => old?.id ?? null),
    toInt8Array(rows, ({ old }) => old?.version ?? null),
    toTextArray(rows.map(({ userId }) => userId)),
    toTextArray(rows.map(({ file }) => file.fileId)),
    toTextArray(rows.map(({ file }) => file.lessonId)),
    toTextArray(rows.map(({ file }) => file.courseId)),
    toInt4Array(rows, ({ next }) => next.positionMs),
    toTextArray(rows.map(({ next }) => toMultirange(next.watched))),
    toInt4Array(rows, ({ next }) => next.watchedMs),
    toInt8Array(rows, ({ next }) => next.watchTimeMs),
    toInt4Array(rows, ({ next }) => next.reportedBp),
    toPlainArray(rows.map(({ next }) => next.completed)),
    toTextArray(rows.map(({ next }) => next.completionSource)),
    toFloat8Array(rows, toSeen),
    toTextArray(rows.map(({ next }) => next.positionSession)),
    toInt8Array(rows, ({ next }) => next.positionSeq),
    toTextArray(rows.map(({ next }) => next.writerSession)),
    toInt8Array(rows, ({ next }) => next.writerSeq),
    toInt4Array(rows, ({ next }) => next.durationMs),
    toPlainArray(rows.map(({ next }) => next.counted)),
  ];
}

function toDeltaColumns(sums: readonly Sum[]): Buffer[] {
  return [
    toInt4Array(sums, (sum) => sum.started),
    toInt4Array(sums, (sum) => sum.completed),
    toInt8Array(sums, (sum) => sum.contributionMs),
    toInt8Array(sums, (sum) => sum.watchedMs),
  ];
}

/** What goes into the activity log, as `log_activity` takes it; null where nothing does. */
function toActivity(changes: readonly RowChange[]): string | null {
  const active = changes.filter(({ activities }) => activities.length > 0);
  const entries = active.flatMap(({ userId, file, next, activities }) =>
    activities.map((activity) => ({
      user_id: userId,
      file_id: file.fileId,
      lesson_id: file.lessonId,
      course_id: file.courseId,
      activity_type: activity,
      duration_seconds: Math.floor(next.watchTimeMs / 1000),
    })),
  );
  return entries.length === 0 ? null : JSON.stringify(entries);
}
