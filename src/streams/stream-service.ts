import { type Pool, withTransaction, write } from "../db/pool.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError } from "../errors.ts";
import type { ChangeStream, CreateStream, OwnStream, StreamSession } from "../protocol/stream.ts";
import { makeStreamKey } from "./keys/stream-key.ts";
import { toServerName } from "./server-identity.ts";
import { OWN_STREAM_COLUMNS, type OwnStreamRow, toOwnStream } from "./stream-rows.ts";

/*
 * Streams as their owners manage them. The callers decide who may do what.
 */

/** A new key. This answer is the only place where it ever stands. */
export interface NewKey {
  stream: OwnStream;
  streamKey: string;
}

/** Every method throws AppError `not_found` for a stream that does not exist, and `unavailable` while the database is away. */
export interface StreamService {
  /** @throws AppError `conflict` past the owner's limit, `bad_request` for an expiry in the past */
  create(settings: CreateStream & { userId: string }): Promise<NewKey>;
  /** Streams of one owner, or of all, ordered by id. */
  list(page: { limit: number; after?: string; userId?: string }): Promise<OwnStream[]>;
  get(streamId: string): Promise<OwnStream>;
  change(streamId: string, settings: ChangeStream): Promise<OwnStream>;
  /** Makes a new key; the old key stays good for `graceSeconds`. A live session goes on. A revoked stream becomes ready. */
  rotate(streamId: string, graceSeconds: number): Promise<NewKey>;
  /** Ends the key and the live session. Only `rotate` brings the stream back. */
  revoke(streamId: string): Promise<OwnStream>;
  /** Ends the live session, and refuses the key until `enable`. @throws AppError `conflict` for a revoked or expired stream */
  disable(streamId: string): Promise<OwnStream>;
  /** @throws AppError `conflict` for a revoked or expired stream */
  enable(streamId: string): Promise<OwnStream>;
  /** Deletes the stream with its history. @throws AppError `conflict` while it is live or reconnecting */
  remove(streamId: string): Promise<void>;
  /** Sessions, the newest first; `before` is the last id of the page before. */
  sessions(streamId: string, page: { limit: number; before?: number }): Promise<StreamSession[]>;
}

export interface StreamServiceOptions {
  maxStreamsPerUser: number;
  defaultReconnectSeconds: number;
}

