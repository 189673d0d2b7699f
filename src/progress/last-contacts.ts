import type { Pool } from "../db/pool.ts";
import type { LoadLastContacts } from "./watch-budget.ts";

/** Reads how long ago each user's last heartbeat was written. */
export function createLastContacts({ pool }: { pool: Pool }): LoadLastContacts {
  return async (userIds) => {
    const { rows } = await pool.query<{ userId: string; agoMs: number }>(
      `SELECT user_id AS "userId", (extract(epoch FROM clock_timestamp() - max(beat_at)) * 1000)::float8 AS "agoMs"
       FROM user_progress WHERE user_id = ANY($1::text[]) AND beat_at IS NOT NULL GROUP BY user_id`,
      [userIds],
    );
    return new Map(rows.map((row) => [row.userId, row.agoMs]));
  };
}
