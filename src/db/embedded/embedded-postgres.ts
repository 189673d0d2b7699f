import { randomBytes } from "node:crypto";
import { mkdir, readFile, realpath, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { lockDataFolder } from "./data-folder-lock.ts";
import { CLUSTER_USER, initCluster } from "./init-cluster.ts";
import { findCluster, type RunningCluster, startCluster } from "./postgres-cluster.ts";

/*
 * Runs the PostgreSQL of an installation that names no database. Its data stays in the data folder. A PostgreSQL whose
 * Playhead was killed is stopped and started anew. A PostgreSQL that ends while its Playhead runs is started again on
 * the same port.
 */

const DATABASE = "playhead";
/** A full disk stops PostgreSQL too. It is to be back soon after somebody made room. */
const LAST_RESTART_PAUSE_MS = 1000;

export interface EmbeddedPostgres {
  url: string;
  readonly pid: number;
  /** Ends PostgreSQL (fast shutdown) and unlocks the data folder. */
  stop(): Promise<void>;
}

/**
 * Starts PostgreSQL in a data folder, which is made where it is missing.
 * @throws AppError `conflict` where another Playhead uses the folder, `unavailable` where PostgreSQL does not start
 */
export async function startEmbeddedPostgres(options: { dataDir: string; logger: Logger }): Promise<EmbeddedPostgres> {
  const { logger } = options;
  await mkdir(options.dataDir, { recursive: true });
  const dataDir = await realpath(options.dataDir);
  const lock = await lockDataFolder(dataDir);
  try {
    const directory = join(dataDir, "postgres");
    const password = await loadPassword(dataDir);
    if (!(await exists(join(directory, "PG_VERSION")))) {
      logger.info({ directory }, "setting up the embedded PostgreSQL");
      await initCluster({ directory, password });
    }
    const supervised = await superviseCluster(directory, logger);
    try {
      await createDatabase(urlOf(supervised.port, password, "postgres"));
    } catch (error) {
      await supervised.stop();
      throw error;
    }
    return {
      url: urlOf(supervised.port, password, DATABASE),
      get pid() {
        return supervised.pid;
      },
      async stop() {
        await supervised.stop();
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** The database of a server that uses this data folder now, for commands that run beside it; null where none runs. */
export async function findRunningEmbeddedPostgres(dataDir: string): Promise<{ url: string } | null> {
  const folder = await realpath(dataDir).catch(() => null);
  if (folder === null) {
    return null;
  }
  const found = await findCluster(join(folder, "postgres"));
  return found?.ready ? { url: urlOf(found.port, await loadPassword(folder), DATABASE) } : null;
}

async function superviseCluster(directory: string, logger: Logger) {
  let cluster = await startCluster({ directory });
  const { port } = cluster;
  let stopping = false;
  // `process.exit` and an uncaught error call no `stop`: PostgreSQL must not go on running.
  const onExit = () => {
    try {
      process.kill(cluster.pid, "SIGINT");
    } catch {
      // PostgreSQL is gone already.
    }
  };
  process.once("exit", onExit);

  const restart = async (): Promise<RunningCluster | null> => {
    let isLogged = false;
    for (let pauseMs = 100; !stopping; pauseMs = Math.min(pauseMs * 2, LAST_RESTART_PAUSE_MS)) {
      try {
        return await startCluster({ directory, port });
      } catch (error) {
        // One line a state; PostgreSQL's own log has every try.
        logger[isLogged ? "debug" : "error"]({ err: error }, "the embedded PostgreSQL does not start again");
        isLogged = true;
      }
      await delay(pauseMs);
    }
    return null;
  };
  const supervise = async () => {
    while (!stopping) {
      await cluster.exited;
      if (stopping) {
        return;
      }
      logger.error({ directory }, "the embedded PostgreSQL ended by itself, starting it again");
      cluster = (await restart()) ?? cluster;
    }
  };
  const supervising = supervise();

  return {
    port,
    get pid() {
      return cluster.pid;
    },
    async stop() {
      stopping = true;
      process.off("exit", onExit);
      await cluster.stop();
      await supervising;
      // A restart under way may have started another PostgreSQL meanwhile.
      await cluster.stop();
    },
  };
}

/**
 * Reads the password, which is made once and kept beside the data. PostgreSQL listens on 127.0.0.1, so every user of
 * this machine can connect.
 */
async function loadPassword(dataDir: string): Promise<string> {
  const path = join(dataDir, "postgres-password");
  const kept = await readFile(path, "utf8").catch(() => null);
  if (kept !== null && kept.trim() !== "") {
    return kept.trim();
  }
  if (await exists(join(dataDir, "postgres", "PG_VERSION"))) {
    throw new AppError(
      "unavailable",
      `The password of the embedded PostgreSQL (${path}) is missing. Restore this file, or move ${join(dataDir, "postgres")} away to start with an empty database.`,
    );
  }
  const password = randomBytes(24).toString("base64url");
  await writeFile(path, `${password}\n`, { mode: 0o600 });
  return password;
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {
    // The query under way fails with the same error.
  });
  await client.connect();
  try {
    const { rowCount } = await client.query("select from pg_database where datname = $1", [DATABASE]);
    if (rowCount === 0) {
      await client.query(`create database ${DATABASE}`);
    }
  } finally {
    await client.end();
  }
}

function urlOf(port: number, password: string, database: string): string {
  return `postgres://${CLUSTER_USER}:${password}@127.0.0.1:${port}/${database}`;
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
