import type { QueryConfig, QueryResult } from "pg";
import { toPlainArray, toTextArray } from "../db/array-literal.ts";
import { toFloat8Array, toInt4Array, toInt8Array } from "../db/binary-array.ts";
import { CommitHeldBack, confirmCommit } from "../db/commit.ts";
import type { PoolClient } from "../db/pool.ts";
import { isRowLocked } from "../db/sqlstate.ts";
import type { RowChange, StoredRow } from "./merge-beat.ts";
import { toMultirange } from "./multirange.ts";

/*
 * The statements that make a decided batch durable: one transaction, sent in one round trip. `begin_batch` takes the
 * locks and checks the catalogue; each statement writes a row only in the version that the batch was decided by. The
 * triggers of user_progress keep the sums and notify.
 */

/** A batch that is decided: nothing but its statements is missing. */
export interface BatchWrite {
  users: readonly string[];
  /** By course, the catalogue version that the batch was decided by. */
  courses: ReadonlyMap<string, number>;
  changes: readonly RowChange[];
  /** Rows that the batch leaves as they are. They must still have the version that this was decided by. */
  kept: readonly KeptRow[];
}

export interface KeptRow {
  userId: string;
  fileId: string;
  row: StoredRow;
}

export interface WriteOptions {
  lockTimeoutMs: number;
  /** Whether the caller has begun the transaction, and holds its locks. */
  isBegun: boolean;
}

export interface Written {
  /** The new version of every row that the batch wrote. */
  version: number;
  /** When `begin_batch` started, by the database's clock, in seconds since 1970. */
  databaseSeconds: number;
}

/** SQLSTATE of `begin_batch`: others hold the locks of the batch. */
export const LOCKS_TAKEN = "PH001";
/** SQLSTATE of `begin_batch` and `expect_rows`: a catalogue or a row has another version than the batch was decided by. */
export const CHANGED_SINCE = "PH002";

type Changes = readonly RowChange[];
interface Column {
  name: string;
  type: string;
  toValues(changes: Changes): string | Buffer;
}
type Pick<T> = (change: RowChange) => T;

const text = (name: string, pick: Pick<string | null>): Column => ({
  name,
  type: "text",
  toValues: (changes) => toTextArray(changes.map(pick)),
});
const bool = (name: string, pick: Pick<boolean>): Column => ({
  name,
  type: "bool",
  toValues: (changes) => toPlainArray(changes.map(pick)),
});
const int4 = (name: string, pick: Pick<number | null>): Column => ({
  name,
  type: "int4",
  toValues: (changes) => toInt4Array(changes, pick),
});
const int8 = (name: string, pick: Pick<number | null>): Column => ({
  name,
  type: "int8",
  toValues: (changes) => toInt8Array(changes, pick),
});
const seconds = (name: string, pick: Pick<number | null>): Column => ({
  name,
  type: "float8",
  toValues: (changes) => toFloat8Array(changes, pick),
});

const KEY = [text("user_id", ({ userId }) => userId), text("file_id", ({ file }) => file.fileId)];
/** The version of the row that the change was decided by; null if there was no row. */
const BASE = int8("base_version", ({ old }) => old?.version ?? null);
const SEEN = seconds("last_watched", ({ next: { lastWatchedUs } }) =>
  lastWatchedUs === null ? null : lastWatchedUs / 1_000_000,
);

/** What every change writes. */
const PLACE = [
  int4("position_ms", ({ next }) => next.positionMs),
  int4("watched_ms", ({ next }) => next.watchedMs),
  int8("watch_time_ms", ({ next }) => next.watchTimeMs),
  SEEN,
  int8("position_seq", ({ next }) => next.positionSeq),
  int8("writer_seq", ({ next }) => next.writerSeq),
  BASE,
];

/** A row that goes on: these few columns change, and at most one range is added. */
const GOING_ON: Column[] = [
  ...KEY,
  ...PLACE,
  int4("from_ms", ({ added }) => added?.[0] ?? null),
  int4("to_ms", ({ added }) => added?.[1] ?? null),
];

