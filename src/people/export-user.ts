import type { QueryResultRow } from "pg";
import { type Pool, type PoolClient, withTransaction } from "../db/pool.ts";
import type { UserExport } from "../protocol/user-export.ts";

/*
 * Reads everything that is stored of a user, in one snapshot. Lists are read by cursors, page by page: so a long one holds up
 * the process for no longer than a short one. A table that gets a column of a user needs a line here and in delete_user.sql.
 */

const PAGE_ROWS = 500;

const time = (column: string, name: string) => `to_json(${column} AT TIME ZONE 'UTC') #>> '{}' || 'Z' AS "${name}"`;
const seconds = (column: string, name: string) => `(${column} / 1000.0)::float8 AS "${name}"`;

const SUMS = `t.title, s.progress_percentage::float8 AS percentage, s.total_files AS "totalFiles", s.started_files AS "startedFiles",
  s.completed_files AS "completedFiles", ${seconds("s.total_ms", "totalSeconds")}, ${seconds("s.watched_ms", "watchedSeconds")},
  ${time("s.created_at", "firstAt")}, ${time("s.last_updated", "lastUpdated")}, s.version`;
const COURSES = `SELECT s.course_id AS "courseId", ${SUMS} FROM course_progress AS s JOIN courses AS t ON t.id = s.course_id
  WHERE s.user_id = $1 ORDER BY s.course_id`;
const LESSONS = `SELECT s.course_id AS "courseId", s.lesson_id AS "lessonId", ${SUMS} FROM lesson_progress AS s JOIN lessons AS t ON t.id = s.lesson_id
  WHERE s.user_id = $1 ORDER BY s.lesson_id`;

const FILES = `SELECT p.course_id AS "courseId", p.lesson_id AS "lessonId", p.file_id AS "fileId", f.title,
  ${seconds("p.position_ms", "position")}, ${seconds("p.duration_ms", "duration")},
  (SELECT coalesce(json_agg(json_build_array(lower(r) / 1000.0, upper(r) / 1000.0)), '[]') FROM unnest(p.watched) AS r) AS watched,
  ${seconds("p.watched_ms", "watchedSeconds")}, ${seconds("p.watch_time_ms", "watchTimeSeconds")},
  p.progress_percentage::float8 AS percentage, (p.reported_bp / 100.0)::float8 AS "reportedPercentage", p.completed,
  p.completion_source AS "completionSource", ${time("p.created_at", "firstAt")}, ${time("p.last_watched", "lastWatched")},
  ${time("p.beat_at", "lastBeatAt")}, ${time("p.updated_at", "updatedAt")}, p.epoch, ${time("p.reset_at", "resetAt")},
  p.position_session AS "positionSession", p.position_seq AS "positionSeq", p.writer_session AS "writerSession",
  p.writer_seq AS "writerSeq", p.version
  FROM user_progress AS p JOIN files AS f ON f.id = p.file_id
  WHERE p.user_id = $1 ORDER BY p.file_id`;

const RESETS = `SELECT nullif(course_id, '') AS "courseId", nullif(file_id, '') AS "fileId", epoch, ${time("reset_at", "resetAt")}
  FROM reset_marks WHERE user_id = $1 ORDER BY course_id, file_id`;

const activity = (
  columns: string,
  isTheirs: string,
) => `SELECT ${time('"timestamp"', "at")}, activity_type AS type, course_id AS "courseId",
  lesson_id AS "lessonId", file_id AS "fileId"${columns}
  FROM user_activity_log
  WHERE ${isTheirs} ORDER BY "timestamp", id`;
const ACTIVITY = activity(
  `, duration_seconds AS "secondsSpent", coalesce(actor_id <> user_id, false) AS "byAnother"`,
  "user_id = $1",
);
const ACTIONS = activity("", "actor_id = $1 AND user_id <> $1");

const STREAMS = `SELECT id AS "streamId", title, status, key_prefix AS "keyPrefix", policy, reconnect_seconds AS "reconnectSeconds",
  ${time("expires_at", "expiresAt")}, ${time("started_at", "startedAt")}, ${time("ended_at", "endedAt")},
  ${time("created_at", "createdAt")}, ${time("updated_at", "updatedAt")}
  FROM streams WHERE user_id = $1 ORDER BY id`;
const SESSIONS = `SELECT a.stream_id AS "streamId", a.state, a.server, a.app, a.client_ip AS "clientIp", a.protocol,
  ${time("a.claimed_at", "claimedAt")}, ${time("a.started_at", "startedAt")}, ${time("a.ended_at", "endedAt")},
  a.end_reason AS "endReason", a.connections, a.peak_viewers AS "peakViewers", a.mean_bitrate_kbps AS "meanBitrateKbps"
  FROM streams AS s JOIN stream_sessions AS a ON a.stream_id = s.id
  WHERE s.user_id = $1 ORDER BY a.id`;

