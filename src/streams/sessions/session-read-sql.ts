import type { PoolClient } from "../../db/pool.ts";
import type { SessionPolicy } from "../../protocol/stream.ts";
import { STREAM_COLUMNS, type StreamRow } from "../stream-rows.ts";

/*
 * Streams and sessions as a step reads them, holding the stream's lock: what is past, is so by the database's clock.
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
  isReserved: boolean;
  endReason: string | null;
  reservationIsOver: boolean;
  leaseIsOver: boolean;
  windowIsOver: boolean;
  mediaTimeMs: number | null;
}

const SESSION_COLUMNS = `id, claim AS "sessionId", claimed_at AS "claimedAt", server, boot, connection, state, end_reason AS "endReason",
  coalesce(reserved_until > clock_timestamp(), false) AS "isReserved", coalesce(reserved_until <= clock_timestamp(), false) AS "reservationIsOver",
  coalesce(lease_until <= clock_timestamp(), false) AS "leaseIsOver", coalesce(reconnect_until <= clock_timestamp(), false) AS "windowIsOver",
  media_time_ms AS "mediaTimeMs"`;

export interface ConnectionOnServer {
  server: string;
  connection: string;
  /** Of the key that it was admitted with, which may have been rotated since; null where the connection alone is known. */
  keyHash: Buffer | null;
}

/** Whether a connection that was admitted may still start it, or end it. */
export function isHeld({ state, isReserved, reservationIsOver }: SessionRow): boolean {
  return state === "reserved" || (state === "reconnecting" && (isReserved || reservationIsOver));
}

/** Whether a report may renew it: it is live, or nothing but its silence ended it. */
export function isOn({ state, endReason, isReserved }: SessionRow): boolean {
  return state === "live" || (state !== "reserved" && endReason === "lease_lost" && !isReserved);
}

export async function findActive(client: PoolClient, streamId: string): Promise<SessionRow | null> {
  const { rows } = await client.query<SessionRow>(
    `SELECT ${SESSION_COLUMNS} FROM stream_sessions WHERE stream_id = $1 AND state <> 'ended'`,
    [streamId],
  );
  return rows[0] ?? null;
}

/** The stream's last session, over or not. */
export async function findLast(client: PoolClient, streamId: string): Promise<SessionRow | null> {
  const { rows } = await client.query<SessionRow>(
    `SELECT ${SESSION_COLUMNS} FROM stream_sessions WHERE stream_id = $1 ORDER BY id DESC LIMIT 1`,
    [streamId],
  );
  return rows[0] ?? null;
}

export async function findByClaim(client: PoolClient, sessionId: string): Promise<SessionRow | null> {
  const { rows } = await client.query<SessionRow>(`SELECT ${SESSION_COLUMNS} FROM stream_sessions WHERE claim = $1`, [
    sessionId,
  ]);
  return rows[0] ?? null;
}

/** The stream that the connection published last; where its session was forgotten, the one whose key it brings. */
export async function findStreamOf(
  client: PoolClient,
  { server, connection, keyHash }: ConnectionOnServer,
): Promise<string | null> {
  const { rows } = await client.query<{ streamId: string }>(
    `SELECT stream_id AS "streamId" FROM stream_sessions
     WHERE server = $1 AND connection = $2 AND ($3::bytea IS NULL OR key_hash = $3) ORDER BY claimed_at DESC LIMIT 1`,
    [server, connection, keyHash],
  );
  if (rows[0] !== undefined || keyHash === null) return rows[0]?.streamId ?? null;
  const byKey = await client.query<{ id: string }>(
    "SELECT id FROM streams WHERE key_hash = $1 OR (previous_key_hash = $1 AND previous_key_until > clock_timestamp())",
    [keyHash],
  );
  return byKey.rows[0]?.id ?? null;
}

/** By id, those that are there. */
export async function readStreams(client: PoolClient, ids: readonly string[]): Promise<Map<string, StreamRow>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<StreamRow>(
    `SELECT ${STREAM_COLUMNS} FROM streams AS s WHERE s.id = ANY($1::text[])`,
    [ids],
  );
  return new Map(rows.map((row) => [row.id, row]));
}
