import type { Pool } from "../../db/pool.ts";
import type { Logger } from "../../logger.ts";
import { DueTimer } from "../due-timer.ts";

/** Writes `expired` when a key expires, to the moment: a timer set for the next one, never a poll. To be armed when an expiry changed. */
export function createKeyExpiry({ pool, logger }: { pool: Pool; logger: Logger }): DueTimer {
  return new DueTimer({
    what: "expiring stream keys",
    async findNextDueMs() {
      const { rows } = await pool.query<{ ms: number | null }>(
        `SELECT (extract(epoch FROM min(expires_at) - clock_timestamp()) * 1000)::float8 AS ms
         FROM streams WHERE expires_at IS NOT NULL AND status NOT IN ('expired', 'revoked')`,
      );
      return rows[0]?.ms ?? null;
    },
    async run() {
      await pool.query(
        // Skips what is locked, and comes back to it: whoever waits for nobody, holding several, has no part in a deadlock.
        `UPDATE streams SET status = 'expired' WHERE id IN (
           SELECT id FROM streams
           WHERE expires_at <= clock_timestamp() AND expires_at IS NOT NULL AND status NOT IN ('expired', 'revoked')
           FOR NO KEY UPDATE SKIP LOCKED)`,
      );
    },
    logger,
  });
}
