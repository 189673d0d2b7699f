import { setTimeout as delay } from "node:timers/promises";
import { deleteUser } from "../db/delete-user.ts";
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
        onDeleted(userId, await withTransaction(pool, (client) => deleteUser(client, userId)));
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
