import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { type Pool, withTransaction } from "../db/pool.ts";
import { isTransient } from "../db/sqlstate.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { Bulkhead } from "../limits/bulkhead.ts";
import type { UserExport } from "../protocol/user-export.ts";
import { exportUser } from "./export-user.ts";

/*
 * All that is stored of a user: to be taken along, or to be deleted. Few run at a time: both may hold a connection for long.
 */

/** How much of it runs in this process at once. */
const AT_ONCE = 2;
/** A deletion is tried again so long where others hold its locks, or the database is away. */
const DEADLINE_MS = 15_000;
const LOCK_TIMEOUT_MS = 5000;
/** Of the statement that deletes: users may have watched a lot, and instructors have done much. */
const DELETE_TIMEOUT_MS = 300_000;
const RETRY_MS = 100;

export interface UserData {
  /** @throws AppError `unavailable`, `rate_limited` */
  export(userId: string): Promise<UserExport>;
  /** Deletes everything of the user, also where that is nothing. Resolves after COMMIT. @throws as `export` */
  remove(userId: string): Promise<void>;
}

export interface UserDataParts {
  pool: Pool;
  /** Called after COMMIT, before `remove` resolves. */
  onDeleted: (userId: string, deletedAtMs: number) => void;
}

export function createUserData({ pool, onDeleted }: UserDataParts): UserData {
  const bulkhead = new Bulkhead({ perKey: 1, total: AT_ONCE });

  async function remove(userId: string): Promise<void> {
    const deadlineAt = performance.now() + DEADLINE_MS;
    for (;;) {
      try {
        onDeleted(userId, await deleteUser(pool, userId));
        return;
      } catch (error) {
        if (!isTransient(error) || performance.now() > deadlineAt) throw toUnavailable(error);
        await delay(RETRY_MS);
      }
    }
  }

  return {
    export: (userId) =>
      bulkhead.run(userId, "export", () =>
        exportUser(pool, userId).catch((error: unknown) => {
          throw toUnavailable(error);
        }),
      ),
    remove: (userId) => bulkhead.run(userId, "remove", () => remove(userId)),
  };
}

/** Returns when the user was deleted, by the database's clock, in ms. */
function deleteUser(pool: Pool, userId: string): Promise<number> {
  return withTransaction(pool, async (client) => {
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
  });
}
