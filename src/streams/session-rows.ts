import type { PoolClient } from "../db/pool.ts";
import type { SessionPolicy } from "../protocol/stream.ts";
import { STREAM_COLUMNS, type StreamRow } from "./stream-rows.ts";

/*
 * Streams and sessions as a step reads them, holding the stream's lock: what is past, is so by the database's clock.
 */

export interface LockedStream extends StreamRow {
  policy: SessionPolicy;
  reconnectSeconds: number;
  keyIsGood: boolean;
  isExpired: boolean;
  /** By the database's clock, and when that was by `performance.now()`. */
  now: Date;
  readAt: number;
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

export function activeState({ state }: SessionRow): "reserved" | "live" | "reconnecting" {
  if (state === "ended") throw new Error("an ended session was taken for an active one");
  return state;
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

/**
 * The boot of a server that cannot tell. A connection id that publishes in the last boot that is known, and was not
 * unpublished since, means that the server was started anew: ids are never given twice.
 */
export async function presentBoot(client: PoolClient, server: string, connection: string): Promise<string> {
  const { rows } = await client.query<{ boot: string; isKnown: boolean }>(
    `SELECT last.boot, EXISTS (SELECT FROM stream_sessions WHERE server = $1 AND boot = last.boot AND connection = $2
         AND end_reason IS DISTINCT FROM 'unpublished') AS "isKnown"
     FROM (SELECT boot FROM stream_sessions WHERE server = $1 ORDER BY claimed_at DESC LIMIT 1) AS last`,
    [server, connection],
  );
  const [last] = rows;
  if (last === undefined) return "1";
  return last.isKnown ? String((Number.parseInt(last.boot, 10) || 0) + 1) : last.boot;
}

export async function readStream(client: PoolClient, streamId: string): Promise<StreamRow & { lifetimeMs: number }> {
  const { rows } = await client.query<StreamRow & { lifetimeMs: number }>(
    `SELECT ${STREAM_COLUMNS}, CASE WHEN s.expires_at IS NULL THEN 0
       ELSE greatest(1, ceil(extract(epoch FROM s.expires_at - clock_timestamp()) * 1000)) END::float8 AS "lifetimeMs"
     FROM streams AS s WHERE s.id = $1`,
    [streamId],
  );
  const [row] = rows;
  if (row === undefined) throw new Error("a stream that is locked is not there");
  return row;
}
