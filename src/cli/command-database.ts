import type { Config } from "../config.ts";
import { findRunningEmbeddedPostgres } from "../db/embedded/embedded-postgres.ts";
import { type DatabaseAddress, startDatabase } from "../db/open-database.ts";
import type { Pool } from "../db/pool.ts";
import { readSchemaFiles } from "../db/schema-files.ts";
import { findPending, isCurrent } from "../db/schema-state.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";

/** The database that a command works on. */
export type CommandDatabase = Pick<DatabaseAddress, "url" | "directUrl">;

/**
 * Runs a command's work against the configured database. An embedded PostgreSQL that a server beside the command runs is
 * used; otherwise it is started, and stopped after the work.
 */
export async function withCommandDatabase<T>(
  { config, logger }: { config: Config; logger: Logger },
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

/** @throws AppError `unavailable` if tables or functions are missing, or older than this version of Playhead */
export async function assertMigrated(pool: Pool): Promise<void> {
  if (isCurrent(await findPending(pool, await readSchemaFiles()))) return;
  throw new AppError("unavailable", "The database is not migrated yet: run `playhead migrate`, or start the server.");
}
