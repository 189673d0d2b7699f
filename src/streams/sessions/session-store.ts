import { type Pool, type PoolClient, withTransaction } from "../../db/pool.ts";
import type { Stream } from "../../protocol/stream.ts";
import { type KeyRefusal, refusalOf } from "../keys/key-refusal.ts";
import { isOfServer } from "../server-identity.ts";
import { toStream } from "../stream-rows.ts";
import { leaveSession } from "./leave-session.ts";
import type { ReportedFigures } from "./reported-figures.ts";
import { hasEnded, noSuchSession, notStarted } from "./session-errors.ts";
import {
  type ConnectionOnServer,
  findActive,
  findLast,
  findSession,
  findStreamOfConnection,
  findStreamOfSession,
  type LockedStream,
  readLocked,
  readStreams,
  type SessionRow,
} from "./session-read-sql.ts";
import { goLive, renewLease } from "./session-write-sql.ts";

/*
 * What media servers report of sessions, one transaction a report. Each transaction locks the stream first, so of two
 * reports that meet, the second sees what the first wrote. The stream's status is written in the same transaction.
 */

/** One run of a media server. */
export interface SessionOwner {
  server: string;
  boot: string;
}

export interface SessionStoreOptions {
  defaultReconnectSeconds: number;
}

type Step = (client: PoolClient, stream: LockedStream, session: SessionRow) => Promise<void>;

export class SessionStore {
  readonly #pool: Pool;
  readonly #options: SessionStoreOptions;

  constructor({ pool }: { pool: Pool }, options: SessionStoreOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** The media of a session flows. @throws AppError `not_found`, `conflict` */
  start(owner: SessionOwner, sessionId: string, leaseSeconds: number): Promise<Stream> {
    return this.#withSession(owner, sessionId, async (client, stream, session) => {
      if (session.state === "ended" || (session.state === "reconnecting" && !isHeld(session))) throw hasEnded();
      if (session.state !== "live") await goLive(client, [{ streamId: stream.id, sessionId, leaseSeconds }]);
    });
  }

  /** Renews a session's lease and stores the figures. @throws AppError `not_found`, `conflict` */
  report(owner: SessionOwner, sessionId: string, figures: ReportedFigures, leaseSeconds: number): Promise<Stream> {
    return this.#withSession(owner, sessionId, async (client, stream, session) => {
      if (session.state === "ended" || !isRenewable(session))
        throw session.state === "reserved" ? notStarted() : hasEnded();
      await renew(client, stream, session, figures, leaseSeconds);
    });
  }

  /** The encoder of a session is gone. @throws AppError `not_found`, `conflict` */
  end(owner: SessionOwner, sessionId: string, reason: string): Promise<Stream> {
    return this.#withSession(owner, sessionId, async (client, stream, session) => {
      if (session.state === "ended" || !(isHeld(session) || isRenewable(session))) throw hasEnded();
      await leaveSession(client, stream, session, reason);
    });
  }

  /**
   * `report` for a media server that names connections. A connection that publishes nothing is ignored.
   * @returns why the stream's key is refused by now; `revoked` also where the key belongs to no stream. Null while it is good
   */
  reportConnection(at: ConnectionOnServer, figures: ReportedFigures, leaseSeconds: number): Promise<KeyRefusal | null> {
    return this.#withConnection(at, async (client, stream, session) => {
      const { mediaTimeMs } = figures;
      const isFrozen = mediaTimeMs !== undefined && session.mediaTimeMs === Math.round(mediaTimeMs);
      if (isRenewable(session) && !isFrozen) await renew(client, stream, session, figures, leaseSeconds);
    });
  }

  /** `end` for a media server that names connections. */
  async endConnection(at: ConnectionOnServer, reason: string): Promise<void> {
    await this.#withConnection(at, async (client, stream, session) => {
      if (session.state !== "ended" && (isHeld(session) || isRenewable(session)))
        await leaveSession(client, stream, session, reason);
    });
  }

  async #withSession(owner: SessionOwner, sessionId: string, step: Step): Promise<Stream> {
    return withTransaction(this.#pool, async (client) => {
      const streamId = await findStreamOfSession(client, owner, sessionId);
      const stream = streamId === undefined ? null : await this.#lock(client, streamId);
      const session = stream === null ? null : await findSession(client, sessionId);
      if (stream === null || session === null) throw noSuchSession();
      await step(client, stream, session);
      const row = (await readStreams(client, [stream.id])).get(stream.id);
      if (row === undefined) throw new Error("a stream that is locked was deleted");
      return toStream(row);
    });
  }

  async #withConnection(at: ConnectionOnServer, step: Step): Promise<KeyRefusal | null> {
    return withTransaction(this.#pool, async (client) => {
      const id = await findStreamOfConnection(client, at);
      // The stream was deleted. It is not a rotated key: that one's session would name the stream.
      if (id === null && at.keyHash !== null) return "revoked";
      const stream = id === null ? null : await this.#lock(client, id);
      if (stream === null) return null;
      const refusal = refusalOf(stream);
      const session = await findActive(client, stream.id);
      if (session !== null && isOf(session, at)) await step(client, stream, session);
      else if (session === null && refusal === null) {
        // A connection that stood still until its lease was lost, and moves again: its media server did not ask anew.
        const last = await findLast(client, stream.id);
        if (last?.endReason === "lease_lost" && isOf(last, at)) await step(client, stream, last);
      }
      return refusal;
    });
  }

  #lock(client: PoolClient, streamId: string): Promise<LockedStream | null> {
    return readLocked(client, streamId, this.#options.defaultReconnectSeconds);
  }
}

function isOf({ server, connection }: SessionRow, at: ConnectionOnServer): boolean {
  return isOfServer(server, at.server) && connection === at.connection;
}

/** An admitted connection may still start the session, or end it. */
function isHeld({ state, isReserved, reservationIsOver }: SessionRow): boolean {
  return state === "reserved" || (state === "reconnecting" && (isReserved || reservationIsOver));
}

/** A report may renew the session: it is live, or only silence ended it. */
function isRenewable({ state, endReason, isReserved }: SessionRow): boolean {
  return state === "live" || (state !== "reserved" && endReason === "lease_lost" && !isReserved);
}

async function renew(
  client: PoolClient,
  stream: LockedStream,
  { id, sessionId, state }: SessionRow,
  figures: ReportedFigures,
  leaseSeconds: number,
): Promise<void> {
  // A lost lease was only silence: the connection was there all the time.
  if (state !== "live" || stream.status !== "live")
    await goLive(client, [{ streamId: stream.id, sessionId, leaseSeconds }]);
  await renewLease(client, { id, streamId: stream.id }, figures, leaseSeconds);
}
