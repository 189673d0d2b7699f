import { type Pool, withTransaction, write } from "../../db/pool.ts";
import { RESERVATION_SECONDS } from "../claims/claim-write-sql.ts";
import { leaveSession } from "./leave-session.ts";
import { findActive, readLocked } from "./session-read-sql.ts";
import type { SessionStoreOptions } from "./session-store.ts";
import { deleteReserved, endSession, setStatus } from "./session-write-sql.ts";

const DUE_AT = `CASE state WHEN 'live' THEN lease_until WHEN 'reserved' THEN reserved_until
  ELSE greatest(reconnect_until, reserved_until) END`;

/** Finds sessions whose lease, reservation or reconnect window is over, by the database's clock, and moves them on. */
export class SessionDeadlines {
  readonly #pool: Pool;
  readonly #options: SessionStoreOptions;

  constructor({ pool }: { pool: Pool }, options: SessionStoreOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** The ids of the streams that have a session whose time is over. */
  async findDue(): Promise<string[]> {
    const { rows } = await this.#pool.query<{ streamId: string }>(
      `SELECT stream_id AS "streamId" FROM stream_sessions WHERE state <> 'ended' AND ${DUE_AT} <= clock_timestamp()`,
    );
    return rows.map(({ streamId }) => streamId);
  }

  /** Milliseconds until the next session's time is over; null where no session is active. */
  async findNextDueMs(): Promise<number | null> {
    const { rows } = await this.#pool.query<{ ms: number | null }>(
      `SELECT (extract(epoch FROM min(${DUE_AT}) - clock_timestamp()) * 1000)::float8 AS ms FROM stream_sessions WHERE state <> 'ended'`,
    );
    return rows[0]?.ms ?? null;
  }

  /** The database's clock, in ms since 1970. */
  async readClock(): Promise<number> {
    const { rows } = await this.#pool.query<{ ms: number }>(
      "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms",
    );
    return (rows[0] as { ms: number }).ms;
  }

  /** The database's clock was set back: brings every deadline back within the time that it gives. Twice does no harm. */
  async shorten(): Promise<void> {
    const within = (seconds: string) => `clock_timestamp() + make_interval(secs => ${seconds})`;
    const ends = [
      ["lease_until", within("e.lease_seconds")],
      ["reserved_until", within(`${RESERVATION_SECONDS}`)],
      ["reconnect_until", within("coalesce(s.reconnect_seconds, $1::integer)")],
    ] as const;
    const changes = ends.map(
      ([column, end]) => `${column} = CASE WHEN ${column} > ${end} THEN ${end} ELSE ${column} END`,
    );
    const isTooLate = ends.map(([column, end]) => `${column} > ${end}`);
    await write(
      this.#pool,
      `UPDATE stream_sessions AS e SET ${changes.join(", ")} FROM streams AS s
       WHERE s.id = e.stream_id AND e.state <> 'ended' AND (${isTooLate.join(" OR ")})`,
      [this.#options.defaultReconnectSeconds],
    );
  }

  /** Moves the stream's session on if its lease is lost, its window has passed, or nobody started it in time. */
  sweep(streamId: string): Promise<void> {
    return withTransaction(this.#pool, async (client) => {
      const stream = await readLocked(client, streamId, this.#options.defaultReconnectSeconds);
      const session = stream === null ? null : await findActive(client, streamId);
      if (stream === null || session === null) return;
      if (session.state === "live") {
        if (session.leaseIsOver) await leaveSession(client, stream, session, "lease_lost");
      } else if (session.state === "reserved") {
        if (session.reservationIsOver) await deleteReserved(client, session.id);
      } else if (session.windowIsOver && !session.isReserved) {
        await endSession(client, session.id);
        await setStatus(client, [streamId], "ended");
      }
    });
  }
}
