import type pg from "pg";

const LOCK_TIMEOUT_MS = 5000;
/** Of the statement that deletes: users may have watched a lot, and instructors have done much. */
const DELETE_TIMEOUT_MS = 300_000;

/**
 * Deletes everything of a user, in the caller's transaction. Returns when, by the database's clock, in ms.
 * @throws errors that may pass (`isTransient`), where others hold the locks
 */
export async function deleteUser(client: pg.ClientBase, userId: string): Promise<number> {
  await client.query("SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)", [
    `${DELETE_TIMEOUT_MS}ms`,
    `${LOCK_TIMEOUT_MS}ms`,
  ]);
  const { rows } = await client.query<{ deletedAtMs: number }>({
    text: `SELECT (extract(epoch FROM delete_user($1)) * 1000)::float8 AS "deletedAtMs"`,
    values: [userId],
    query_timeout: DELETE_TIMEOUT_MS,
  } as pg.QueryConfig);
  return (rows[0] as { deletedAtMs: number }).deletedAtMs;
}
