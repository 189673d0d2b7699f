import { type Pool, type PoolClient, withTransaction, write } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Profile } from "../protocol/profile.ts";

/*
 * The names that people know users by. A backend puts them, or tokens carry them as the claim `name`. The names of tokens
 * are written together, a moment after they were seen, so that no connection waits for them.
 */

/** The wait before names that tokens carried are written. */
const GATHER_MS = 500;
/** Names in one statement. */
const MAX_BATCH = 500;
/** Users whose name is remembered as written; past that all are forgotten, and written again when they are seen. */
const MAX_REMEMBERED = 100_000;

export interface Profiles {
  read(userId: string): Promise<Profile>;
  /** Sets the name that no claim replaces; null takes it back. @throws AppError `not_found` for a user who was deleted */
  put(userId: string, name: string | null): Promise<Profile>;
  /** Remembers the name that a verified token carries. Never throws; a name that could not be written is written when it is seen again. */
  note(userId: string, name: string | undefined): void;
  /** These users were deleted. */
  forgetUsers(isForgotten: (userId: string) => boolean): void;
  /** Writes what waits. */
  stop(): Promise<void>;
}

export function createProfiles({ pool, logger }: { pool: Pool; logger: Logger }): Profiles {
  const remembered = new Map<string, string>();
  let waiting = new Map<string, string>();
  let timer: NodeJS.Timeout | null = null;

  async function writeNames(): Promise<void> {
    timer = null;
    const names = [...waiting];
    waiting = new Map();
    for (let from = 0; from < names.length; from += MAX_BATCH) {
      // In one order, so that two processes cannot wait for each other.
      const batch = names.slice(from, from + MAX_BATCH).sort(([a], [b]) => (a < b ? -1 : 1));
      try {
        await withTransaction(pool, (client) => writeClaims(client, batch));
      } catch (error) {
        for (const [userId] of batch) remembered.delete(userId);
        logger.warn({ err: error, users: batch.length }, "names of users could not be written");
      }
    }
  }

  async function read(userId: string): Promise<Profile> {
    const { rows } = await pool.query<{ name: string | null }>(
      `SELECT coalesce(p.name, nullif(concat_ws(' ', u.first_name, u.last_name), ''), u.username) AS name
       FROM (SELECT $1::text AS id) AS i LEFT JOIN user_profiles AS p ON p.user_id = i.id LEFT JOIN users AS u ON u.id = i.id`,
      [userId],
    );
    return { userId, name: rows[0]?.name ?? null };
  }

  return {
    read,
    async put(userId, name) {
      if (name === null) {
        await write(pool, "DELETE FROM user_profiles WHERE user_id = $1", [userId]);
        remembered.delete(userId);
      } else {
        const { rowCount } = await write(
          pool,
          `INSERT INTO user_profiles (user_id, name, name_source) SELECT $1, $2, 'profile' WHERE ${toNobodyDeleted("$1")}
           ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, name_source = 'profile', updated_at = now()`,
          [userId, name],
        );
        if (rowCount === 0) throw new AppError("not_found", "This user was deleted.");
      }
      return read(userId);
    },
    note(userId, name) {
      if (name === undefined || remembered.get(userId) === name) return;
      if (remembered.size >= MAX_REMEMBERED) remembered.clear();
      remembered.set(userId, name);
      waiting.set(userId, name);
      timer ??= setTimeout(() => void writeNames(), GATHER_MS);
    },
    forgetUsers(isForgotten) {
      for (const names of [remembered, waiting])
        for (const userId of names.keys()) if (isForgotten(userId)) names.delete(userId);
    },
    async stop() {
      if (timer !== null) clearTimeout(timer);
      await writeNames();
    },
  };
}

/** Holds if the user was not deleted, or has come back. */
function toNobodyDeleted(userId: string): string {
  return `NOT EXISTS (
    SELECT FROM deleted_users AS d WHERE d.returned_at IS NULL AND d.user_hash IN (SELECT deleted_user_hashes(${userId})))`;
}

/** Under the locks of the users: a user who is deleted meanwhile gets no name. */
async function writeClaims(client: PoolClient, names: [userId: string, name: string][]): Promise<void> {
  const users = names.map(([userId]) => userId);
  await client.query("SELECT lock_writers('operation', $1::text[], '{}')", [users]);
  await client.query(
    `INSERT INTO user_profiles AS p (user_id, name, name_source)
     SELECT n.user_id, n.name, 'claim' FROM unnest($1::text[], $2::text[]) AS n (user_id, name)
     WHERE ${toNobodyDeleted("n.user_id")}
     ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, updated_at = now()
     WHERE p.name_source = 'claim' AND p.name <> excluded.name`,
    [users, names.map(([, name]) => name)],
  );
}