/** Every other row: new, or changed in more than its place. */
const WHOLE: Column[] = [
  ...KEY,
  ...PLACE,
  text("lesson_id", ({ file }) => file.lessonId),
  text("course_id", ({ file }) => file.courseId),
  { ...text("watched", ({ next }) => toMultirange(next.watched)), type: "int4multirange" },
  int4("reported_bp", ({ next }) => next.reportedBp),
  bool("completed", ({ next }) => next.completed),
  text("completion_source", ({ next }) => next.completionSource),
  text("position_session", ({ next }) => next.positionSession),
  text("writer_session", ({ next }) => next.writerSession),
  int4("duration_ms", ({ next }) => next.durationMs),
  int4("assumed_ms", ({ next }) => next.assumedMs),
  bool("counted", ({ next }) => next.counted),
  int4("epoch", ({ next }) => next.epoch),
];

/** `begin_batch` draws it, under the locks. A batch has every row once, so one version is enough for all of them. */
const VERSION = "(SELECT current_setting('playhead.version')::bigint)";
const NOW = "(SELECT clock_timestamp() AS at OFFSET 0) AS clock";
const toSource = (columns: Column[]) =>
  `unnest(${columns.map(({ type }, i) => `$${i + 1}::${type}[]`).join(", ")}) AS b (${columns.map(({ name }) => name).join(", ")})`;
const toExpression = ({ name }: Column) => (name === SEEN.name ? `to_timestamp(b.${name})` : `b.${name}`);

/**
 * Finds each row by one look-up and writes it by its place (ctid). A join would be planned once a connection, perhaps
 * for an empty table, and kept for a large one. OFFSET 0 keeps the planner from turning the look-up into a join.
 */
const UPDATE = `
UPDATE user_progress AS t SET
  ${PLACE.map((column) => `${column.name} = ${toExpression(column)}`).join(", ")},
  watched = CASE WHEN b.from_ms IS NULL THEN t.watched ELSE t.watched + int4multirange(int4range(b.from_ms, b.to_ms)) END,
  version = ${VERSION}, updated_at = b.at, beat_at = b.at
FROM (
  SELECT b.*, p.place, clock.at FROM ${toSource(GOING_ON)}
  CROSS JOIN LATERAL (
    SELECT p.ctid AS place FROM user_progress AS p WHERE p.user_id = b.user_id AND p.file_id = b.file_id OFFSET 0
  ) AS p
  CROSS JOIN ${NOW} OFFSET 0
) AS b
WHERE t.ctid = b.place AND t.version = b.base_version`;

/** A row keeps its key, and its course with it; and its epoch, which only a reset changes. */
const REPLACED = WHOLE.map(({ name }) => name).filter(
  (name) => !["user_id", "file_id", "course_id", "epoch"].includes(name),
);

/** A new row begins by its mark. Where a reset has changed the mark since the batch was decided, the row is not written. */
const UPSERT = `
INSERT INTO user_progress AS t (${WHOLE.map(({ name }) => name).join(", ")}, reset_at, version, updated_at, beat_at)
SELECT ${WHOLE.map(toExpression).join(", ")}, m.reset_at, ${VERSION}, clock.at, clock.at
FROM ${toSource(WHOLE)} CROSS JOIN ${NOW}
CROSS JOIN LATERAL reset_mark(CASE WHEN b.base_version IS NULL THEN b.user_id END, b.course_id, b.file_id) AS m
WHERE b.base_version IS NOT NULL OR b.epoch = m.epoch
ON CONFLICT (user_id, file_id) DO UPDATE SET
  ${[...REPLACED, "version", "updated_at", "beat_at"].map((name) => `${name} = excluded.${name}`).join(", ")}
WHERE t.version = excluded.base_version`;

/**
 * Fails the transaction unless the statement wrote every row, each over the version that the batch was decided by. So a row
 * that was deleted since it was remembered is not made again from memory.
 */
const expectAll = (statement: string, columns: Column[]) => `
WITH written AS (${statement} RETURNING old.version IS NOT DISTINCT FROM new.base_version AS is_expected)
SELECT expect_rows((SELECT count(*) FROM written WHERE is_expected), $${columns.length + 1})`;
const UPDATE_ALL = expectAll(UPDATE, GOING_ON);
const UPSERT_ALL = expectAll(UPSERT, WHOLE);

const BEGIN_BATCH = `
SELECT version, database_seconds AS "databaseSeconds" FROM begin_batch($1, $2, $3, $4, $5, $6, $7)`;
const NEW_USERS = "INSERT INTO users (id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING";