const EVENTS = `SELECT id AS "eventId", ${time("created_at", "at")}, type, data FROM webhook_events
  WHERE data ->> 'userId' = $1 ORDER BY id`;

const STATEMENTS = `SELECT s.id AS "statementId", s.verb, s.course_id AS "courseId", s.lesson_id AS "lessonId", s.file_id AS "fileId", s.title,
  s.registration, s.session_id AS "sessionId", ${time('s."timestamp"', "at")}, ${time("s.stored", "storedAt")},
  ${seconds("s.position_ms", "position")}, ${seconds("s.duration_ms", "duration")},
  (SELECT coalesce(json_agg(json_build_array(lower(r) / 1000.0, upper(r) / 1000.0)), '[]') FROM unnest(s.watched) AS r) AS watched,
  ${seconds("s.watched_ms", "watchedSeconds")}, ${seconds("s.watch_time_ms", "watchTimeSeconds")}, s.threshold::float8 AS threshold,
  s.reached, q.seq IS NOT NULL AND q.refused_at IS NULL AS "isWaiting", q.error AS refusal
  FROM xapi_statements AS s LEFT JOIN xapi_queue AS q ON q.seq = s.seq
  WHERE s.user_id = $1 ORDER BY s.stored, s.seq`;
const XAPI_SESSIONS = `SELECT id AS "sessionId", file_id AS "fileId", player, ${time("begun_at", "begunAt")}, stated,
  ${time("seen_at", "seenAt")}, ${time("last_watched", "lastWatched")}, ${seconds("position_ms", "position")}
  FROM xapi_sessions WHERE user_id = $1 ORDER BY begun_at, id`;

const ACCOUNT = `SELECT username, email, first_name AS "firstName", last_name AS "lastName", role, password IS NOT NULL AS "hasPassword",
  ${time("created_at", "createdAt")} FROM users WHERE id = $1`;
const PROFILE = `SELECT name, name_source AS source, ${time("updated_at", "updatedAt")} FROM user_profiles WHERE user_id = $1`;
const DELETION = `SELECT ${time("deleted_at", "deletedAt")}, ${time("returned_at", "returnedAt")} FROM deleted_users
  WHERE user_hash IN (SELECT deleted_user_hashes($1)) ORDER BY deleted_at DESC LIMIT 1`;
const TEACHES = `SELECT id AS "courseId", title FROM courses WHERE instructor_id = $1 ORDER BY id`;

/** Everything that is stored of the user; nulls and empty lists where that is nothing. @throws the database's error */
export function exportUser(pool: Pool, userId: string): Promise<UserExport> {
  return withTransaction(
    pool,
    async (client) => {
      await client.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY");
      return read(client, userId);
    },
    { writes: false },
  );
}

async function read(client: PoolClient, userId: string): Promise<UserExport> {
  const one = async <Row extends QueryResultRow>(sql: string): Promise<Row | null> =>
    (await client.query<Row>(sql, [userId])).rows[0] ?? null;

  async function all<Row extends QueryResultRow>(sql: string): Promise<Row[]> {
    await client.query(`DECLARE list NO SCROLL CURSOR FOR ${sql}`, [userId]);
    const found: Row[] = [];
    for (;;) {
      const { rows } = await client.query<Row>(`FETCH ${PAGE_ROWS} FROM list`);
      found.push(...rows);
      if (rows.length < PAGE_ROWS) break;
    }
    await client.query("CLOSE list");
    return found;
  }

  return {
    userId,
    exportedAt: new Date().toISOString(),
    account: await one<NonNullable<UserExport["account"]>>(ACCOUNT),
    profile: await one<NonNullable<UserExport["profile"]>>(PROFILE),
    deletion: await one<NonNullable<UserExport["deletion"]>>(DELETION),
    courses: await all<UserExport["courses"][number]>(COURSES),
    lessons: await all<UserExport["lessons"][number]>(LESSONS),
    files: await all<UserExport["files"][number]>(FILES),
    resets: await all<UserExport["resets"][number]>(RESETS),
    activity: await all<UserExport["activity"][number]>(ACTIVITY),
    actions: await all<UserExport["actions"][number]>(ACTIONS),
    teaches: await all<UserExport["teaches"][number]>(TEACHES),
    streams: await all<UserExport["streams"][number]>(STREAMS),
    webhookEvents: await all<UserExport["webhookEvents"][number]>(EVENTS),
    streamSessions: await all<UserExport["streamSessions"][number]>(SESSIONS),
    xapiStatements: await all<UserExport["xapiStatements"][number]>(STATEMENTS),
    xapiSessions: await all<UserExport["xapiSessions"][number]>(XAPI_SESSIONS),
  };
}
