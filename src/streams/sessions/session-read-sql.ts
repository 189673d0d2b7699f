import type { PoolClient } from "../../db/pool.ts";
import type { SessionPolicy } from "../../protocol/stream.ts";
import { toStoredServers } from "../server-identity.ts";
import { STREAM_COLUMNS, type StreamRow } from "../stream-rows.ts";

/*
 * Locks streams, and reads streams and sessions under the lock. Every deadline is compared with the database's clock.
 */

export interface LockedStream extends StreamRow {
  policy: SessionPolicy;
  reconnectSeconds: number;
  isExpired: boolean;
}

export interface SessionRow {
  id: number;
  sessionId: string;
  claimedAt: Date;
  server: string;
  boot: string;
  connection: string;
  state: "reserved" | "live" | "reconnecting" | "ended";
  /** A reservation is in force. */
  isReserved: boolean;
  endReason: string | null;
  reservationIsOver: boolean;
  leaseIsOver: boolean;
  windowIsOver: boolean;
  mediaTimeMs: number | null;
}

/** A connection as media servers name it that keep no session ids. */
export interface ConnectionOnServer {
  server: string;
  connection: string;
  /** Of the key that the connection was admitted with, which may have been rotated since. Null where the media server does not say it. */
  keyHash: Buffer | null;
}

const SESSION_COLUMNS = `id, claim AS "sessionId", claimed_at AS "claimedAt", server, boot, connection, state, end_reason AS "endReason",
  coalesce(reserved_until > clock_timestamp(), false) AS "isReserved", coalesce(reserved_until <= clock_timestamp(), false) AS "reservationIsOver",
  coalesce(lease_until <= clock_timestamp(), false) AS "leaseIsOver", coalesce(reconnect_until <= clock_timestamp(), false) AS "windowIsOver",
  media_time_ms AS "mediaTimeMs"`;

/** Waits for the stream's lock. */
export async function lockStream(client: PoolClient, streamId: string): Promise<void> {
  await client.query("SELECT FROM streams WHERE id = $1 FOR NO KEY UPDATE", [streamId]);
}

/**
 * Locks the stream and reads it; null where there is none. The read is a statement of its own: it sees the clock, and
 * what others wrote, while the lock was waited for.
 */
export async function readLocked(
  client: PoolClient,
  streamId: string,
  defaultReconnectSeconds: number,
): Promise<LockedStream | null> {
  await lockStream(client, streamId);
  const { rows } = await client.query<LockedStream>(
    `SELECT ${STREAM_COLUMNS}, s.policy, coalesce(s.reconnect_seconds, $2) AS "reconnectSeconds",
       coalesce(s.expires_at <= clock_timestamp(), false) AS "isExpired"
     FROM streams AS s WHERE s.id = $1`,
    [streamId, defaultReconnectSeconds],
  );
  return rows[0] ?? null;
}

/** The stream's session that has not ended. */
export async function findActive(client: PoolClient, streamId: string): Promise<SessionRow | null> {
  const { rows } = await client.query<SessionRow>(
    `SELECT ${SESSION_COLUMNS} FROM stream_sessions WHERE stream_id = $1 AND state <> 'ended'`,
    [streamId],
  );
  return rows[0] ?? null;
}

/** The stream's newest session, ended or not. */
export async function findLast(client: PoolClient, streamId: string): Promise<SessionRow | null> {
  const { rows } = await client.query<SessionRow>(
    `SELECT ${SESSION_COLUMNS} FROM stream_sessions WHERE stream_id = $1 ORDER BY id DESC LIMIT 1`,
    [streamId],
  );
  return rows[0] ?? null;
}

/** A session by its id. */
export async function findSession(client: PoolClient, sessionId: string): Promise<SessionRow | null> {
  const { rows } = await client.query<SessionRow>(`SELECT ${SESSION_COLUMNS} FROM stream_sessions WHERE claim = $1`, [
    sessionId,
  ]);
  return rows[0] ?? null;
}

/** The id of the stream that a media server's session belongs to; undefined where it has no such session. */
export async function findStreamOfSession(
  client: PoolClient,
  owner: { server: string; boot: string },
  sessionId: string,
): Promise<string | undefined> {
  const { rows } = await client.query<{ streamId: string }>(
    'SELECT stream_id AS "streamId" FROM stream_sessions WHERE claim = $1 AND server = ANY($2::text[]) AND boot = $3',
    [sessionId, toStoredServers(owner.server), owner.boot],
  );
  return rows[0]?.streamId;
}

/** The id of the stream that the connection published last. Where its session has been deleted, the stream of its key. */
export async function findStreamOfConnection(
  client: PoolClient,
  { server, connection, keyHash }: ConnectionOnServer,
): Promise<string | null> {
  const { rows } = await client.query<{ streamId: string }>(
    `SELECT stream_id AS "streamId" FROM stream_sessions
     WHERE server = ANY($1::text[]) AND connection = $2 AND ($3::bytea IS NULL OR key_hash = $3) ORDER BY claimed_at DESC LIMIT 1`,
    [toStoredServers(server), connection, keyHash],
  );
  if (rows[0] !== undefined || keyHash === null) return rows[0]?.streamId ?? null;
  const byKey = await client.query<{ id: string }>(
    "SELECT id FROM streams WHERE key_hash = $1 OR (previous_key_hash = $1 AND previous_key_until > clock_timestamp())",
    [keyHash],
  );
  return byKey.rows[0]?.id ?? null;
}

/** Streams by id; an id of no stream is missing. */
export async function readStreams(client: PoolClient, ids: readonly string[]): Promise<Map<string, StreamRow>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<StreamRow>(
    `SELECT ${STREAM_COLUMNS} FROM streams AS s WHERE s.id = ANY($1::text[])`,
    [ids],
  );
  return new Map(rows.map((row) => [row.id, row]));
}
