import type { Config } from "../config.ts";
import type { Logger } from "../logger.ts";
import { AbandonedCommits } from "./abandoned-commits.ts";
import { DatabaseWatch } from "./database-watch.ts";
import { startEmbeddedPostgres } from "./embedded/embedded-postgres.ts";
import { migrate } from "./migrate.ts";
import { createPool, type Pool } from "./pool.ts";

export interface DatabaseAddress {
  url: string;
  /** The address past any pooler, for LISTEN and for locks that a session holds. */
  directUrl: string;
  /** Stops the embedded PostgreSQL, if it was started here. */
  stop(): Promise<void>;
}

/** Takes the configured database, or starts the embedded PostgreSQL if none is configured. */
export async function startDatabase(
  config: Pick<Config, "DATABASE_URL" | "LISTEN_DATABASE_URL" | "PLAYHEAD_DATA_DIR">,
  logger: Logger,
): Promise<DatabaseAddress> {
  const { DATABASE_URL: url, LISTEN_DATABASE_URL: listenUrl } = config;
  if (url !== undefined) return { url, directUrl: listenUrl ?? url, stop: async () => undefined };
  const embedded = await startEmbeddedPostgres({ dataDir: config.PLAYHEAD_DATA_DIR, logger });
  return { url: embedded.url, directUrl: listenUrl ?? embedded.url, stop: () => embedded.stop() };
}

const RESERVED_CONNECTIONS = 2;

/** The migrated database of a server. */
export interface Database {
  /** For reads and operations. */
  pool: Pool;
  /** For health checks and logins alone, so that they are answered while all other connections are busy. */
  reservedPool: Pool;
  /** For heartbeat writers alone, so that nothing else keeps them waiting. */
  writerPool: Pool;
  /** Checks every new connection of the pools. */
  watch: DatabaseWatch;
  directUrl: string;
  /** Ends the pools; stops the embedded PostgreSQL, if it was started here. */
  close(): Promise<void>;
}

/** @throws the database's error, AppError or a migration's error; an embedded PostgreSQL is stopped before */
export async function openDatabase({ config, logger }: { config: Config; logger: Logger }): Promise<Database> {
  const { url, directUrl, stop } = await startDatabase(config, logger);
  try {
    await migrate({ connectionString: directUrl, logger });
  } catch (error) {
    await stop();
    throw error;
  }
  const watch = new DatabaseWatch({ logger });
  const abandoned = new AbandonedCommits();
  const common = { connectionString: url, queryTimeoutMs: config.QUERY_TIMEOUT_MS, abandoned, logger };
  const pool = createPool({
    ...common,
    max: config.DATABASE_POOL_SIZE,
    applicationName: "playhead",
    admit: (client) => watch.admit(client, { writes: false }),
  });
  const reservedPool = createPool({
    ...common,
    max: RESERVED_CONNECTIONS,
    applicationName: "playhead-reserved",
    admit: (client) => watch.admit(client, { writes: false }),
  });
  const writerPool = createPool({
    ...common,
    max: config.WRITERS,
    applicationName: "playhead-writer",
    async admit(client) {
      await watch.admit(client, { writes: true });
      await abandoned.assertNone(client);
    },
    // Writers keep their connections: a process that is out of file descriptors could open no other.
    options: { pipeline: true, idleTimeoutMillis: 0 },
  });
  return {
    pool,
    reservedPool,
    writerPool,
    watch,
    directUrl,
    async close() {
      await Promise.all([pool.end(), reservedPool.end(), writerPool.end()]);
      await stop();
    },
  };
}
