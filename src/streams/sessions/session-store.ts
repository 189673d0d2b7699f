import { type Pool, type PoolClient, withTransaction } from "../../db/pool.ts";
import { hideStreamKeys } from "../../hide-stream-keys.ts";
import type { Stream } from "../../protocol/stream.ts";
import type { Claim, ClaimResult, Drop } from "../claims/claim.ts";
import { refusalOf } from "../claims/claim-decision.ts";
import { ClaimWriter } from "../claims/claim-writer.ts";
import { STREAM_COLUMNS, toStream } from "../stream-rows.ts";
import { isOver, noSuchSession, notStarted } from "./session-errors.ts";
import {
  type ConnectionOnServer,
  findActive,
  findByClaim,
  findLast,
  findStreamOf,
  isHeld,
  isOn,
  type LockedStream,
  readStreams,
  type SessionRow,
} from "./session-read-sql.ts";
import { goLive, leaseOf, setStatus } from "./session-write-sql.ts";
import type { ReportedFigures } from "./stats-writer.ts";

/*
 * What becomes of sessions, one transaction a step. Every step locks its stream first, so that of two that meet the
 * second sees what the first did; the clock is always the database's. The status follows in the same transaction.
 */

/** A media server that comes back later than that hears of a dropped session only when it reports it. */
const DROPS_KEPT = "1 hour";
/** More of them are told at once to nobody. */
const MAX_DROPS = 10_000;

export interface SessionStoreOptions {
  defaultReconnectSeconds: number;
}

export class SessionStore {
  readonly #pool: Pool;
  readonly #options: SessionStoreOptions;
  readonly claims: ClaimWriter;

  constructor({ pool }: { pool: Pool }, options: SessionStoreOptions) {
    this.#pool = pool;
    this.#options = options;
    this.claims = new ClaimWriter({ pool }, options);
  }

  /** Claims the stream for a connection, by itself. @throws the signal's reason where nobody waits any more */
  claim(claim: Claim): Promise<ClaimResult> {
    return this.claims.write(claim);
  }