/** The service on the database. Triggers (migrations) end the live session where a status calls for it. */
export function createStreamService({ pool }: { pool: Pool }, options: StreamServiceOptions): StreamService {
  const toOwn = (row: OwnStreamRow) => toOwnStream(row, options.defaultReconnectSeconds);

  async function query<Row extends object>(sql: string, values: unknown[], { writes = false } = {}): Promise<Row[]> {
    type Result = Row & Record<string, unknown>;
    try {
      return (await (writes ? write<Result>(pool, sql, values) : pool.query<Result>(sql, values))).rows;
    } catch (error) {
      throw toUnavailable(error);
    }
  }

  async function get(streamId: string): Promise<OwnStream> {
    const [row] = await query<OwnStreamRow>(`SELECT ${OWN_STREAM_COLUMNS} FROM streams AS s WHERE s.id = $1`, [
      streamId,
    ]);
    if (row === undefined) throw noSuchStream();
    return toOwn(row);
  }

  /** Changes the row if `allowed` holds, else returns null. */
  async function update(streamId: string, changes: string, values: unknown[], allowed = "true") {
    const [row] = await query<OwnStreamRow>(
      `UPDATE streams AS s SET ${changes} WHERE s.id = $1 AND ${allowed} RETURNING ${OWN_STREAM_COLUMNS}`,
      [streamId, ...values],
      { writes: true },
    );
    return row === undefined ? null : toOwn(row);
  }

  /** Sets the status if the present one is among `from`. Returns the stream in either case. */
  async function setStatus(streamId: string, status: string, from: readonly string[]): Promise<OwnStream> {
    const changed = await update(
      streamId,
      "status = $2",
      [status],
      `s.status IN (${from.map((s) => `'${s}'`).join()})`,
    );
    return changed ?? get(streamId);
  }

  return {
    async create({ userId, title, expiresAt = null, policy = "first_wins", reconnectWindowSeconds = null }) {
      assertFuture(expiresAt);
      const { streamKey, hash, prefix } = makeStreamKey();
      try {
        const row = await withTransaction(pool, async (client) => {
          await client.query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", [userId]);
          // The lock on the owner keeps the count true until the new row is there.
          await client.query("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", [userId]);
          const { rows } = await client.query<{ count: number }>("SELECT count(*) FROM streams WHERE user_id = $1", [
            userId,
          ]);
          if ((rows[0]?.count ?? 0) >= options.maxStreamsPerUser) throw tooMany(options.maxStreamsPerUser);
          const inserted = await client.query<OwnStreamRow>(
            `INSERT INTO streams AS s (user_id, title, key_hash, key_prefix, expires_at, policy, reconnect_seconds)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${OWN_STREAM_COLUMNS}`,
            [userId, title, hash, prefix, expiresAt, policy, reconnectWindowSeconds],
          );
          return inserted.rows[0] as OwnStreamRow;
        });
        return { stream: toOwn(row), streamKey };
      } catch (error) {
        throw toUnavailable(error);
      }
    },

    async list({ limit, after, userId }) {
      const rows = await query<OwnStreamRow>(
        `SELECT ${OWN_STREAM_COLUMNS} FROM streams AS s
         WHERE ($2::text IS NULL OR s.id > $2) AND ($3::text IS NULL OR s.user_id = $3) ORDER BY s.id LIMIT $1`,
        [limit, after ?? null, userId ?? null],
      );
      return rows.map(toOwn);
    },

    get,

    async change(streamId, settings) {
      assertFuture(settings.expiresAt ?? null);
      const columns = toColumns(settings);
      if (columns.length === 0) return get(streamId);
      const changes = columns.map(([column], i) => `${column} = $${i + 2}`).join(", ");
      const changed = await update(
        streamId,
        changes,
        columns.map(([, value]) => value),
      );
      if (changed === null) throw noSuchStream();
      return changed;
    },

    async rotate(streamId, graceSeconds) {
      const { streamKey, hash, prefix } = makeStreamKey();
      // A revoked key gets no grace period.
      const stream = await update(
        streamId,
        `key_hash = $2, key_prefix = $3, status = CASE WHEN s.status = 'revoked' THEN 'ready' ELSE s.status END,
         previous_key_hash = CASE WHEN $4 > 0 AND s.status <> 'revoked' THEN s.key_hash END,
         previous_key_until = CASE WHEN $4 > 0 AND s.status <> 'revoked' THEN clock_timestamp() + make_interval(secs => $4) END`,
        [hash, prefix, graceSeconds],
      );
      if (stream === null) throw noSuchStream();
      return { stream, streamKey };
    },

    revoke: (streamId) =>
      setStatus(streamId, "revoked", ["ready", "live", "reconnecting", "ended", "expired", "disabled"]),

    async disable(streamId) {
      const stream = await setStatus(streamId, "disabled", ["ready", "live", "reconnecting", "ended"]);
      if (stream.status === "disabled") return stream;
      throw new AppError("conflict", `The stream is ${stream.status}: its key is refused already.`);
    },

    async enable(streamId) {
      const stream = await setStatus(streamId, "ready", ["disabled"]);
      if (stream.status === "revoked") {
        throw new AppError("conflict", "The stream's key is revoked; rotate gives it a new one.");
      }
      if (stream.status === "expired") {
        throw new AppError("conflict", "The stream's key has expired; give it a later `expiresAt`.");
      }
      return stream;
    },

    async remove(streamId) {
      const deleted = await query<{ id: string }>(
        "DELETE FROM streams WHERE id = $1 AND status NOT IN ('live', 'reconnecting') RETURNING id",
        [streamId],
        { writes: true },
      );
      if (deleted.length > 0) return;
      await get(streamId);
      throw new AppError("conflict", "The stream is live; disable or revoke it first.");
    },

    async sessions(streamId, { limit, before }) {
      return query<StreamSession>(
        `SELECT id, state, server, app, client_ip AS "clientIp", protocol, started_at AS "startedAt", ended_at AS "endedAt",
           end_reason AS "endReason", duration_seconds::float8 AS "durationSeconds", connections,
           peak_viewers AS "peakViewers", mean_bitrate_kbps AS "meanBitrateKbps", provisional
         FROM stream_sessions WHERE stream_id = $1 AND started_at IS NOT NULL AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $2`,
        [streamId, limit, before ?? null],
      ).then((rows) => rows.map(toWireSession));
    },
  };
}

function toWireSession(row: StreamSession): StreamSession {
  const toText = (at: unknown) => (at instanceof Date ? at.toISOString() : null);
  return { ...row, server: toServerName(row.server), startedAt: toText(row.startedAt), endedAt: toText(row.endedAt) };
}

function toColumns(settings: ChangeStream): [column: string, value: unknown][] {
  const columns: [string, unknown][] = [
    ["title", settings.title],
    ["expires_at", settings.expiresAt],
    ["policy", settings.policy],
    ["reconnect_seconds", settings.reconnectWindowSeconds],
  ];
  return columns.filter(([, value]) => value !== undefined);
}

function assertFuture(expiresAt: string | null): void {
  if (expiresAt === null || Date.parse(expiresAt) > Date.now()) return;
  throw new AppError("bad_request", "expiresAt: expected a moment that is still to come", {
    issues: [{ path: "expiresAt", message: "expected a moment that is still to come" }],
  });
}

function noSuchStream(): AppError {
  return new AppError("not_found", "There is no such stream.");
}

function tooMany(most: number): AppError {
  return new AppError("conflict", `A user may have ${most} streams; delete one first.`);
}
