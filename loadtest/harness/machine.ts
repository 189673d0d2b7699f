import { availableParallelism, cpus, totalmem } from "node:os";

interface Queryable {
  query(sql: string): Promise<{ rows: Record<string, unknown>[] }>;
}

/** Where and with what it was measured. */
export async function describeMachine(database: Queryable): Promise<string> {
  const { rows } = await database.query(
    `SELECT current_setting('server_version') AS version, current_setting('shared_buffers') AS buffers,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit`,
  );
  const [settings] = rows;
  return [
    `${new Date().toISOString()}; ${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GB`,
    `Node ${process.versions.node}; PostgreSQL ${settings?.version}, shared_buffers ${settings?.buffers}, fsync ${settings?.fsync}, synchronous_commit ${settings?.commit}`,
    "The load generator and PostgreSQL share these cores with the server.",
  ].join("\n");
}