  /** The media of a session flows. @throws AppError `not_found`, `conflict` */
  start(owner: { server: string; boot: string }, sessionId: string, leaseSeconds: number): Promise<Stream> {
    return this.#withSession(owner, sessionId, async (client, stream, session) => {
      if (session.state === "ended" || (session.state === "reconnecting" && !isHeld(session))) throw isOver();
      if (session.state !== "live") await goLive(client, [{ streamId: stream.id, sessionId, leaseSeconds }]);
    });
  }

  /** Renews a session's lease and shows what was measured. @throws AppError `not_found`, `conflict` */
  report(
    owner: { server: string; boot: string },
    sessionId: string,
    figures: ReportedFigures,
    leaseSeconds: number,
  ): Promise<Stream> {
    return this.#withSession(owner, sessionId, async (client, stream, session) => {
      if (session.state === "ended" || !isOn(session)) throw session.state === "reserved" ? notStarted() : isOver();
      await this.#renew(client, stream, session, figures, leaseSeconds);
    });
  }

  /** The encoder of a session is gone. @throws AppError `not_found`, `conflict` */
  end(owner: { server: string; boot: string }, sessionId: string, reason: string): Promise<Stream> {
    return this.#withSession(owner, sessionId, async (client, stream, session) => {
      if (session.state === "ended" || !(isHeld(session) || isOn(session))) throw isOver();
      await this.#leave(client, stream, session, reason);
    });
  }

  /**
   * The same as `report` for a media server that knows connections. A connection that publishes nothing is ignored.
   * @returns why its stream's key is refused by now, `revoked` also where it is nobody's; null where it is not
   */
  reportConnection(
    at: ConnectionOnServer,
    figures: ReportedFigures,
    leaseSeconds: number,
  ): Promise<ReturnType<typeof refusalOf>> {
    return this.#withConnection(at, async (client, stream, session) => {
      const { mediaTimeMs } = figures;
      const isFrozen = mediaTimeMs !== undefined && session.mediaTimeMs === Math.round(mediaTimeMs);
      if (isOn(session) && !isFrozen) await this.#renew(client, stream, session, figures, leaseSeconds);
    });
  }

  /** The same as `end` for a media server that knows connections. */
  async endConnection(at: ConnectionOnServer, reason: string): Promise<void> {
    await this.#withConnection(at, async (client, stream, session) => {
      if (session.state !== "ended" && (isHeld(session) || isOn(session)))
        await this.#leave(client, stream, session, reason);
    });
  }

  /** Which streams have a session whose time is up. */
  async findDue(): Promise<string[]> {
    const { rows } = await this.#pool.query<{ streamId: string }>(
      `SELECT stream_id AS "streamId" FROM stream_sessions WHERE state <> 'ended' AND ${DUE_AT} <= clock_timestamp()`,
    );
    return rows.map(({ streamId }) => streamId);
  }

  /** In how many milliseconds the next session's time is up; null where none is on. */
  async findNextDueMs(): Promise<number | null> {
    const { rows } = await this.#pool.query<{ ms: number | null }>(
      `SELECT (extract(epoch FROM min(${DUE_AT}) - clock_timestamp()) * 1000)::float8 AS ms FROM stream_sessions WHERE state <> 'ended'`,
    );
    return rows[0]?.ms ?? null;
  }

  /** Takes the stream's session on where its time is up: a lease is lost, a window has passed, nobody started it. */
  sweep(streamId: string): Promise<void> {
    return withTransaction(this.#pool, async (client) => {
      const stream = await this.#lock(client, streamId);
      const session = stream === null ? null : await findActive(client, streamId);
      if (stream === null || session === null) return;
      if (session.state === "live") {
        if (session.leaseIsOver) await this.#leave(client, stream, session, "lease_lost");
      } else if (session.state === "reserved") {
        if (session.reservationIsOver) await client.query("DELETE FROM stream_sessions WHERE id = $1", [session.id]);
      } else if (session.windowIsOver && !session.isReserved) {
        await client.query("UPDATE stream_sessions SET state = 'ended' WHERE id = $1", [session.id]);
        await setStatus(client, [streamId], "ended");
      }
    });
  }

  /** Sessions that ended lately without their media server's doing: of some streams, of one media server, or all. */
  async findDrops(of: { streamIds: string[] } | { server: string; boot: string } | "all"): Promise<Drop[]> {
    const [whose, values] =
      of === "all"
        ? ["true", []]
        : "streamIds" in of
          ? ["stream_id = ANY($1::text[])", [of.streamIds]]
          : ["server = $1 AND boot = $2", [of.server, of.boot]];
    const { rows } = await this.#pool.query<Drop>(
      `SELECT server, boot, connection, claim AS "sessionId", drop_reason AS reason FROM stream_sessions
       WHERE ${whose} AND state = 'ended' AND drop_reason IS NOT NULL
         AND ended_at > clock_timestamp() - interval '${DROPS_KEPT}' ORDER BY ended_at DESC LIMIT ${MAX_DROPS}`,
      values,
    );
    return rows;
  }

  async #renew(
    client: PoolClient,
    stream: LockedStream,
    session: SessionRow,
    figures: ReportedFigures,
    leaseSeconds: number,
  ): Promise<void> {
    // A lost lease was only silence: the connection was there all along.
    if (session.state !== "live" || stream.status !== "live")
      await goLive(client, [{ streamId: stream.id, sessionId: session.sessionId, leaseSeconds }]);
    const { bitrateKbps = null, viewers = null, peakViewers = viewers, mediaTimeMs = null } = figures;
    const { bitrateSum = bitrateKbps ?? 0, bitrateReports = bitrateKbps === null ? 0 : 1 } = figures;
    await client.query(
      `UPDATE stream_sessions SET lease_until = ${leaseOf("$2")}, media_time_ms = coalesce($3, media_time_ms),
         peak_viewers = greatest(peak_viewers, $4::integer), bitrate_sum = bitrate_sum + $5, bitrate_reports = bitrate_reports + $6
       WHERE id = $1`,
      [
        session.id,
        leaseSeconds,
        mediaTimeMs === null ? null : Math.round(mediaTimeMs),
        peakViewers,
        Math.round(bitrateSum),
        bitrateReports,
      ],
    );
    await client.query(
      `UPDATE streams SET bitrate_kbps = coalesce($2, bitrate_kbps), viewers = coalesce($3, viewers)
       WHERE id = $1 AND (bitrate_kbps, viewers) IS DISTINCT FROM (coalesce($2, bitrate_kbps), coalesce($3, viewers))`,
      [stream.id, bitrateKbps === null ? null : Math.round(bitrateKbps), viewers],
    );
  }

  /** The connection is lost: the session waits for its encoder, or is over where it waits for none. */
  async #leave(client: PoolClient, stream: LockedStream, session: SessionRow, why: string): Promise<void> {
    const reason = hideStreamKeys(why);
    if (session.state === "reserved") {
      await client.query("DELETE FROM stream_sessions WHERE id = $1", [session.id]);
      return;
    }
    if (session.state === "reconnecting") {
      // Its window goes on from when the media ended.
      await client.query("UPDATE stream_sessions SET reserved_until = NULL, end_reason = $2 WHERE id = $1", [
        session.id,
        reason,
      ]);
      return;
    }
    const waits = stream.reconnectSeconds > 0;
    await client.query(
      `UPDATE stream_sessions SET state = $2, end_reason = $3, reserved_until = NULL, lease_until = NULL,
         ended_at = coalesce(ended_at, clock_timestamp()), reconnect_until = clock_timestamp() + make_interval(secs => $4)
       WHERE id = $1`,
      [session.id, waits ? "reconnecting" : "ended", reason, stream.reconnectSeconds],
    );
    await setStatus(client, [stream.id], waits ? "reconnecting" : "ended");
  }

  async #withSession(
    owner: { server: string; boot: string },
    sessionId: string,
    step: (client: PoolClient, stream: LockedStream, session: SessionRow) => Promise<void>,
  ): Promise<Stream> {
    return withTransaction(this.#pool, async (client) => {
      const found = await client.query<{ streamId: string }>(
        'SELECT stream_id AS "streamId" FROM stream_sessions WHERE claim = $1 AND server = $2 AND boot = $3',
        [sessionId, owner.server, owner.boot],
      );
      const streamId = found.rows[0]?.streamId;
      const stream = streamId === undefined ? null : await this.#lock(client, streamId);
      if (stream === null) throw noSuchSession();
      const session = await findByClaim(client, sessionId);
      if (session === null) throw noSuchSession();
      await step(client, stream, session);
      const row = (await readStreams(client, [stream.id])).get(stream.id);
      if (row === undefined) throw new Error("a stream that is locked is not there");
      return toStream(row);
    });
  }

  async #withConnection(
    { server, connection, keyHash }: ConnectionOnServer,
    step: (client: PoolClient, stream: LockedStream, session: SessionRow) => Promise<void>,
  ): Promise<ReturnType<typeof refusalOf>> {
    return withTransaction(this.#pool, async (client) => {
      const id = await findStreamOf(client, { server, connection, keyHash });
      // Not a rotated key, whose session would name it: its stream was deleted.
      if (id === null && keyHash !== null) return "revoked";
      const stream = id === null ? null : await this.#lock(client, id);
      if (stream === null) return null;
      const refusal = refusalOf(stream);
      const session = await findActive(client, stream.id);
      if (session?.server === server && session.connection === connection) await step(client, stream, session);
      else if (session === null && refusal === null) await this.#reopen(client, stream, { server, connection }, step);
      return refusal;
    });
  }

  /**
   * A session that ended by its lost lease while its connection went on, silent: an encoder that stood still and moves
   * again. Its media server neither asks nor announces it anew.
   */
  async #reopen(
    client: PoolClient,
    stream: LockedStream,
    { server, connection }: { server: string; connection: string },
    step: (client: PoolClient, stream: LockedStream, session: SessionRow) => Promise<void>,
  ): Promise<void> {
    const last = await findLast(client, stream.id);
    if (last?.endReason !== "lease_lost" || last.server !== server || last.connection !== connection) return;
    await step(client, stream, last);
  }

  async #lock(client: PoolClient, streamId: string): Promise<LockedStream | null> {
    await client.query("SELECT FROM streams WHERE id = $1 FOR NO KEY UPDATE", [streamId]);
    // Read anew: the clock, and what was written while the lock was waited for.
    const { rows } = await client.query<LockedStream>(
      `SELECT ${STREAM_COLUMNS}, s.policy, coalesce(s.reconnect_seconds, $2) AS "reconnectSeconds",
         coalesce(s.expires_at <= clock_timestamp(), false) AS "isExpired"
       FROM streams AS s WHERE s.id = $1`,
      [streamId, this.#options.defaultReconnectSeconds],
    );
    return rows[0] ?? null;
  }
}

const DUE_AT = `CASE state WHEN 'live' THEN lease_until WHEN 'reserved' THEN reserved_until
  ELSE greatest(reconnect_until, reserved_until) END`;
