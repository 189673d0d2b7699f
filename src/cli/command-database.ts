import { findRunningEmbeddedPostgres } from "../db/embedded/embedded-postgres.ts";
import { type DatabaseAddress, startDatabase } from "../db/open-database.ts";
import { createPool, type Pool } from "../db/pool.ts";
import { readSchemaFiles } from "../db/schema-files.ts";
import { findPending, isCurrent } from "../db/schema-state.ts";
import { AppError } from "../errors.ts";
import type { Setting } from "./command-parts.ts";

/** The database that a command works on. */
export type CommandDatabase = Pick<DatabaseAddress, "url" | "directUrl">;

/**
 * Runs a command's work against the configured database. If it is the embedded PostgreSQL, the one that a server is
 * running is used; without such a server, it is started and stopped again after the work.
 */
export async function withCommandDatabase<T>(
  { config, logger }: Setting,
  work: (database: CommandDatabase) => Promise<T>,
): Promise<T> {
  const running = config.embedded ? await findRunningEmbeddedPostgres(config.PLAYHEAD_DATA_DIR) : null;
  if (running !== null) return await work({ url: running.url, directUrl: running.url });
  const database = await startDatabase(config, logger);
  try {
    return await work(database);
  } finally {
    await database.stop();
  }
}

export interface CommandPoolOptions {
  applicationName: string;
  max: number;
  /** 0 sets no limit. */
  queryTimeoutMs: number;
}

/**
 * Like `withCommandDatabase`, with a pool of connections to a migrated database.
 * @throws AppError `unavailable` if the database is not migrated
 */
export async function withMigratedPool<T>(
  setting: Setting,
  options: CommandPoolOptions,
  work: (pool: Pool, database: CommandDatabase) => Promise<T>,
): Promise<T> {
  return await withCommandDatabase(setting, async (database) => {
    const pool = createPool({ ...options, connectionString: database.url, logger: setting.logger });
    try {
      await assertMigrated(pool);
      return await work(pool, database);
    } finally {
      await pool.end();
    }
  });
}

/** @throws AppError `unavailable` if tables or functions are missing, or older than this version of Playhead */
export async function assertMigrated(pool: Pool): Promise<void> {
  if (isCurrent(await findPending(pool, await readSchemaFiles()))) return;
  throw new AppError("unavailable", "The database is not migrated yet: run `playhead migrate`, or start the server.");
}
