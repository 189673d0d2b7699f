import { rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { CLUSTER_USER, initCluster } from "../../src/db/embedded/init-cluster.ts";
import { type RunningCluster, startCluster } from "../../src/db/embedded/postgres-cluster.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";

const PASSWORD = "playhead-test";

/** A PostgreSQL of a test's own, which it may crash. */
export interface TestPostgres {
  /** Of the database `postgres`; `urlOf` gives those of others. */
  url: string;
  urlOf(database: string): string;
  readonly pid: number;
  /** As a crash: no checkpoint, no goodbye; the processes are gone when it resolves. */
  killImmediately(): Promise<void>;
  /** Again on the same port, after `killImmediately`. */
  startAgain(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** Starts a PostgreSQL with a data folder of its own. Call `stop()` in `afterAll`; a killed run is cleaned up too. */
export async function startTestPostgres(settings: Record<string, string> = {}): Promise<TestPostgres> {
  const folder = await makeTemporaryFolder();
  const directory = join(folder, "postgres");
  let cluster: RunningCluster;
  try {
    await initCluster({ directory, password: PASSWORD, sync: false });
    cluster = await startCluster({ directory, settings });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  const { port } = cluster;
  const urlOf = (database: string) => `postgres://${CLUSTER_USER}:${PASSWORD}@127.0.0.1:${port}/${database}`;
  // The runner ends its processes without asking the tests in them.
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
    url: urlOf("postgres"),
    urlOf,
    get pid() {
      return cluster.pid;
    },
    killImmediately: () => cluster.stop("immediate"),
    async startAgain() {
      cluster = await startCluster({ directory, port, settings });
    },
    async stop() {
      await cluster.stop("immediate");
      process.off("exit", onExit);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
