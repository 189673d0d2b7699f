import type { Pool } from "../db/pool.ts";
import type { LoadLastContacts, StoredContact } from "./watch-budget.ts";

/** Reads when each user's first and last heartbeats were written, and how much time the user has spent since. */
export function createLastContacts({ pool }: { pool: Pool }): LoadLastContacts {
  return async (userIds) => {
    const { rows } = await pool.query<StoredContact & { userId: string }>(
      `SELECT user_id AS "userId", (extract(epoch FROM clock_timestamp() - max(beat_at)) * 1000)::float8 AS "agoMs",
         (extract(epoch FROM clock_timestamp() - min(created_at)) * 1000)::float8 AS "firstAgoMs",
         sum(watch_time_ms)::float8 AS "spentMs"
       FROM user_progress WHERE user_id = ANY($1::text[]) AND beat_at IS NOT NULL GROUP BY user_id`,
      [userIds],
    );
    return new Map(rows.map(({ userId, ...contact }) => [userId, contact]));
  };
}
