import { randomBytes } from "node:crypto";
import { join } from "node:path";
import pg from "pg";
import { CLUSTER_USER, initCluster } from "../../src/db/embedded/init-cluster.ts";
import { type RunningCluster, startCluster } from "../../src/db/embedded/postgres-cluster.ts";
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
  let cluster: Promise<RunningCluster> = initCluster({ directory, password }).then(() => startCluster({ directory }));
  // Before it has started: whoever ends the run meanwhile waits for it, or it would outlive the run.
  onEnd(async () => await (await cluster.catch(() => null))?.stop());
  const { port } = await cluster;
  const url = (database: string) => `postgres://${CLUSTER_USER}:${password}@127.0.0.1:${port}/${database}`;
  return {
    dataDir,
    url,
    async restart(settings) {
      await (await cluster).stop();
      cluster = startCluster({ directory, port, settings });
      await cluster;
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
