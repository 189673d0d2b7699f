import { rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type RunningCluster, startCluster } from "../../src/db/embedded/postgres-cluster.ts";
import { DATABASE, makeDataFolder, toUrl } from "./data-folder.ts";

/** Without fsync a crash of PostgreSQL loses nothing that is committed; only a crash of the machine would. */
const SETTINGS = { fsync: "off" };

/** A PostgreSQL that belongs to one test, which may crash it. */
export interface TestPostgres {
  /** The URL of a migrated, empty database. */
  url: string;
  /** The URL of another database in it. */
  urlOf(database: string): string;
  readonly pid: number;
  /** Ends PostgreSQL as a crash does, without a checkpoint. Resolves when its processes are gone. */
  killImmediately(): Promise<void>;
  /** Starts it again on the same port, after `killImmediately`. */
  startAgain(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** Starts a PostgreSQL with a data folder of its own. Call `stop()` in `afterAll`. */
export async function startTestPostgres(settings: Record<string, string> = {}): Promise<TestPostgres> {
  return startPostgresIn(await makeDataFolder(), settings);
}

/** Starts PostgreSQL on a prepared data folder, and removes the folder when it stops or this process ends. */
export async function startPostgresIn(folder: string, settings: Record<string, string> = {}): Promise<TestPostgres> {
  const options = { directory: join(folder, "postgres"), settings: { ...SETTINGS, ...settings } };
  let cluster: RunningCluster;
  try {
    cluster = await startCluster(options);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  const { port } = cluster;
  // Vitest ends its processes without running the hooks of the tests in them.
  const onExit = () => {
    try {
      process.kill(cluster.pid, "SIGQUIT");
    } catch {
      // It is gone already.
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  };
  process.once("exit", onExit);
  return {
    url: toUrl(port, DATABASE),
    urlOf: (database) => toUrl(port, database),
    get pid() {
      return cluster.pid;
    },
    killImmediately: () => cluster.stop("immediate"),
    async startAgain() {
      cluster = await startCluster({ ...options, port });
    },
    async stop() {
      await cluster.stop("immediate");
      process.off("exit", onExit);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
