import { type Pool, type PoolClient, withTransaction } from "../db/pool.ts";
import { hideStreamKeys } from "../hide-stream-keys.ts";
import type { DropReason, Stream } from "../protocol/stream.ts";
import type { Claim, ClaimResult, Drop } from "./claim.ts";
import { decideClaim, refusalOf } from "./claim-decision.ts";
import { isOver, noSuchSession, notStarted } from "./session-refusals.ts";
import {
  activeState,
  type ConnectionOnServer,
  findActive,
  findByClaim,
  findLast,
  findStreamOf,
  isHeld,
  isOn,
  type LockedStream,
  presentBoot,
  readStream,
  type SessionRow,
} from "./session-rows.ts";
import type { ReportedFigures } from "./stats-writer.ts";
import { STREAM_COLUMNS, toStream } from "./stream-rows.ts";

/*
 * What becomes of sessions, one transaction a step. Every step locks its stream first, so that of two that meet the
 * second sees what the first did; the clock is always the database's. The status follows in the same transaction.
 */

/** From the admission to the start of the media. */
const RESERVATION_SECONDS = 10;
/** A media server that comes back later than that hears of a dropped session only when it reports it. */
const DROPS_KEPT = "1 hour";
/** More of them are told at once to nobody. */
const MAX_DROPS = 10_000;

export interface SessionStoreOptions {
  defaultReconnectSeconds: number;
}

const RESERVED_UNTIL = `clock_timestamp() + interval '${RESERVATION_SECONDS} seconds'`;

export class SessionStore {
  readonly #pool: Pool;
  readonly #options: SessionStoreOptions;

  constructor({ pool }: { pool: Pool }, options: SessionStoreOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** Claims the stream for a connection. */
  claim(claim: Claim): Promise<ClaimResult> {
    return withTransaction(this.#pool, async (client) => {
      const stream = await this.#lock(client, claim.streamId, claim.keyHash);
      if (stream === null || !stream.keyIsGood) return { valid: false, reason: "unknown" };
      const active = await findActive(client, stream.id);
      const boot = claim.boot ?? (await presentBoot(client, claim.server, claim.connection));
      const decision = decideClaim(stream, active === null ? null : { ...active, state: activeState(active) }, {
        ...claim,
        boot,
        isBootDerived: claim.boot === null,
        admittedAt: toAdmittedAt(claim, stream),
      });
      if (decision.kind === "refuse") return { valid: false, reason: decision.reason };
      const sessionId = await this.#hold(client, stream, { ...claim, boot }, decision, active);
      if (claim.starts) await this.#goLive(client, stream, sessionId, claim.leaseSeconds);
      const { lifetimeMs, ...row } = await readStream(client, stream.id);
      claim.signal?.throwIfAborted();
      const ousted = decision.kind === "oust" && active !== null ? { ...active, reason: decision.reason } : null;
      return { valid: true, sessionId, stream: toStream(row), lifetimeMs, ousted };
    });
  }

