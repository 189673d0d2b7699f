import { toTextArray } from "../db/array-literal.ts";
import type { Pool } from "../db/pool.ts";
import type { OwnStream, SessionPolicy, Stream, StreamStatus } from "../protocol/stream.ts";

/** The columns of `streams` that everybody may see. */
export interface StreamRow {
  id: string;
  userId: string;
  title: string;
  status: StreamStatus;
  keyPrefix: string;
  bitrateKbps: number | null;
  viewers: number | null;
  expiresAt: Date | null;
  startedAt: Date | null;
  endedAt: Date | null;
  version: number;
}

/** Selects a StreamRow from a table `streams` called `s`. */
export const STREAM_COLUMNS = `s.id, s.user_id AS "userId", s.title, s.status, s.key_prefix AS "keyPrefix",
  s.bitrate_kbps AS "bitrateKbps", s.viewers, s.expires_at AS "expiresAt", s.started_at AS "startedAt", s.ended_at AS "endedAt", s.version`;

export function toStream(row: StreamRow): Stream {
  return {
    id: row.id,
    userId: row.userId,
    title: row.title,
    status: row.status,
    keyPrefix: row.keyPrefix,
    bitrateKbps: row.bitrateKbps,
    viewers: row.viewers,
    expiresAt: row.expiresAt?.toISOString() ?? null,
    startedAt: row.startedAt?.toISOString() ?? null,
    endedAt: row.endedAt?.toISOString() ?? null,
    version: row.version,
  };
}

/** The columns that only a stream's owner sees, too. */
export interface OwnStreamRow extends StreamRow {
  policy: SessionPolicy;
  reconnectSeconds: number | null;
  previousKeyUntil: Date | null;
  createdAt: Date;
}

/** Selects an OwnStreamRow from a table `streams` called `s`. */
export const OWN_STREAM_COLUMNS = `${STREAM_COLUMNS}, s.policy, s.reconnect_seconds AS "reconnectSeconds",
  CASE WHEN s.previous_key_until > clock_timestamp() THEN s.previous_key_until END AS "previousKeyUntil", s.created_at AS "createdAt"`;

export function toOwnStream(row: OwnStreamRow, defaultReconnectSeconds: number): OwnStream {
  return {
    ...toStream(row),
    policy: row.policy,
    reconnectWindowSeconds: row.reconnectSeconds ?? defaultReconnectSeconds,
    previousKeyUntil: row.previousKeyUntil?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
  };
}

/** Which of these ids are ids of streams. @throws the database's error */
export async function findStreamIds(pool: Pool, ids: readonly string[]): Promise<Set<string>> {
  const { rows } = await pool.query<{ id: string }>("SELECT id FROM streams WHERE id = ANY($1::text[])", [
    toTextArray(ids),
  ]);
  return new Set(rows.map(({ id }) => id));
}
