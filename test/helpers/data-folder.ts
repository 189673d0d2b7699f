import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { inject } from "vitest";
import { findRunningEmbeddedPostgres } from "../../src/db/embedded/embedded-postgres.ts";
import { CLUSTER_USER, initCluster } from "../../src/db/embedded/init-cluster.ts";
import { findCluster, startCluster, stopOrphan } from "../../src/db/embedded/postgres-cluster.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createLogger } from "../../src/logger.ts";
import type {} from "./provided.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";

/*
 * Data folders as a server with an embedded PostgreSQL leaves them when it stops. The global setup prepares one; tests
 * copy it, because setting up a PostgreSQL and migrating a database takes seconds.
 */

const PASSWORD = "playhead-test";

/** The database of a server with an embedded PostgreSQL; in a prepared folder it is migrated and empty. */
export const DATABASE = "playhead";
/** A migrated, empty database that nobody connects to, so that `createTestDatabase` can clone it at any time. */
export const TEMPLATE = "playhead_template";

/** Makes a folder for the data of a server. Its database is migrated and empty. Remove it with `removeDataFolder`. */
export function makeDataFolder(): Promise<string> {
  return copyDataFolder(inject("preparedFolder"));
}

/** Copies a data folder whose PostgreSQL does not run. */
export async function copyDataFolder(prepared: string): Promise<string> {
  const folder = await makeTemporaryFolder();
  // Not Node's own `cp`: PostgreSQL may run as another user, who has to stay the owner of its files.
  await promisify(execFile)("cp", ["-a", `${prepared}/.`, folder]);
  return folder;
}

/** Prepares the folder that `makeDataFolder` copies. */
export async function prepareDataFolder(): Promise<string> {
  const folder = await makeTemporaryFolder();
  const directory = join(folder, "postgres");
  await initCluster({ directory, password: PASSWORD, sync: false });
  await writeFile(join(folder, "postgres-password"), `${PASSWORD}\n`, { mode: 0o600 });
  const cluster = await startCluster({ directory });
  try {
    const client = new pg.Client({ connectionString: toUrl(cluster.port, "postgres") });
    await client.connect();
    try {
      await client.query(`CREATE DATABASE ${TEMPLATE}`);
      const connectionString = toUrl(cluster.port, TEMPLATE);
      await migrate({ connectionString, logger: createLogger({ level: "warn" }) });
      await client.query(`CREATE DATABASE ${DATABASE} TEMPLATE ${TEMPLATE}`);
    } finally {
      await client.end();
    }
  } finally {
    await cluster.stop();
  }
  await rm(join(folder, "postgres.log"));
  return folder;
}

/** The URL of a database in a PostgreSQL that runs on a prepared folder. */
export function toUrl(port: number, database: string): string {
  return `postgres://${CLUSTER_USER}:${PASSWORD}@127.0.0.1:${port}/${database}`;
}

/** The database of the server that runs with this data folder. @throws Error where no PostgreSQL runs in it */
export async function embeddedUrl(dataDir: string): Promise<string> {
  const found = await findRunningEmbeddedPostgres(dataDir);
  if (found === null) throw new Error(`no PostgreSQL runs in ${dataDir}`);
  return found.url;
}

/** Removes a data folder, and stops the PostgreSQL that a killed server left running in it. */
export async function removeDataFolder(dataDir: string): Promise<void> {
  const orphan = await findCluster(join(dataDir, "postgres"));
  if (orphan !== null) await stopOrphan(orphan.pid);
  await rm(dataDir, { recursive: true, force: true });
}