  /** The media of a session flows. @throws AppError `not_found`, `conflict` */
  start(owner: { server: string; boot: string }, sessionId: string, leaseSeconds: number): Promise<Stream> {
    return this.#withSession(owner, sessionId, async (client, stream, session) => {
      if (session.state === "ended" || (session.state === "reconnecting" && !isHeld(session))) throw isOver();
      if (session.state !== "live") await this.#goLive(client, stream, sessionId, leaseSeconds);
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
        await setStatus(client, streamId, "ended");
      }
    });
  }

  /** Sessions that ended lately without their media server's doing: of one stream, of one media server, or all. */
  async findDrops(of: { streamId: string } | { server: string; boot: string } | "all"): Promise<Drop[]> {
    const [whose, values] =
      of === "all"
        ? ["true", []]
        : "streamId" in of
          ? ["stream_id = $1", [of.streamId]]
          : ["server = $1 AND boot = $2", [of.server, of.boot]];
    const { rows } = await this.#pool.query<Drop>(
      `SELECT server, boot, connection, claim AS "sessionId", drop_reason AS reason FROM stream_sessions
       WHERE ${whose} AND state = 'ended' AND drop_reason IS NOT NULL
         AND ended_at > clock_timestamp() - interval '${DROPS_KEPT}' ORDER BY ended_at DESC LIMIT ${MAX_DROPS}`,
      values,
    );
    return rows;
  }

  async #hold(
    client: PoolClient,
    stream: LockedStream,
    claim: Claim,
    decision: { kind: "begin" | "same" | "resume" | "oust"; reason?: DropReason },
    active: SessionRow | null,
  ): Promise<string> {
    if (decision.kind === "oust" && active !== null) {
      await client.query(
        `UPDATE stream_sessions SET state = 'ended', ended_at = coalesce(ended_at, clock_timestamp()), end_reason = $2, drop_reason = $2
         WHERE id = $1`,
        [active.id, decision.reason],
      );
      // What follows is not live before it has started.
      if (stream.status === "live" || stream.status === "reconnecting") await setStatus(client, stream.id, "ended");
    } else if (decision.kind === "same" && active !== null) {
      // What was said of it while the database was away named the newer id.
      const sessionId = claim.admittedAt === undefined ? active.sessionId : claim.sessionId;
      await client.query(
        `UPDATE stream_sessions SET claim = $2, reserved_until = CASE WHEN state <> 'live' THEN ${RESERVED_UNTIL} END WHERE id = $1`,
        [active.id, sessionId],
      );
      return sessionId;
    }
    const values = [
      claim.sessionId,
      claim.server,
      claim.boot,
      claim.connection,
      toStored(claim.app),
      toStored(claim.clientIp),
      toStored(claim.protocol),
      toAdmittedAt(claim, stream),
      claim.keyHash,
    ];
    if (decision.kind === "resume" && active !== null) {
      await client.query(
        `UPDATE stream_sessions SET claim = $1, server = $2, boot = $3, connection = $4, app = $5, client_ip = $6, protocol = $7, key_hash = $9,
           claimed_at = ${ADMITTED_AT}, provisional = provisional OR $8::timestamptz IS NOT NULL, reserved_until = ${RESERVED_UNTIL},
           media_time_ms = NULL, connections = connections + (started_at IS NOT NULL)::integer,
           state = CASE WHEN started_at IS NULL THEN 'reserved' ELSE 'reconnecting' END, lease_until = NULL,
           ended_at = CASE WHEN started_at IS NOT NULL THEN coalesce(ended_at, clock_timestamp()) END,
           reconnect_until = coalesce(reconnect_until, clock_timestamp() + make_interval(secs => $11))
         WHERE id = $10`,
        [...values, active.id, stream.reconnectSeconds],
      );
      if (active.state === "live") await setStatus(client, stream.id, "reconnecting");
    } else {
      await client.query(
        `INSERT INTO stream_sessions (claim, server, boot, connection, app, client_ip, protocol, claimed_at, provisional, key_hash, reserved_until, state, stream_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, ${ADMITTED_AT}, $8::timestamptz IS NOT NULL, $9, ${RESERVED_UNTIL}, 'reserved', $10)`,
        [...values, claim.streamId],
      );
    }
    return claim.sessionId;
  }

  async #goLive(client: PoolClient, stream: LockedStream, sessionId: string, leaseSeconds: number): Promise<void> {
    await client.query(
      `UPDATE stream_sessions SET state = 'live', reserved_until = NULL, reconnect_until = NULL, ended_at = NULL, end_reason = NULL,
         started_at = coalesce(started_at, clock_timestamp()), lease_until = ${leaseOf("$2")}
       WHERE claim = $1`,
      [sessionId, leaseSeconds],
    );
    await setStatus(client, stream.id, "live");
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
      await this.#goLive(client, stream, session.sessionId, leaseSeconds);
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
    await setStatus(client, stream.id, waits ? "reconnecting" : "ended");
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
      return toStream(await readStream(client, stream.id));
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

  async #lock(client: PoolClient, streamId: string, keyHash: Buffer | null = null): Promise<LockedStream | null> {
    await client.query("SELECT FROM streams WHERE id = $1 FOR NO KEY UPDATE", [streamId]);
    // Read anew: the clock, and what was written while the lock was waited for.
    const { rows } = await client.query<Omit<LockedStream, "readAt">>(
      `SELECT ${STREAM_COLUMNS}, s.policy, coalesce(s.reconnect_seconds, $2) AS "reconnectSeconds", clock_timestamp() AS now,
         coalesce(s.key_hash = $3 OR (s.previous_key_hash = $3 AND s.previous_key_until > clock_timestamp()), false) AS "keyIsGood",
         coalesce(s.expires_at <= clock_timestamp(), false) AS "isExpired"
       FROM streams AS s WHERE s.id = $1`,
      [streamId, this.#options.defaultReconnectSeconds, keyHash],
    );
    return rows[0] === undefined ? null : { ...rows[0], readAt: performance.now() };
  }
}

const DUE_AT = `CASE state WHEN 'live' THEN lease_until WHEN 'reserved' THEN reserved_until
  ELSE greatest(reconnect_until, reserved_until) END`;
const ADMITTED_AT = "coalesce($8::timestamptz, clock_timestamp())";

/** Encoders are given a whole address where a server's is asked for, and media servers quote them. */
function toStored(text: string | null): string | null {
  return text === null ? null : hideStreamKeys(text);
}

/** By the database's clock. */
function toAdmittedAt({ admittedAt }: Claim, { now, readAt }: LockedStream): Date | null {
  return admittedAt === undefined ? null : new Date(now.getTime() - (readAt - admittedAt));
}

function leaseOf(parameter: string): string {
  return `clock_timestamp() + make_interval(secs => ${parameter})`;
}

async function setStatus(client: PoolClient, streamId: string, status: "live" | "reconnecting" | "ended") {
  await client.query("UPDATE streams SET status = $2 WHERE id = $1 AND status <> $2", [streamId, status]);
}
