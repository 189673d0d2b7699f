import type { Config } from "../config.ts";
import { findRunningEmbeddedPostgres, startEmbeddedPostgres } from "../db/embedded/embedded-postgres.ts";
import type { Pool } from "../db/pool.ts";
import { readSchemaFiles } from "../db/schema-files.ts";
import { findPending, isCurrent } from "../db/schema-state.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";

/** Where a command finds its database. */
export interface CommandDatabase {
  url: string;
  /** A connection that keeps its session: not through a pooler in transaction mode. */
  directUrl: string;
}

/**
 * Runs a command's work against the configured database. With the embedded one, against that of the server that
 * runs beside the command, else it is started for as long as the work takes.
 */
export async function withCommandDatabase<T>(
  { config, logger }: { config: Config; logger: Logger },
  work: (database: CommandDatabase) => Promise<T>,
): Promise<T> {
  if (config.DATABASE_URL !== undefined) {
    return await work({ url: config.DATABASE_URL, directUrl: config.LISTEN_DATABASE_URL ?? config.DATABASE_URL });
  }
  const dataDir = config.PLAYHEAD_DATA_DIR;
  const running = await findRunningEmbeddedPostgres(dataDir);
  if (running !== null) {
    return await work({ url: running.url, directUrl: running.url });
  }
  const postgres = await startEmbeddedPostgres({ dataDir, logger });
  try {
    return await work({ url: postgres.url, directUrl: postgres.url });
  } finally {
    await postgres.stop();
  }
}

/** @throws AppError `unavailable` where tables or functions are missing or older than this version */
export async function assertMigrated(pool: Pool): Promise<void> {
  if (isCurrent(await findPending(pool, await readSchemaFiles()))) return;
  throw new AppError("unavailable", "The database is not migrated yet: run `playhead migrate`, or start the server.");
}