type Values = (string | Buffer | number)[];

/**
 * Resolves after COMMIT.
 * @throws the error of the first statement that failed: LOCKS_TAKEN, CHANGED_SINCE, or PostgreSQL's own;
 * UnconfirmedCommit; RangeError before anything is sent, for a number that does not fit its column
 */
export async function writeBatch(client: PoolClient, batch: BatchWrite, options: WriteOptions): Promise<Written> {
  const statements = toStatements(batch, options.lockTimeoutMs);
  const sent: Promise<QueryResult>[] = [];
  let answered = 0;
  // A callback, not a promise: it is called before the next answer is read, so `answered` is exact for every notice.
  const send = (query: string | QueryConfig): void => {
    const answer = new Promise<QueryResult>((resolve, reject) => {
      client.query(query, (error: Error | null, result: QueryResult) => {
        answered += 1;
        if (error) reject(error);
        else resolve(result);
      });
    });
    sent.push(answer);
  };
  if (!options.isBegun) send("BEGIN");
  const begun = sent.length;
  for (const statement of statements) send(statement);
  const beforeCommit = sent.length;
  const commit = async () => {
    send("COMMIT");
    // After a failure PostgreSQL refuses the rest of the transaction, and its COMMIT rolls back: the first error says why.
    for (const [i, answer] of (await Promise.allSettled(sent)).entries()) {
      if (answer.status === "fulfilled") continue;
      throw i === beforeCommit && isRowLocked(answer.reason) ? new CommitHeldBack(answer.reason) : answer.reason;
    }
  };
  await confirmCommit(client, commit, () => answered === beforeCommit);
  return (await sent[begun])?.rows[0] as Written;
}

/** The statements between BEGIN and COMMIT; `begin_batch` is the first. */
function toStatements(batch: BatchWrite, lockTimeoutMs: number): QueryConfig[] {
  const statements: QueryConfig[] = [];
  const add = (name: string, text: string, values: Values) => statements.push({ name, text, values });
  add("begin-batch", BEGIN_BATCH, toBeginning(batch, lockTimeoutMs));
  const goingOn = batch.changes.filter(isGoingOn);
  const others = batch.changes.length === goingOn.length ? [] : batch.changes.filter((change) => !isGoingOn(change));
  const users = [...new Set(others.filter(({ old }) => old === null).map(({ userId }) => userId))].sort();
  if (users.length > 0) add("new-users", NEW_USERS, [toTextArray(users)]);
  if (goingOn.length > 0) add("update-rows", UPDATE_ALL, toValues(GOING_ON, goingOn));
  if (others.length > 0) add("upsert-rows", UPSERT_ALL, toValues(WHOLE, others));
  const activity = toActivity(others);
  if (activity !== null) add("log-activity", "SELECT log_activity($1)", [activity]);
  return statements;
}

function toBeginning({ users, courses, kept }: BatchWrite, lockTimeoutMs: number): Values {
  return [
    `${lockTimeoutMs}ms`,
    toTextArray(users),
    toTextArray([...courses.keys()]),
    toInt8Array([...courses.values()], (version) => version),
    toTextArray(kept.map(({ userId }) => userId)),
    toTextArray(kept.map(({ fileId }) => fileId)),
    toInt8Array(kept, ({ row }) => row.version),
  ];
}

function toValues(columns: Column[], changes: Changes): Values {
  return [...columns.map((column) => column.toValues(changes)), changes.length];
}

function isGoingOn({ old, next, hasOtherRanges, activities }: RowChange): boolean {
  return (
    old !== null &&
    !hasOtherRanges &&
    activities.length === 0 &&
    next.completed === old.completed &&
    next.completionSource === old.completionSource &&
    next.reportedBp === old.reportedBp &&
    next.positionSession === old.positionSession &&
    next.writerSession === old.writerSession &&
    next.lessonId === old.lessonId &&
    next.durationMs === old.durationMs &&
    next.assumedMs === old.assumedMs &&
    next.counted === old.counted
  );
}

/** The entries of the activity log, as the SQL function log_activity takes them; null if there are none. */
function toActivity(changes: Changes): string | null {
  const entries = changes.flatMap(({ userId, file, next, activities }) =>
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
