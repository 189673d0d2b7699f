import { randomBytes } from "node:crypto";
import { join } from "node:path";
import pg from "pg";
import { CLUSTER_USER, initCluster, type RunningCluster, startCluster } from "../../src/db/postgres-cluster.ts";
import { onEnd } from "../harness/cleanup.ts";
import { makeTemporaryFolder } from "../harness/temporary-folder.ts";

/** The PostgreSQL that the server brings, with its settings, and another start with some of them changed. */
export interface GrowthCluster {
  dataDir: string;
  url(database: string): string;
  /** The same data on the same port; connections that are open break. */
  restart(settings: Record<string, string>): Promise<void>;
  /** One statement in the database `postgres`. */
  run(statement: string): Promise<Record<string, string> | undefined>;
}

export async function openCluster(): Promise<GrowthCluster> {
  const dataDir = await makeTemporaryFolder();
  // Where readPostgresCpu looks for it.
  const directory = join(dataDir, "postgres");
  const password = randomBytes(24).toString("base64url");
  await initCluster({ directory, password });
  let cluster: RunningCluster = await startCluster({ directory });
  onEnd(() => cluster.stop());
  const { port } = cluster;
  const url = (database: string) => `postgres://${CLUSTER_USER}:${password}@127.0.0.1:${port}/${database}`;
  return {
    dataDir,
    url,
    async restart(settings) {
      await cluster.stop();
      cluster = await startCluster({ directory, port, settings });
    },
    async run(statement) {
      const client = new pg.Client({ connectionString: url("postgres"), application_name: "loadtest" });
      await client.connect();
      try {
        const { rows } = await client.query<Record<string, string>>(statement);
        return rows[0];
      } finally {
        await client.end();
      }
    },
  };
}
