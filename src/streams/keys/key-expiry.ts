import { type Pool, write } from "../../db/pool.ts";
import type { Logger } from "../../logger.ts";
import { DueTimer } from "../due-timer.ts";

/** Writes the status `expired` at the moment when a key expires. Sets one timer, for the next key; does not poll. Arm it when an expiry changed. */
export function createKeyExpiry({ pool, logger }: { pool: Pool; logger: Logger }): DueTimer {
  return new DueTimer({
    what: "the next expiry of a stream key",
    async findNextDueMs() {
      const { rows } = await pool.query<{ ms: number | null }>(
        `SELECT (extract(epoch FROM min(expires_at) - clock_timestamp()) * 1000)::float8 AS ms
         FROM streams WHERE expires_at IS NOT NULL AND status NOT IN ('expired', 'revoked')`,
      );
      return rows[0]?.ms ?? null;
    },
    async run() {
      await write(
        pool,
        // Skips streams that others have locked; the timer comes back to them. A statement that holds several locks and
        // waits for none cannot take part in a deadlock.
        `UPDATE streams SET status = 'expired' WHERE id IN (
           SELECT id FROM streams
           WHERE expires_at <= clock_timestamp() AND expires_at IS NOT NULL AND status NOT IN ('expired', 'revoked')
           FOR NO KEY UPDATE SKIP LOCKED)`,
      );
    },
    logger,
  });
}
